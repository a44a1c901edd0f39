"""What trackers get of a run, read back from their own files; and that none of them can end or slow one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from engine.events import Event, Finished, Measured, Performance, Sampled, Step
from engine.jobs import TrainJob, load_job
from engine.runs import trackers
from engine.runs.folder import RunFolder


def job_of(**logging) -> TrainJob:
    data = {
        "name": "cat",
        "model": {"name_or_path": "black-forest-labs/FLUX.1-dev"},
        "datasets": [{"path": "/secret/pictures"}],
        "logging": logging,
    }
    return load_job(data)


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    found = RunFolder(tmp_path / "out" / "cat")
    found.samples.mkdir(parents=True)
    Image.new("RGB", (32, 16), "red").save(found.samples / "a.png")
    return found


def story(steps: int = 3) -> Iterator[Event]:
    for number in range(1, steps + 1):
        yield Step(step=number, total=steps, loss=1 / number, lr=1e-4, seconds=0.5)
    yield Measured(step=steps, name="validation loss", value=0.25)
    yield Measured(step=steps, name="CLIP-I", value=0.75)
    yield Performance(step=steps, seconds=2, phases={"forward": 1.5}, pictures_per_second=0.5, tflops=3.0, share=0.25)
    yield Sampled(step=steps, index=0, prompt="a cat", path=Path("samples/a.png"), seed=1)
    yield Finished(step=steps)


def events_in(folder: Path):
    """Tag and step → value, from TensorBoard's event files: length, check, record, check (TFRecord)."""
    from tensorboardX.proto.event_pb2 import Event as Record

    found = {}
    for file in sorted(folder.glob("events.out.*")):
        data, at = file.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            record = Record.FromString(data[at + 12 : at + 12 + length])
            at += 12 + length + 4
            found |= {(value.tag, record.step): value for value in record.summary.value}
    return found


def test_tensorboard_gets_figures_and_samples_under_the_name_of_the_run(folder, home):
    told = list(trackers.tracked(story(), job_of(log_dir="boards"), folder, 0))
    assert told[-1].kind == "finished" and not [event for event in told if event.kind == "warned"]
    found = events_in(home / "boards" / "cat")
    figures = {key: value.simple_value for key, value in found.items() if not key[0].startswith("samples")}
    assert [figures["train/loss", step] for step in (1, 2, 3)] == pytest.approx([1, 1 / 2, 1 / 3])
    assert (
        figures["train/lr", 3] == pytest.approx(1e-4) and figures["validation/loss", 3] == 0.25 and figures["validation/CLIP-I", 3] == 0.75
    )
    assert (
        figures["speed/pictures_per_second", 3],
        figures["speed/tflops", 3],
        figures["speed/share_of_peak", 3],
        figures["speed/forward", 3],
    ) == (0.5, 3, 0.25, 1.5)
    picture = found["samples/00", 3].image
    assert (picture.width, picture.height) == (32, 16)
    assert any(b"a cat" in value.tensor.string_val[0] for (tag, _), value in found.items() if tag.startswith("samples/00/text"))


def test_a_run_that_goes_on_is_drawn_over_what_it_does_again(folder, home):
    list(trackers.tracked(story(3), job_of(log_dir="boards", run_name="other"), folder, 0))
    list(trackers.tracked(iter([Step(step=3, total=3, loss=9, lr=1, seconds=1)]), job_of(log_dir="boards", run_name="other"), folder, 2))
    from tensorboardX.proto.event_pb2 import Event as Record

    marks = []
    for file in (home / "boards" / "other").glob("events.out.*"):
        data, at = file.read_bytes(), 0
        while at < len(data):
            length = int.from_bytes(data[at : at + 8], "little")
            record = Record.FromString(data[at + 12 : at + 12 + length])
            marks += [record.step] if record.HasField("session_log") else []
            at += 12 + length + 4
    assert marks == [3]  # TensorBoard leaves out what came from there on


def test_a_package_that_is_missing_is_told_with_how_to_install_it(folder, monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    job = job_of(use_wandb=True, use_trackio=True)
    notes = list(trackers.missing(job))
    assert ["pip install wandb" in note.hint for note in notes] == [True, False] and "pip install trackio" in notes[1].hint
    assert [event.kind for event in trackers.tracked(story(), job, folder, 0)] == [event.kind for event in story()]
    assert not list(trackers.missing(job_of()))


class Bad(trackers.Tracker):
    title, package = "Bad", "json"
    wait = 0.0

    def __init__(self, job, folder, step):
        super().__init__(job, folder, step)
        time.sleep(self.wait)
        raise SystemExit("no login:\n ask them")

    figures = sample = close = None  # type: ignore[assignment]


@pytest.mark.parametrize("wait", [0.0, 0.2])
def test_one_that_fails_is_told_once_and_nothing_else_changes(folder, monkeypatch, wait):
    Bad.__abstractmethods__, Bad.wait = frozenset(), wait
    monkeypatch.setattr(trackers, "wanted", lambda job: [Bad])
    told = list(trackers.tracked(story(9), job_of(), folder, 0))
    warned = [event for event in told if event.kind == "warned"]
    assert [event.message for event in warned] == ["Bad gets nothing more of this run: no login: ask them."]
    assert [event.kind for event in told if event.kind != "warned"] == [event.kind for event in story(9)] and told[-1].kind == "finished"


def test_a_folder_that_cannot_be_written_is_told_in_words(folder, tmp_path):
    (tmp_path / "file").touch()
    told = [event for event in trackers.tracked(story(), job_of(log_dir=str(tmp_path / "file")), folder, 0) if event.kind == "warned"]
    assert [event.message for event in told] == [
        f"TensorBoard gets nothing more of this run: not a directory: {tmp_path / 'file' / 'cat'}."
    ]


class Slow(trackers.Tracker):
    title, package = "Slow", "json"

    def figures(self, step, figures):
        time.sleep(3)

    sample = close = lambda *args: None


def test_one_that_is_slow_keeps_nobody_waiting_but_for_a_moment_at_the_end(folder, monkeypatch):
    Slow.__abstractmethods__ = frozenset()
    monkeypatch.setattr(trackers, "wanted", lambda job: [Slow])
    monkeypatch.setattr(trackers, "PATIENCE", 0.2)
    monkeypatch.setattr(trackers, "WAITING", 20)
    begun = time.perf_counter()
    told = list(trackers.tracked(story(10), job_of(), folder, 0))
    assert time.perf_counter() - begun < 2.5
    assert [event.message for event in told if event.kind == "warned"] == [
        "Slow gets nothing more of this run: it did not take everything within 0 seconds."
    ]
    begun = time.perf_counter()
    told = list(trackers.tracked(story(100), job_of(), folder, 0))
    assert time.perf_counter() - begun < 2.5 and next(event.message for event in told if event.kind == "warned").endswith("it is too slow.")


def test_no_tracker_hears_where_pictures_lie_or_what_they_show():
    told = str(trackers.told(job_of(use_wandb=True)))
    assert "secret" not in told and "FLUX.1-dev" in told and "'lr'" in told


def pieces(data: bytes) -> Iterator[bytes]:
    """The records of its file, a log as LevelDB writes it: blocks of 32 KB; check, length and kind (whole, first, middle, last) of each piece."""
    at, held = 7, b""
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        held += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            yield held
            held = b""


def test_weights_and_biases_keeps_a_run_offline_to_be_sent_later(folder):
    pytest.importorskip("wandb")
    from wandb.proto import wandb_internal_pb2

    told = list(trackers.tracked(story(), job_of(use_wandb=True, offline=True, project_name="films"), folder, 0))
    assert not [event for event in told if event.kind == "warned"]
    (file,) = folder.path.glob("wandb/offline-run-*/run-*.wandb")
    assert (folder.path / "wandb" / "id").read_text() in file.name
    records = [wandb_internal_pb2.Record.FromString(data) for data in pieces(file.read_bytes())]
    runs = {(record.run.project, record.run.display_name) for record in records if record.WhichOneof("record_type") == "run"}
    assert ("films", "cat") in runs
    histories = [record.history.item for record in records if record.WhichOneof("record_type") == "history"]
    rows = [{"/".join(item.nested_key) or item.key: item.value_json for item in items} for items in histories]
    losses = {int(row["step"]): float(row["train/loss"]) for row in rows if "train/loss" in row}
    assert losses == pytest.approx({1: 1, 2: 1 / 2, 3: 1 / 3})
    assert any(key.startswith("samples/00") for row in rows for key in row) and any(float(row.get("speed/tflops", 0)) == 3 for row in rows)


def test_weights_and_biases_without_a_login_asks_nobody(folder, tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("NETRC", "WANDB_CONFIG_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nobody"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    told = list(trackers.tracked(story(), job_of(use_wandb=True), folder, 0))
    (warned,) = [event for event in told if event.kind == "warned"]
    assert "there is no login; call wandb login once" in warned.message and told[-1].kind == "finished"


def test_trackio_keeps_a_run_on_this_computer(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    import sqlite3

    told = list(trackers.tracked(story(), job_of(use_trackio=True, project_name="films"), folder, 0))
    assert not [event for event in told if event.kind == "warned"]
    with sqlite3.connect(tmp_path / "trackio" / "films.db") as base:
        rows = list(base.execute("select step, metrics from metrics where run_name = 'cat' order by step"))
    assert (
        {step for step, _ in rows} == {1, 2, 3}
        and any(b"train/loss" in text for _, text in rows)
        and any(b"samples/00" in text for _, text in rows)
    )


def test_a_name_stands_for_one_run_alone(folder):
    """Weights & Biases goes on with a run by what lies in its folder."""
    first = trackers._identity(folder)
    other = RunFolder(folder.path.parent / "dog")
    assert trackers._identity(folder) == first != trackers._identity(SimpleNamespace(path=other.path))

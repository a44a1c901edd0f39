"""What the tabs read of runs: the log as it grows, the checkpoint in use, the contact sheet, the list of runs."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from engine.errors import JobError
from engine.events import Failed, Finished, Phase, Sampled, Saved, Step
from engine.jobs import GenerateJob, load_job
from engine.queue import Runner, RunRecord
from engine.runs.folder import RunFolder
from engine.settings import load_settings
from ui import drawer, preflight
from ui.sheet import more_prompts, progress, sheet
from ui.studio import Studio


def make_run(name: str = "fox", steps: tuple[int, ...] = (0, 250, 500), **changes) -> RunFolder:
    """A finished run on the disk, with one sample of two prompts and a checkpoint for each step."""
    data = {"name": name, "trigger_word": "zfox", "model": {"name_or_path": "assets/starter"}, "datasets": [{"path": "d"}]}
    folder = RunFolder.create(load_settings().folder("output"), load_job(data | changes))
    for step in steps:
        if step:
            folder.append(Step(step=step, total=500, loss=0.5, lr=1e-4, seconds=0.1))
            folder.checkpoint_path(step).touch()
            folder.append(Saved(step=step, path=Path(folder.checkpoint_path(step).name)))
        for index, prompt in enumerate(("a zfox", "an apple")):
            sample(folder, step, index, prompt)
    folder.append(Finished(step=500))
    return folder


def sample(folder: RunFolder, step: int, index: int, prompt: str, column: str = "") -> None:
    path = folder.sample_path(step, index, prompt + column, "png")
    Image.new("RGB", (8, 8)).save(path)
    folder.append(Sampled(step=step, index=index, prompt=prompt, path=path.relative_to(folder.path), seed=42 + index, column=column))


def opened(name: str = "fox") -> tuple[Studio, RunRecord]:
    studio = Studio(Runner())
    record = studio.runner.get(name)
    assert record is not None
    return studio, record


def test_only_new_lines_are_read_and_an_emptied_folder_begins_anew() -> None:
    folder = make_run()
    studio, record = opened()
    with studio.history(record) as history:
        assert (history.step, len(history.frames)) == (500, 6)
    folder.append(Step(step=501, total=900, loss=0.1, lr=1e-4, seconds=0.1))
    with studio.history(record) as history:
        assert (history.step, history.total, len(history.frames)) == (501, 900, 6)
    folder.events.write_bytes(b"")
    folder.append(Phase(name="Anew"))
    with studio.history(record) as history:
        assert (history.step, history.phase, history.frames) == (0, "Anew", {})


def test_two_tabs_of_the_browser_read_two_runs_in_opposite_order() -> None:
    for name in ("fox", "owl"):
        make_run(name)
    studio, _ = opened()
    meeting, done = threading.Barrier(2, timeout=1), []

    def read(first: str, second: str) -> None:
        with studio.history(studio.runner.get(first)) as one:
            with contextlib.suppress(threading.BrokenBarrierError):  # that the other cannot be here as well is as good
                meeting.wait()
            with studio.history(studio.runner.get(second)) as two:
                done.append((one.step, two.step))

    threads = [threading.Thread(target=read, args=order, daemon=True) for order in (("fox", "owl"), ("owl", "fox"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert done == [(500, 500), (500, 500)]


def test_the_marked_checkpoint_is_remembered_in_the_run() -> None:
    make_run()
    studio, record = opened()
    assert studio.chosen(record) is None
    assert studio.choose(record, 250).path.name == "fox_000000250.safetensors"
    assert opened()[0].chosen(record) == 250
    with pytest.raises(JobError, match="Step 300 has no checkpoint"):
        studio.choose(record, 300)
    (record.folder / "chosen.json").write_text("[")
    assert studio.chosen(record) is None


def test_a_sheet_has_a_row_for_each_prompt_and_says_which_columns_can_be_picked() -> None:
    folder = make_run()
    folder.checkpoint_path(250).unlink()  # it made room
    studio, record = opened()
    now = sheet(studio, record)
    assert (now.steps, now.prompts, now.pickable) == ([0, 250, 500], ["a zfox", "an apple"], frozenset({500}))
    assert now.steps_of(1) == [250, 500] and len(now.row(0, now.steps)) == 3 and None not in now.row(0, now.steps)


def test_prompts_that_were_drawn_later_are_rows_below() -> None:
    make_run()
    studio, record = opened()
    job = more_prompts(studio, record, ["a [trigger] on ice", "a cup"], [250, 500])
    assert isinstance(job, GenerateJob) and job.with_base
    assert job.sample.prompts == ["a zfox on ice", "a cup"] and [one.label for one in job.loras] == ["250", "500"]
    drawn = RunFolder(studio.runner.get(studio.runner.submit(job)).folder)
    for index, (column, prompt) in enumerate((c, p) for c in ("base", "250", "500") for p in job.sample.prompts):
        sample(drawn, 0, index, prompt, column)
    now = sheet(studio, record)
    assert now.prompts == ["a zfox", "an apple", "a zfox on ice", "a cup"]
    assert now.steps_of(2) == now.steps_of(3) == [250, 500] and (3, 0) in now.cells
    assert now.cells[2, 250] != now.cells[2, 500]


@pytest.mark.parametrize(
    ("prompts", "steps", "sentence"), [([], [250], "no prompt"), (["x"], [], "No checkpoint"), (["x"], [77], "No checkpoint")]
)
def test_a_drawing_without_prompts_or_checkpoints_is_refused(prompts: list[str], steps: list[int], sentence: str) -> None:
    make_run()
    with pytest.raises(JobError, match=sentence):
        more_prompts(*opened(), prompts, steps)


def test_a_drawing_that_failed_says_why() -> None:
    make_run()
    studio, record = opened()
    name = studio.runner.submit(more_prompts(studio, record, ["x"], [250]))
    assert progress(studio, name) == (True, "Waiting for another drawing to end …", [])
    RunFolder(studio.runner.get(name).folder).append(Failed(message="No room.", hint="Make some."))
    studio.runner.ask(name, "stop")
    assert progress(studio, name)[0] is False
    assert progress(studio, "unknown") == (False, "", [])


def test_the_list_of_runs_says_how_each_is_and_what_can_be_done() -> None:
    make_run("done")
    stopped = make_run("stopped-one", steps=(0, 250))
    stopped.append(Finished(step=250, reason="stopped"))
    studio = Studio(Runner())
    studio.runner.submit(load_job({"name": "next", "model": {"name_or_path": "m"}, "datasets": [{"path": "d"}]}))
    rows = {name: (words, [act for _, act in ways]) for name, words, _, _, ways in drawer.rows(studio)}
    assert rows["done"][0].startswith("ready · today") and rows["done"][1] == ["open", "remove"]
    assert rows["stopped-one"][0].startswith("stopped at step 250") and rows["stopped-one"][1] == ["open", "continue", "remove"]
    assert rows["next"] == ("waiting in line · " + rows["next"][0].split(" · ")[1], ["open", "leave"])
    assert drawer.pill(studio) == ("next · waiting", "queued")


def test_days_are_said_as_one_says_them() -> None:
    now = time.mktime((2026, 7, 17, 15, 30, 0, 0, 0, -1))
    assert drawer.day(now - 3600, now) == "today, 14:30"
    assert drawer.day(now - 2 * 24 * 3600, now) == "Wednesday"
    assert drawer.day(now - 30 * 24 * 3600, now) == "17 June 2026"


def test_a_run_tells_how_long_one_like_it_will_take() -> None:
    folder = RunFolder.create(
        load_settings().folder("output"),
        load_job({"name": "fox", "model": {"name_or_path": "assets/starter"}, "datasets": [{"path": "d"}]}),
    )
    for step in range(1, 11):
        folder.append(Step(step=step, total=10, loss=1, lr=1, seconds=2, time=1000 + 2 * step))
    studio, record = opened()
    same = load_job({"name": "x", "model": {"name_or_path": "assets/starter"}, "datasets": [{"path": "e"}], "train": {"steps": 300}})
    assert preflight.measured(studio, same) == (600, "fox")
    for change in ({"train": {"batch_size": 2}}, {"model": {"name_or_path": "other/model"}}, {"network": {"type": "full"}}):
        other = load_job({"name": "x", "model": {"name_or_path": "assets/starter"}, "datasets": [{"path": "e"}]} | change)
        assert preflight.measured(studio, other) == (None, "")


def test_runs_are_known_by_their_newest_picture() -> None:
    make_run()
    studio, record = opened()
    face = studio.face(record)
    assert face is not None and face.name.startswith("000000500_00_")

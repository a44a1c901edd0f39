"""A run whose settings or data have changed since it was saved says what, and waits for a person."""

from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from engine.runs.folder import RunFolder
from engine.runs.points import go_back, lengthen


def of(events, kind):
    return [event for event in events if event.kind == kind]


def files(folder: RunFolder) -> dict[str, bytes]:
    """Everything but what the run tells."""
    paths = [path for path in sorted(folder.path.rglob("*")) if path.is_file() and path.name not in {"events.jsonl", "log.txt"}]
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in paths}


def stop_at(step):
    def watch(event, control):
        if event.kind == "step" and event.step == step:
            control.ask("stop")

    return watch


def answer(word, after=0.0):
    """Somebody is there, and says that."""

    def watch(event, control):
        control.if_changed = "ask"
        if event.kind == "asked":
            assert control.asked
            threading.Timer(after, control.ask, (word,)).start() if after else control.ask(word)

    return watch


def went_on(events) -> bool:
    return not of(events, "asked") and bool(of(events, "step"))


def agree(event, control):
    """As --go-on does it."""
    control.if_changed = "go on"


@pytest.fixture
def data(pictures, tmp_path) -> Path:
    return Path(shutil.copytree(pictures, tmp_path / "cats"))


@pytest.fixture
def job(make_job, data):
    return make_job(
        datasets=[{"path": str(data)}], sample__sample_every=None, save={"save_every": 2, "dtype": "fp32", "max_states_to_keep": 3}
    )


def paint_over(data: Path) -> None:
    Image.new("RGB", (64, 64), "white").save(data / "0.png")


def test_stopped_at_the_question_nothing_is_touched_and_with_the_data_set_back_it_ends_in_the_same_bytes(run, job, data, tmp_path):
    run(job, "whole")
    run(job, "cut", stop_at(2))
    folder, before, picture = (
        RunFolder(tmp_path / "cut" / "tiny"),
        files(RunFolder(tmp_path / "cut" / "tiny")),
        (data / "0.png").read_bytes(),
    )
    assert any(name.startswith("state/000000002/") for name in before)
    paint_over(data)
    events = run(job, "cut", answer("stop", after=2.0))
    assert [event.data for event in of(events, "asked")] == [[("cats", 6, 6)]] and events[-2].kind == "asked"
    assert (events[-1].kind, events[-1].reason, events[-1].step) == ("finished", "stopped", 2) and not of(events, "step")
    assert events[-1].time - events[-2].time >= 2.0
    assert files(folder) == before
    (data / "0.png").write_bytes(picture)
    events = run(job, "cut", answer("stop"))
    assert not of(events, "asked") and events[-1].reason == "completed"
    ends, whole = files(folder), files(RunFolder(tmp_path / "whole" / "tiny"))
    assert ends.keys() == whole.keys()
    differ = {name for name in ends if ends[name] != whole[name]}
    assert differ <= {"metrics.csv"}  # it holds times


def test_with_a_yes_it_goes_on_and_the_same_is_not_asked_twice(run, job, data):
    run(job, watch=stop_at(1))
    (data / "1.txt").write_text("[trigger], another field")
    for ending in ("png", "txt"):
        shutil.copy(data / f"2.{ending}", data / f"7.{ending}")

    class Killed(Exception):
        pass

    def kill(event, control):
        answer("go", after=2.0)(event, control)
        if event.kind == "step":
            raise Killed

    begun = time.monotonic()
    with pytest.raises(Killed):
        run(job, watch=kill)
    assert time.monotonic() - begun >= 2.0
    events = run(job, watch=answer("stop"))
    assert not of(events, "asked") and [event.step for event in of(events, "step")] == [2, 3, 4]
    longer = run(job.model_copy(update={"train": job.train.model_copy(update={"steps": 6})}), watch=answer("stop"))
    assert not of(longer, "asked") and longer[-1].step == 6


def test_where_nobody_is_there_it_does_not_go_on_and_says_what_changed_and_what_to_do(run, job, data, tmp_path):
    run(job, watch=stop_at(2))
    folder = RunFolder(tmp_path / "out" / "tiny")
    before = files(folder)
    (data / "3.png").unlink()
    failed = run(job)[-1]
    assert (
        failed.kind == "failed"
        and failed.message == "Since step 2 was saved, something has changed: the data set cats had 6, has 5 pictures."
    )
    assert "--go-on" in failed.hint and not failed.detail and files(folder) == before
    events = run(job, watch=agree)
    assert [event.kind for event in events if event.kind in {"asked", "agreed", "step"}] == ["asked", "agreed", "step", "step"]


def test_it_asks_before_anything_large_is_loaded(run, job, data):
    run(job, watch=stop_at(1))
    (data / "3.png").unlink()
    events = run(job, watch=agree)
    [asked] = [index for index, event in enumerate(events) if event.kind == "asked"]
    phases = [[event.name for event in some if event.kind == "phase"] for some in (events[:asked], events[asked:])]
    assert phases[0][-2:] == ["Reading pictures", "Opening the base model"]
    assert phases[1][:3] == ["Encoding captions", "Encoding pictures", "Loading the model"]


def test_a_setting_changed_by_hand_is_asked_about_and_one_changed_on_purpose_is_not(run, job, tmp_path):
    def change(event, control):
        if event.kind == "step" and event.step == 1:
            control.change({"train.lr": 4e-3})
        stop_at(2)(event, control)

    run(job, watch=change)
    lengthen(RunFolder(tmp_path / "out" / "tiny"), 3)
    assert went_on(run(job, watch=stop_at(3)))
    by_hand = job.model_copy(update={"train": job.train.model_copy(update={"loss_type": "mae"})})
    events = run(by_hand, watch=answer("stop"))
    assert [event.settings for event in of(events, "asked")] == [{"train.loss_type": ("mse", "mae")}] and not of(events, "step")


def test_who_goes_back_with_the_settings_of_a_job_means_them_and_not_every_other_change(run, job, data, tmp_path):
    run(job)
    folder = RunFolder(tmp_path / "out" / "tiny")
    other = job.model_copy(update={"train": job.train.model_copy(update={"lr": 5e-4})})
    go_back(folder, 2, anew=True)
    assert went_on(run(other, watch=stop_at(3)))
    assert run(other.model_copy(update={"trigger_word": "yyy"}))[-1].kind == "failed"  # that was not meant then
    go_back(folder, 2, anew=True)
    paint_over(data)
    assert of(run(other, watch=answer("stop")), "asked")
    elsewhere = other.model_copy(update={"datasets": [job.datasets[0].model_copy(update={"num_repeats": 2})]})
    assert went_on(run(elsewhere, watch=stop_at(3)))
    go_back(folder, 2)
    assert "train.lr was 0.001, is 0.0005" in run(other)[-1].message


def test_a_state_that_says_nothing_of_settings_and_data_asks_nothing(run, job, data, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("engine.training.learner.summary", lambda *_: None)
        run(job, watch=stop_at(2))
    paint_over(data)
    assert run(job)[-1].reason == "completed"

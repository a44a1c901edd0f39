"""A training that waits for an answer, in the line: it holds it, outlives the app, and hears the answer from wherever it comes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from counting import Make

from engine.control import Control
from engine.jobs import TrainJob
from engine.queue import Runner, follow
from engine.runs.folder import RunFolder


def wait_for(true: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def told(runner: Runner, name: str, kind: str) -> int:
    return [event.kind for event in follow(RunFolder(runner.get(name).folder).events)[0]].count(kind)


def state_of(runner: Runner, name: str) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in RunFolder(runner.get(name).folder).state.rglob("*") if path.is_file()}


@pytest.fixture
def cats(make_job: Callable[..., TrainJob], pictures: Path, tmp_path: Path, make: Make) -> TrainJob:
    """A run that was stopped, and whose data has changed since."""
    data = shutil.copytree(pictures, tmp_path / "data")
    job = make_job(name="cats", datasets=[{"path": str(data)}], sample__sample_every=None)
    control = Control()
    for event in make(None, start=False).run(job, control):
        control.stop = event.kind == "step" and event.step == 2
    (data / "0.txt").write_text("something else")
    return job


def test_it_holds_the_line_outlives_the_app_and_hears_an_answer_from_another_window(make, make_job, cats: TrainJob) -> None:
    first = make(None)
    before, steps = state_of(first, "cats"), told(first, "cats", "step")
    first.resume("cats")
    first.submit(make_job(name="dogs", train__steps=1, sample__sample_every=None))
    wait_for(lambda: told(first, "cats", "asked"))
    time.sleep(0.5)
    assert (first.get("cats").status, first.get("dogs").status) == ("running", "queued")
    first.ask("dogs", "stop")  # who is behind it may leave
    first.close(timeout=60)
    assert (first.get("cats").status, first.get("dogs").status) == ("stopped", "stopped")
    assert (told(first, "cats", "step"), told(first, "cats", "agreed")) == (steps, 0)
    assert before and state_of(first, "cats") == before
    second, window = make(None), make(None, start=False)
    second.resume("cats")
    second.resume("dogs")
    wait_for(lambda: told(second, "cats", "asked") == 2)
    assert window.get("dogs").status == "queued"
    window.ask("cats", "go")
    wait_for(lambda: second.get("dogs").status == "completed")
    assert second.get("cats").status == "completed" and told(second, "cats", "agreed") == 1


def test_cut_off_while_it_asks_it_counts_as_interrupted_and_asks_again(make, cats: TrainJob) -> None:
    runner = make(None, start=False)
    events = runner.run(cats, Control(if_changed="ask"))
    assert any(event.kind == "asked" for event in events)
    del events  # as a kill does it: nothing comes after the question
    assert runner.get("cats").status == "interrupted"
    runner.start()
    runner.resume("cats")
    wait_for(lambda: told(runner, "cats", "asked") == 2)
    runner.ask("cats", "stop")
    wait_for(lambda: runner.get("cats").status == "stopped")


def test_who_goes_back_with_a_job_of_other_settings_is_not_asked_about_them(make, make_job) -> None:
    runner = make(None, start=False)
    quiet = {"sample__sample_every": None, "save": {"save_every": 2, "max_states_to_keep": 3}}
    list(runner.run(make_job(name="cats", **quiet)))
    kinds = [event.kind for event in runner.run(make_job(name="cats", train__lr=5e-4, **quiet), step=2)]
    assert kinds.count("step") == 2 and kinds[-1] == "finished"
    last = list(runner.go_on("cats", 2))[-1]  # that step is of the first job
    assert last.kind == "failed" and "train.lr was 0.001, is 0.0005" in last.message

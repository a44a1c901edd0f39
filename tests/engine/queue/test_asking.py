"""A run that waits for an answer, in the line: it holds it, outlives the app, and hears the answer from wherever it comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engine.control import Control, Stopped
from engine.events import Agreed, Asked, Event, Finished, Phase, Step
from engine.jobs import Job, load_job
from engine.queue import Runner, follow
from engine.runs.folder import RunFolder

QUESTION = Asked(step=2, data=[("cats", 6, 7)], about="x")


def asks(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
    """As a training does it, without one."""
    yield Phase(name="Reading pictures")
    if job.name == "cats":
        assert control.if_changed == "ask"
        control.asked = control.paused = True
        yield QUESTION
        control.wait()
        try:
            control.check()
        except Stopped:
            yield Finished(step=2, reason="stopped")
            return
        yield Agreed(step=2, about="x")
    yield Step(step=3, total=3, loss=1.0, lr=1e-4, seconds=1.0)
    yield Finished(step=3)


def wait_for(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def told(runner: Runner, name: str, kind: str) -> int:
    return [event.kind for event in follow(RunFolder(runner.get(name).folder).events)[0]].count(kind)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[[bool], Runner]]:
    made: list[Runner] = []

    def runner(start: bool = True) -> Runner:
        made.append(Runner(tmp_path / "output", tmp_path / "queue.db", execute=asks))
        if start:
            made[-1].start()
        return made[-1]

    yield runner
    for one in made:
        one.close(timeout=10)


def test_it_holds_the_line_outlives_the_app_and_hears_an_answer_from_another_window(make) -> None:
    first = make()
    for name in ("cats", "dogs"):
        first.submit(load_job({"kind": "train", "name": name, "model": {"name_or_path": "b"}, "datasets": [{"path": "d"}]}))
    wait_for(lambda: told(first, "cats", "asked"))
    time.sleep(0.5)
    assert (first.get("cats").status, first.get("dogs").status) == ("running", "queued") and not told(first, "cats", "step")
    first.ask("dogs", "stop")  # the one behind it may leave
    first.close(timeout=10)
    assert first.get("cats").status == "stopped" and told(first, "cats", "agreed") == 0
    second, window = make(), make(False)
    second.resume("cats")
    second.resume("dogs")
    wait_for(lambda: told(second, "cats", "asked") == 2)
    assert window.get("dogs").status == "queued"
    window.ask("cats", "go")
    wait_for(lambda: second.get("dogs").status == "completed")
    assert second.get("cats").status == "completed" and told(second, "cats", "agreed") == 1


def test_cut_off_while_it_asks_it_counts_as_interrupted_and_asks_again(make) -> None:
    first = make(False)
    job = load_job({"kind": "train", "name": "cats", "model": {"name_or_path": "b"}, "datasets": [{"path": "d"}]})
    for event in first.run(job, Control(if_changed="ask")):
        if event.kind == "asked":
            break  # as a kill does it: nothing comes after it
    assert first.get("cats").status == "interrupted"
    first.start()
    first.resume("cats")
    wait_for(lambda: told(first, "cats", "asked") == 2)
    first.ask("cats", "stop")
    wait_for(lambda: first.get("cats").status == "stopped")

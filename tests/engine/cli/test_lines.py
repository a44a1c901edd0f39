"""What a run says on the command line, and Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from calling import Window

from engine.control import Control
from engine.events import Event, Failed, Finished, Phase, Progress, Step, Warned
from engine.jobs import Job, TrainJob
from engine.queue.runner import Runner
from engine.running import EVERY, Lines, run_job, run_jobs
from engine.runs.folder import RunFolder


def steps(count: int) -> list[Step]:
    return [Step(step=step, total=count, loss=0.5, lr=1e-3, seconds=60) for step in range(1, count + 1)]


def test_progress_is_one_changing_line_on_a_terminal_and_few_lines_elsewhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events = [Phase(name="Training"), *steps(100), Finished(step=100)]
    watched, unwatched = Window(True), Window(False)
    for window in (watched, unwatched):
        lines = Lines(window)  # type: ignore[arg-type]
        for event in events:
            lines.show(event)
    assert "".join(watched).count("\n") == 3 and "".join(watched).count("\r") == 100
    text = "".join(unwatched).splitlines()
    assert len(text) == 4  # the first step at once, the last one always
    assert text[1].startswith("  step 1 of 100") and text[1].endswith("1.6 h left") and text[2].startswith("  step 100 of 100")
    clock = iter(range(0, 10_000, 1))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    unwatched.clear()
    lines = Lines(unwatched)  # type: ignore[arg-type]
    for event in [Progress(done=done, total=40, what="pictures") for done in range(1, 41)]:
        lines.show(event)
    assert 40 / EVERY / 2 <= len(unwatched) < 40


@pytest.fixture
def wanted(make_job) -> TrainJob:
    return make_job()


def runner_of(events, tmp_path: Path) -> Runner:
    """A runner whose engine is the function given."""
    return Runner(tmp_path / "out", tmp_path / "queue.db", events)


def test_ctrl_c_asks_to_stop_and_the_second_one_ends(wanted: TrainJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def works(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        yield from steps(1)
        os.kill(os.getpid(), signal.SIGINT)
        assert control.stop
        yield Finished(step=1, reason="stopped")

    before = signal.getsignal(signal.SIGINT)
    assert run_job(runner_of(works, tmp_path), wanted) == (0, True)
    assert "Stopping after this step, and saving." in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before

    def hangs(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        yield from steps(1)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("it went on")

    assert run_job(runner_of(hangs, tmp_path), wanted) == (130, True)
    assert "Run the same job again to go on from the last checkpoint." in capsys.readouterr().err


def test_a_failure_ends_the_row_of_jobs_unless_it_is_told_to_recover(make_job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def works(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        done.append(job.name)
        yield Warned(message="careful")
        yield Failed(message="No.") if job.name == "bad" else Finished(step=1)

    monkeypatch.setattr("engine.running.Runner", lambda output: runner_of(works, tmp_path))
    bad, good = make_job(name="bad"), make_job(name="good")
    assert run_jobs([bad, good], None, restart=False, recover=False) == 1 and done == ["bad"]
    done.clear()
    assert run_jobs([bad, good], None, restart=False, recover=True) == 1 and done == ["bad", "good"]

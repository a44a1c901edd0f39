"""Runs that do not come to their end: engines that break, logs that cannot be written, an app that closes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from counting import Make, a_job, events, status, stepped, wait_for

from engine.control import Control
from engine.events import Event, Finished, Phase
from engine.jobs import Job
from engine.runs.folder import RunFolder


def test_an_engine_that_breaks_is_a_failed_run_with_its_traceback_and_the_line_goes_on(make: Make) -> None:
    def broken(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        if job.name == "cats":
            raise ImportError("libcudart.so.12: cannot open shared object file")
        yield Finished(step=1)

    runner = make(broken)
    runner.submit(a_job())
    runner.submit(a_job("dogs"))
    wait_for(lambda: status(runner, "dogs") == "completed")
    (failed,) = events(runner, "cats")
    assert status(runner, "cats") == "failed" and "libcudart" in failed.message and "Traceback" in failed.detail


def test_a_log_that_cannot_be_written_ends_the_run_and_not_the_line(make: Make) -> None:
    def lost(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        if job.name == "cats":
            folder.events.unlink(missing_ok=True)
            folder.events.mkdir()
        yield Finished(step=1)

    runner = make(lost)
    runner.submit(a_job())
    runner.submit(a_job("dogs"))
    wait_for(lambda: status(runner, "dogs") == "completed")
    assert status(runner, "cats") == "failed"


def test_a_run_that_ends_without_a_word_is_interrupted(make: Make) -> None:
    runner = make(lambda job, folder, control: iter([Phase(name="Loading")]))
    runner.submit(a_job())
    wait_for(lambda: status(runner, "cats") == "interrupted")


def test_closing_stops_what_runs_and_leaves_the_line_for_the_next_start(make: Make) -> None:
    runner = make()
    runner.submit(a_job("first", steps=10_000))
    runner.submit(a_job("second", steps=2))
    wait_for(lambda: stepped(runner, "first"))
    runner.close(timeout=10)
    assert status(runner, "first") == "stopped" and status(runner, "second") == "queued"
    again = make()
    wait_for(lambda: status(again, "second") == "completed")


def test_what_does_not_end_in_time_is_interrupted_when_the_app_closes(make: Make) -> None:
    release = threading.Event()

    def deaf(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        yield Phase(name="Loading")
        release.wait(20)
        yield Finished(step=1)

    runner = make(deaf)
    runner.submit(a_job())
    wait_for(lambda: events(runner, "cats"))
    runner.close(timeout=0.1)
    assert status(runner, "cats") == "interrupted"
    release.set()
    wait_for(lambda: not runner._lanes["train"].is_alive())
    assert status(runner, "cats") == "interrupted"


def test_a_run_whose_watcher_leaves_is_interrupted(make: Make) -> None:
    runner = make(start=False)
    watching = runner.run(a_job(steps=3))
    next(watching)
    watching.close()
    assert status(runner, "cats") == "interrupted"

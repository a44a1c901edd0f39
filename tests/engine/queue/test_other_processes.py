"""Runs that another process or another runner has begun, asked or killed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from counting import Make, a_job, events, status, wait_for

from engine.control import Control
from engine.events import Event, Finished, Phase
from engine.jobs import Job
from engine.queue import follow
from engine.runs.folder import RunFolder

PROCESS = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from counting import a_job, count
from engine.queue import Runner
for event in Runner(Path(sys.argv[2]) / "output", Path(sys.argv[2]) / "queue.db", execute=count).run(a_job(steps=100_000)):
    pass
"""


@pytest.fixture
def process(make: Make, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run in another process, begun."""
    other = subprocess.Popen([sys.executable, "-c", PROCESS, str(Path(__file__).parent), str(tmp_path)])
    log = tmp_path / "output" / "cats" / "events.jsonl"
    wait_for(lambda: any(event.kind == "step" for event in follow(log)[0]))
    yield other
    other.kill()
    other.wait()


def test_a_run_of_another_process_is_seen_waited_for_and_stopped(make: Make, process: subprocess.Popen[bytes]) -> None:
    runner = make()
    runner.submit(a_job("dogs", steps=2))
    time.sleep(1.2)
    assert status(runner, "cats") == "running" and status(runner, "dogs") == "queued"
    runner.ask("cats", "stop")
    wait_for(lambda: status(runner, "dogs") == "completed")
    assert status(runner, "cats") == "stopped" and process.wait(10) == 0


def test_a_killed_run_is_interrupted_the_lane_is_free_and_it_can_be_resumed(make: Make, process: subprocess.Popen[bytes]) -> None:
    runner = make()
    runner.submit(a_job("dogs", steps=2))
    process.send_signal(signal.SIGKILL)
    wait_for(lambda: status(runner, "dogs") == "completed")
    assert status(runner, "cats") == "interrupted"
    before = len(events(runner, "cats"))
    runner.resume("cats")
    wait_for(lambda: len(events(runner, "cats")) > before + 3)
    assert status(runner, "cats") == "running"


def test_a_stop_reaches_a_job_that_is_silent_for_long(make: Make) -> None:
    """Asked by another runner, so through the database, while no event comes."""

    def silent(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
        yield Phase(name="Loading")
        wait_for(lambda: control.stop)
        yield Finished(reason="stopped")

    runner = make(silent)
    runner.submit(a_job())
    wait_for(lambda: events(runner, "cats"))
    make(start=False).ask("cats", "stop")
    wait_for(lambda: status(runner, "cats") == "stopped")

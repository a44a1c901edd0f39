"""Whether the process that drives a run is still there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from engine.queue.alive import identity, is_alive

OTHER = "import time; from engine.queue.alive import identity; print(identity(), flush=True); time.sleep(60)"


@pytest.fixture
def other() -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = subprocess.Popen([sys.executable, "-c", OTHER], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    yield process, process.stdout.readline().strip()
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_process_is_alive_until_it_is_killed(other: tuple[subprocess.Popen[str], str]) -> None:
    process, worker = other
    assert is_alive(worker, fresh=False)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and its parent does not know it yet
    assert not is_alive(worker, fresh=True)
    process.wait()
    assert not is_alive(worker, fresh=True)


def test_a_process_that_sleeps_with_the_computer_is_not_dead(
    other: tuple[subprocess.Popen[str], str],
) -> None:
    process, worker = other
    process.send_signal(signal.SIGSTOP)
    assert is_alive(worker, fresh=False)


def test_an_id_that_was_given_to_another_process_does_not_count(
    other: tuple[subprocess.Popen[str], str],
) -> None:
    node, pid, started, token = other[1].split("|")
    assert not is_alive(f"{node}|{pid}|{float(started) - 1000:.2f}|{token}", fresh=False)


def test_on_another_computer_and_in_this_process_the_last_sign_of_life_counts(
    other: tuple[subprocess.Popen[str], str],
) -> None:
    elsewhere = "elsewhere|" + other[1].partition("|")[2]
    for worker in (identity(), elsewhere, "nonsense", ""):
        assert is_alive(worker, fresh=True) and not is_alive(worker, fresh=False)

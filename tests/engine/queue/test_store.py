"""The queue under many hands: no run is taken twice, no request is lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import engine.queue.store as store
from engine.errors import JobError
from engine.queue.alive import identity
from engine.queue.store import RunQueue, RunRecord, Status


def a_run(name: str, kind: str = "train", status: Status = "queued", added: float = 0.0) -> RunRecord:
    return RunRecord(name, kind, status, Path("output") / name, added)


@pytest.fixture
def queue(tmp_path: Path) -> RunQueue:
    return RunQueue(tmp_path / "queue.db")


def test_runs_are_taken_in_the_order_they_came_one_at_a_time(queue: RunQueue) -> None:
    for name in "abc":
        queue.enqueue(a_run(name))
    assert queue.claim("train", "me").name == "a" and queue.claim("train", "you") is None
    queue.finish("a", "me", "completed")
    assert queue.claim("train", "me").name == "b"
    assert [(run.name, run.status) for run in queue.runs()] == [
        ("c", "queued"),
        ("b", "running"),
        ("a", "completed"),
    ]


def test_a_drawing_does_not_wait_for_a_training(queue: RunQueue) -> None:
    queue.enqueue(a_run("training"))
    assert queue.claim("draw", "me") is None
    queue.enqueue(a_run("drawing", kind="generate"))
    assert queue.claim("train", "me").name == "training" and queue.claim("draw", "me").name == "drawing"


def test_lining_up_twice_is_lining_up_once(queue: RunQueue) -> None:
    queue.enqueue(a_run("a"))
    queue.enqueue(a_run("a"))
    assert queue.claim("train", "me").name == "a"
    queue.enqueue(a_run("a"))
    assert queue.get("a").status == "running"
    queue.finish("a", "me", "stopped")
    assert queue.claim("train", "me") is None


def test_a_run_that_comes_again_goes_to_the_end_of_the_line_and_keeps_its_date(queue: RunQueue) -> None:
    queue.enqueue(a_run("a"))
    added = queue.get("a").added
    queue.claim("train", "me")
    queue.finish("a", "me", "stopped")
    queue.enqueue(a_run("b"))
    queue.enqueue(a_run("a"))
    assert queue.claim("train", "me").name == "b" and queue.get("a").added == added


def test_a_run_that_begins_at_once_needs_a_free_lane(queue: RunQueue) -> None:
    queue.enqueue(a_run("waiting"))
    assert queue.enqueue(a_run("a"), worker="me") and queue.get("a").status == "running"
    assert not queue.enqueue(a_run("b"), worker="you") and queue.get("b") is None
    assert queue.enqueue(a_run("drawing", kind="generate"), worker="you")
    queue.finish("a", "me", "completed")
    assert queue.enqueue(a_run("waiting"), worker="you") and queue.get("waiting").status == "running"


def test_requests_reach_the_worker_once_and_only_that_of_a_running_run(queue: RunQueue) -> None:
    queue.enqueue(a_run("a"))
    queue.ask("a", "save")  # it only waits: there is nothing to save
    queue.claim("train", "me")
    assert queue.beat("a", "me") == []
    queue.ask("a", "save")
    queue.ask("a", "sample")
    queue.ask("a", "save")
    assert queue.beat("a", "me") == ["save", "sample", "save"] and queue.beat("a", "me") == []
    queue.ask("a", "stop")
    queue.finish("a", "me", "completed")
    queue.enqueue(a_run("a"))
    queue.claim("train", "me")
    assert queue.beat("a", "me") == []  # what was asked too late does not hit the next time


def test_a_waiting_run_that_is_stopped_leaves_the_line(queue: RunQueue) -> None:
    queue.enqueue(a_run("a"))
    queue.ask("a", "stop")
    assert queue.get("a").status == "stopped" and queue.claim("train", "me") is None


def test_a_worker_that_lost_its_run_is_told_and_changes_nothing(queue: RunQueue) -> None:
    queue.enqueue(a_run("a"))
    queue.claim("train", "me")
    queue.finish("a", "me", "interrupted")
    queue.enqueue(a_run("a"))
    queue.claim("train", "you")
    assert queue.beat("a", "me") is None
    queue.finish("a", "me", "failed")
    assert queue.get("a").status == "running" and queue.beat("a", "you") == []


def test_no_request_is_lost_between_two_threads(queue: RunQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "BEAT_EVERY", 0.0)  # every beat writes
    queue.enqueue(a_run("a"))
    queue.claim("train", "me")
    heard, done = [], threading.Event()

    def listen() -> None:
        while not done.is_set():
            heard.extend(queue.beat("a", "me"))
        heard.extend(queue.beat("a", "me"))

    listener = threading.Thread(target=listen)
    listener.start()
    for _ in range(60):
        queue.ask("a", "save")
        end = time.monotonic() + 10
        while "save" not in heard:
            if time.monotonic() > end:
                done.set()
                pytest.fail("a request was lost")
        heard.remove("save")
    done.set()
    listener.join()
    assert heard == []


CLAIM = """
import sys
from pathlib import Path
from engine.queue.store import RunQueue
queue = RunQueue(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(*[run.name for _ in range(10) if (run := queue.claim("train", sys.argv[2]))])
"""


def test_of_many_processes_one_gets_the_run(queue: RunQueue) -> None:
    queue.enqueue(a_run("a"))
    queue.enqueue(a_run("b"))
    command = [sys.executable, "-c", CLAIM, str(queue.path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    workers = [subprocess.Popen([*command, str(number)], **pipes) for number in range(4)]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    got = [worker.communicate("go\n", timeout=30)[0].strip() for worker in workers]
    assert sorted(got) == ["", "", "", "a"]


def test_runs_of_dead_workers_are_interrupted_and_others_are_not(queue: RunQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    me = identity()
    for name, kind, worker in (("mine", "train", me), ("gone", "generate", "here|0|0|0")):
        queue.enqueue(a_run(name, kind))
        queue.claim(a_run(name, kind).lane, worker)
    assert queue.recover(me, driven={"mine"}) == []  # seen a moment ago
    monkeypatch.setattr(store, "STALE_AFTER", -1.0)
    assert queue.recover(me, driven={"mine"}) == ["gone"]
    assert queue.recover(me, driven=()) == ["mine"]  # nobody drives it any more
    assert {run.name: run.status for run in queue.runs()} == {"mine": "interrupted", "gone": "interrupted"}


def test_a_run_taken_off_the_list_comes_back_when_it_is_lined_up(queue: RunQueue) -> None:
    queue.enqueue(a_run("a"))
    queue.remove("a")
    queue.adopt(a_run("a", status="completed"))
    assert queue.get("a") is None and queue.runs() == [] and queue.names() == {"a"} and queue.claim("train", "me") is None
    queue.enqueue(a_run("a"))
    assert queue.claim("train", "me").name == "a"
    queue.remove("a")
    assert queue.get("a").status == "running"


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    (tmp_path / "queue.db").write_bytes(b"not a database at all, but long enough to be read as one" * 40)
    with pytest.raises(JobError, match="cannot be opened.*move it away"):
        RunQueue(tmp_path / "queue.db")


def test_an_error_inside_a_change_undoes_it(queue: RunQueue) -> None:
    queue.enqueue(a_run("a"))
    with pytest.raises(sqlite3.OperationalError), queue._transaction() as db:
        db.execute("DELETE FROM run")
        db.execute("nonsense")
    assert queue.get("a").status == "queued"


def test_a_change_of_settings_reaches_the_worker_in_its_place_among_other_requests(tmp_path):
    from engine.control import Control

    queue = RunQueue(tmp_path / "q.db")
    queue.enqueue(a_run("a"))
    assert queue.claim("train", "me")
    queue.ask("a", "pause")
    queue.ask("a", {"train.lr": 2e-4})
    queue.ask("a", "go")
    words, control = queue.beat("a", "me"), Control()
    assert words is not None and (words[0], words[2], len(words)) == ("pause", "go", 3) and queue.beat("a", "me") == []
    control.hear(words[1])
    assert control.changes == [{"train.lr": 2e-4}]

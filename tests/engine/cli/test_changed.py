"""A run whose settings or data have changed, on the command line."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest
from calling import Window, call

from engine.control import Control
from engine.jobs import TrainJob, dump_job
from engine.queue.runner import Runner
from engine.running import _answer, ask, is_attended, run_job
from engine.runs.folder import RunFolder
from engine.runs.log import follow


@pytest.fixture
def changed(make_job, pictures: Path, tmp_path: Path) -> TrainJob:
    """A run that was stopped, and whose data has changed since."""
    data = shutil.copytree(pictures, tmp_path / "cats")
    job = make_job(datasets=[{"path": str(data)}], sample__sample_every=None)
    control = Control()
    for event in Runner(tmp_path / "out").run(job, control):
        control.stop = event.kind == "step" and event.step == 2
    (data / "0.txt").write_text("something else")
    return job


def went(tmp_path: Path) -> list[str]:
    """What was told since it was stopped."""
    events = follow(RunFolder(tmp_path / "out" / "tiny").events)[0]
    stopped = next(index for index, event in enumerate(events) if event.kind == "finished")
    return [event.kind for event in events[stopped + 1 :] if event.kind in {"asked", "agreed", "step", "finished", "failed"}]


def state_of(tmp_path: Path) -> dict[str, bytes]:
    folder = tmp_path / "out" / "tiny" / "state"
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("command", ["run", "resume"])
def test_where_nobody_can_answer_a_changed_run_does_not_go_on_unless_it_is_told_to(changed: TrainJob, tmp_path: Path, command: str) -> None:
    file, before = tmp_path / "job.yaml", state_of(tmp_path)
    file.write_text(dump_job(changed))
    words = (command, file if command == "run" else "tiny", "--output", tmp_path / "out")
    code, said, _ = call(*words)
    assert code == 1 and "the data set cats has other pictures or captions." in said and "--go-on" in said
    assert went(tmp_path) == ["failed"] and before and state_of(tmp_path) == before
    code, said, _ = call(*words, "--go-on")
    assert code == 0 and "It goes on with that." in said and said.count("Go on?") == 0
    assert went(tmp_path)[1:] == ["asked", "agreed", "step", "step", "finished"]


@pytest.mark.parametrize(
    ("typed", "goes_on"), [("y\n", True), ("YES\n", True), ("\n", False), ("n\n", False), ("", False), ("what?\n", False)]
)
def test_on_a_terminal_it_asks_and_only_a_yes_goes_on(
    changed: TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], typed: str, goes_on: bool
) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, typed.encode())
    os.close(theirs)  # after what is typed, Ctrl-D
    before = state_of(tmp_path)
    with os.fdopen(ours) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr("engine.running.is_attended", lambda: True)
        assert run_job(Runner(tmp_path / "out"), changed) == (0, not goes_on)
    said = capsys.readouterr().out
    assert "has other pictures or captions. Go on with it, or stop?\nGo on? [y/N] " in said
    assert went(tmp_path) == (["asked", "agreed", "step", "step", "finished"] if goes_on else ["asked", "finished"])
    assert (state_of(tmp_path) == before) != goes_on


def test_ctrl_c_at_the_question_is_a_no(
    changed: TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = os.pipe()
    with os.fdopen(ours) as stdin, os.fdopen(theirs, "wb"):
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr("engine.running.is_attended", lambda: True)
        monkeypatch.setattr(
            "engine.running.ask", lambda control: (ask(control), threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start())
        )
        assert run_job(Runner(tmp_path / "out"), changed) == (0, True)
        assert went(tmp_path) == ["asked", "finished"]
        assert capsys.readouterr().err == "\nStopping. Ctrl-C again ends at once.\n"


def test_what_is_typed_when_another_window_has_answered_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    for asked in (True, False):
        ours, theirs = os.pipe()
        os.write(theirs, b"\n")
        os.close(theirs)
        control = Control(asked=asked, paused=True)
        with os.fdopen(ours) as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            _answer(control)
        assert control.stop == asked


def test_it_asks_only_where_somebody_sees_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for typed, read in ((True, True), (True, False), (False, True), (None, True)):
        monkeypatch.setattr(sys, "stdin", None if typed is None else Window(typed))
        monkeypatch.setattr(sys, "stdout", Window(read))
        assert is_attended() == bool(typed and read)

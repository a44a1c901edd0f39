"""Somebody else's file adds a kind of job; a broken one is told and stops nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine import execute as executing
from engine.control import Control
from engine.errors import JobError
from engine.extensions import load_extensions
from engine.jobs import load
from engine.runs.folder import RunFolder

ECHO = '''
from typing import Literal
from engine.events import Finished, Warned
from engine.jobs import Job

class EchoJob(Job):
    """Says something."""
    kind: Literal["echo"] = "echo"
    text: str

def echo(job, folder, control):
    yield Warned(message=job.text)
    yield Finished()

def register(registry):
    registry.job(EchoJob, f"{__name__}:echo")
'''


@pytest.fixture(autouse=True)
def tables_as_they_were(monkeypatch):
    monkeypatch.setattr(load, "KINDS", dict(load.KINDS))
    monkeypatch.setattr(executing, "KINDS", dict(executing.KINDS))


def test_a_file_in_the_folder_adds_a_kind_of_job(tmp_path: Path):
    (tmp_path / "echo.py").write_text(ECHO)
    assert load_extensions(tmp_path) == []
    job = load.load_job({"kind": "echo", "name": "one", "text": "hello"})
    events = list(executing.execute(job, RunFolder.create(tmp_path / "out", job), Control()))
    assert [event.kind for event in events] == ["warned", "finished"] and events[0].message == "hello"


def test_a_broken_file_is_named_and_the_others_load(tmp_path: Path):
    (tmp_path / "a_broken.py").write_text("import nothing_of_that_name")
    (tmp_path / "b_echo.py").write_text(ECHO)
    (warning,) = load_extensions(tmp_path)
    assert "a_broken.py" in warning.message and "nothing_of_that_name" in warning.message and warning.hint
    assert "echo" in load.KINDS


def test_a_name_that_is_taken_is_refused(tmp_path: Path):
    (tmp_path / "one.py").write_text(ECHO.replace('"echo"', '"train"'))
    (warning,) = load_extensions(tmp_path)
    assert "'train' exists already" in warning.message
    assert load.KINDS["train"].__name__ == "TrainJob"
    with pytest.raises(JobError):
        load.load_job({"kind": "train", "name": "x", "text": "y"})

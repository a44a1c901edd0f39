"""Jobs that only count, and what is seen of their runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from engine.control import Control
from engine.events import Event, Finished, Phase, Saved, Step
from engine.jobs import Job, load_job
from engine.queue import Runner, follow
from engine.runs.changes import current_job
from engine.runs.checkpoints import CheckpointStore, State
from engine.runs.folder import RunFolder
from engine.runs.points import last_point

Make = Callable[..., Runner]


def a_job(name: str = "cats", **train: Any) -> Job:
    return load_job(
        {
            "kind": "train",
            "name": name,
            "model": {"name_or_path": "b"},
            "datasets": [{"path": "d"}],
            "train": train,
        }
    )


def a_drawing(name: str = "picture", **sample: Any) -> Job:
    return load_job({"kind": "generate", "name": name, "model": {"name_or_path": "b"}, "sample": sample})


def count(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
    """Counts to the job's steps, a hundred a second; goes on where the file says; saves when asked and when stopped."""
    path = folder.checkpoint_path(0)
    step = int(path.read_text()) if path.exists() else 0
    yield Phase(name="Loading")
    total = job.train.steps if job.kind == "train" else 3
    while step < total and not control.stop:
        step += 1
        time.sleep(0.01)
        yield Step(step=step, total=total, loss=1 / step, lr=1e-4, seconds=0.01)
        if control.take("save"):
            path.write_text(str(step))
            yield Saved(step=step, path=Path(path.name))
    path.write_text(str(step))
    yield Finished(step=step, reason="completed" if step == total else "stopped")


def keep(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
    """Counts as ``count`` does, and keeps a state of every step."""
    store = CheckpointStore(folder, keep=100, keep_states=100, framework="np")
    step = last_point(folder)
    total = current_job(folder).train.steps
    while step < total and not control.stop:
        step += 1
        time.sleep(0.01)
        yield Step(step=step, total=total, loss=1 / step, lr=1e-4, seconds=0.01)
        path = store.save(step, step == total, lambda path: path.touch(), State(step, {"weights": {}}))
        yield Saved(step=step, path=path.relative_to(folder.path), final=step == total)
    yield Finished(step=step, reason="completed" if step == total else "stopped")


def wait_for(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def events(runner: Runner, name: str) -> list[Event]:
    return follow(RunFolder(runner.get(name).folder).events)[0]


def status(runner: Runner, name: str) -> str:
    return runner.get(name).status


def stepped(runner: Runner, name: str) -> bool:
    return any(event.kind == "step" for event in events(runner, name))


def counted(runner: Runner, name: str) -> list[int]:
    return [event.step for event in events(runner, name) if event.kind == "step"]

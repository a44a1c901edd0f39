"""What all tabs share: the queue, the data sets, the memory of the app, and what each run has told so far."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import JobError
from engine.jobs import Job, TrainJob
from engine.queue import Runner, RunRecord, follow
from engine.runs.atomic import replace_text
from engine.runs.folder import Checkpoint, RunFolder
from engine.settings import load_settings

from .library import Library
from .memory import Memory
from .watch import History

CHOSEN = "chosen.json"
"""In a run's folder: the checkpoint that its owner has picked."""


@dataclass
class _Told:
    """What was read of a run's log, and how far."""

    history: History = field(default_factory=History)
    offset: int = 0


class Studio:
    """Made once, shared by every tab of every browser. What it holds can all be read again from the disk."""

    def __init__(self, runner: Runner):
        settings = load_settings()
        self.runner = runner
        self.library = Library(settings.folder("datasets"), settings.folder("cache"))
        self.cache = settings.folder("cache").resolve()
        self.memory = Memory(self.cache / "app.json")
        self._told: dict[Path, _Told] = {}
        self._reading = threading.RLock()  # one for all runs: who reads one may look into another, in any order
        self._jobs: dict[Path, tuple[int, Job]] = {}

    @contextmanager
    def history(self, record: RunRecord) -> Iterator[History]:
        """What the run has told up to now; only the new lines are read. Do not keep it after the block."""
        with self._reading:
            told = self._told.setdefault(record.folder, _Told())
            path = RunFolder(record.folder).events
            if path.exists() and path.stat().st_size < told.offset:  # the folder was emptied: another run
                told.history, told.offset = History(), 0
            events, told.offset = follow(path, told.offset)
            told.history.add(events)
            yield told.history

    def job(self, record: RunRecord) -> Job | None:
        """The run's job; None if its file cannot be read."""
        path = RunFolder(record.folder).config
        try:
            stamp = path.stat().st_mtime_ns
            if record.folder not in self._jobs or self._jobs[record.folder][0] != stamp:
                self._jobs[record.folder] = stamp, RunFolder(record.folder).job()
        except (OSError, JobError):
            return None
        return self._jobs[record.folder][1]

    def names(self) -> set[str]:
        """Names that a new run cannot have."""
        return {record.name for record in self.runner.runs()} | {path.name for path in self.runner.root.iterdir()}

    def trainings(self) -> list[RunRecord]:
        """Runs that make a LoRA or a model, the newest first; drawings are not among them."""
        return [record for record in self.runner.runs() if record.kind != "generate"]

    def active(self) -> RunRecord | None:
        """The training that runs, else the one that is next."""
        waiting = [record for record in self.trainings() if record.status in {"running", "queued"}]
        return next((record for record in waiting if record.status == "running"), waiting[-1] if waiting else None)

    def checkpoints(self, record: RunRecord) -> list[Checkpoint]:
        """Single-file checkpoints, oldest first; the final one takes the place of the one of its step."""
        by_step: dict[int, Checkpoint] = {}
        for checkpoint in RunFolder(record.folder).checkpoints():
            if checkpoint.path.suffix == ".safetensors":
                by_step[checkpoint.step] = checkpoint
        return [by_step[step] for step in sorted(by_step)]

    def chosen(self, record: RunRecord) -> int | None:
        """The step that its owner has marked on the contact sheet."""
        try:
            return int(json.loads((record.folder / CHOSEN).read_text(encoding="utf-8"))["step"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def choose(self, record: RunRecord, step: int) -> Checkpoint:
        checkpoint = next((one for one in self.checkpoints(record) if one.step == step), None)
        if checkpoint is None:
            raise JobError(
                f"Step {step:,} has no checkpoint any more.",
                "Pick another one; Keep more of them in Pro, Saving.",
            )
        replace_text(record.folder / CHOSEN, json.dumps({"step": step, "file": checkpoint.path.name}))
        return checkpoint

    def face(self, record: RunRecord) -> Path | None:
        """A picture to know the run by: its newest sample, else one of what it learns from."""
        with self.history(record) as history:
            newest = max((event for event in history.frames.values()), key=lambda one: (one.step, -one.index), default=None)
        if newest:
            return record.folder / newest.path
        job = self.job(record)
        path = job.datasets[0].path if isinstance(job, TrainJob) else getattr(job, "path", None)
        if name := self.library.name_of(path):
            try:
                return self.library.thumbnail(self.library.pictures(name)[0])
            except (JobError, IndexError, OSError):
                return None
        return None

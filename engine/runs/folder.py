"""The run folder: where each thing of a run lies, and the two files that tell what happened. No torch here.

config.yaml                     the job with every default written out
<name>_000000250.safetensors    checkpoints; <name>.safetensors is the final one (folders, for whole models)
state/000000250/                exact state of the kept checkpoints
samples/000000250_00_<hash>.jpg
events.jsonl  log.txt           the same events, for programs and for people
metrics.csv                     the figures among them, for a spreadsheet
earlier/1                       checkpoints and samples of steps that the run went back from
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import JobError
from ..events import Event, describe, dump_event
from ..jobs import Job, dump_job, load_job
from .atomic import replace_text

_RESERVED = {
    "samples",
    "state",
    "config.yaml",
    "events.jsonl",
    "log.txt",
    "metrics.csv",
    "earlier",
    "readme.md",
}  # a final folder would take their place
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # names that Windows keeps to itself


EXPERTS = r"(?:_high_noise|_low_noise)"
"""How the files of the two experts of a model end, before .safetensors."""


@dataclass(frozen=True)
class Checkpoint:
    step: int
    path: Path
    final: bool = False


@dataclass(frozen=True)
class SampleFile:
    step: int
    index: int
    path: Path


def slug(name: str) -> str:
    """The name as a folder's name that is safe on every system: letters, digits, dots, dashes, underscores."""
    text = re.sub(r"[^\w.+-]+", "_", name).strip("._")
    if not text:
        raise JobError(f"{name!r} cannot be the name of a folder.", "Use letters or digits.")
    return f"{text}_run" if text.lower() in _RESERVED or DEVICES.fullmatch(text) else text


@dataclass(frozen=True)
class RunFolder:
    """Paths and contents of one run. Reading and writing it needs no lock: one process writes, any may read."""

    path: Path

    @classmethod
    def create(cls, root: Path, job: Job, exist_ok: bool = False) -> RunFolder:
        """The folder of a job inside ``root``, made if it is missing, with the job written into it."""
        root = root.resolve()
        path = (root / slug(job.name)).resolve()
        if not path.is_relative_to(root) or path == root:
            raise JobError(f"{job.name!r} leads out of {root}.", "Choose another name.")
        folder = cls(path)
        if folder.config.exists() and not exist_ok:
            raise JobError(f"There is already a run named {folder.name}.", "Choose another name.")
        try:
            folder.samples.mkdir(parents=True, exist_ok=True)
            replace_text(folder.config, dump_job(job, defaults=True))
        except OSError as error:
            raise JobError(
                f"The folder {path} cannot be written: {error.strerror or error}.",
                "Choose another output folder in the settings.",
            ) from error
        return folder

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def state(self) -> Path:
        return self.path / "state"

    def next_aside(self) -> Path:
        """A new folder for what came after a step that the run goes back to."""
        taken = [int(path.name) for path in (self.path / "earlier").glob("*") if path.name.isdecimal()]
        return self.path / "earlier" / str(max(taken, default=0) + 1)

    def job(self) -> Job:
        return load_job(self.config)

    def append(self, event: Event) -> None:
        """One line more in events.jsonl and in log.txt, there for every reader when this returns."""
        append_line(self.events, dump_event(event))
        moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.time))
        append_line(self.log, f"{moment}  {describe(event)}\n".encode())

    @property
    def final_path(self) -> Path:
        return self.path / f"{self.name}.safetensors"

    def checkpoint_path(self, step: int) -> Path:
        return self.path / f"{self.name}_{step:09d}.safetensors"

    def state_path(self, step: int) -> Path:
        return self.state / f"{step:09d}"

    def sample_path(self, step: int, index: int, prompt: str, ext: str) -> Path:
        """Where a sample is saved. The same prompt has the same ending in every round."""
        self.samples.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(prompt.encode()).hexdigest()[:8]
        return self.samples / f"{step:09d}_{index:02d}_{digest}.{ext.lstrip('.')}"

    def checkpoints(self) -> list[Checkpoint]:
        """Saved weights, oldest first, the final ones last. A whole model is a folder of the same name without an ending.

        A model with two experts has two files of each step.
        """
        numbered = re.compile(re.escape(self.name) + rf"_(\d{{9}})({EXPERTS}?\.safetensors)?")
        found = [
            Checkpoint(int(match[1]), path)
            for path in self.path.iterdir()
            if (match := numbered.fullmatch(path.name)) and path.is_dir() == (match[2] is None)
        ]
        found.sort(key=lambda checkpoint: (checkpoint.step, checkpoint.path.name))
        last = re.compile(re.escape(self.name) + rf"({EXPERTS}?\.safetensors)?")
        finals = sorted(
            path for path in self.path.iterdir() if (match := last.fullmatch(path.name)) and path.is_dir() == (match[1] is None)
        )
        step = self._final_step(found) if finals else 0
        return found + [Checkpoint(step, path, final=True) for path in finals]

    def files_of(self, checkpoint: Checkpoint) -> list[Path]:
        """The weights, and what was saved with them under further names, such as a new word: <name>_000000250_embedding.safetensors."""
        path = checkpoint.path
        mate = re.compile(re.escape(path.stem) + r"_[a-z][a-z_]*\.safetensors")
        mates = [] if path.is_dir() else sorted(one for one in self.path.iterdir() if mate.fullmatch(one.name))
        return [path, *(one for one in mates if not re.fullmatch(f".*{EXPERTS}", one.stem))]

    def list_samples(self) -> list[SampleFile]:
        """Samples in the order of step and index."""
        pattern = re.compile(r"(\d{9})_(\d+)_[0-9a-f]{8}\.\w+")
        paths = self.samples.iterdir() if self.samples.exists() else ()
        found = [SampleFile(int(m[1]), int(m[2]), path) for path in paths if (m := pattern.fullmatch(path.name))]
        return sorted(found, key=lambda sample: (sample.step, sample.index, sample.path.name))

    def _final_step(self, numbered: list[Checkpoint]) -> int:
        """The step of the final weights: the newest that the run's log tells of, and they are not older than the others."""
        steps = [checkpoint.step for checkpoint in numbered]
        for line in reversed(self.events.read_bytes().splitlines() if self.events.exists() else []):
            if b'"saved"' in line and b'"final":true' in line:
                try:
                    steps.append(int(json.loads(line)["step"]))
                    break
                except (ValueError, KeyError):
                    continue  # half a line of a killed process
        return max(steps, default=0)


def append_line(path: Path, line: bytes) -> None:
    """Adds a line; after half a line of a process that was killed, on a new one."""
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                line = b"\n" + line
        file.write(line)

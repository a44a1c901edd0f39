"""Changes in a data set that can be taken back: what is replaced lies in ``.undo/<number>`` inside the set, with a list of it.

The list is written before anything is moved, so that what a kill left half done is taken back like the rest.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import JobError
from ...runs.atomic import discard, replace_text

FOLDER, MANIFEST = ".undo", "manifest.json"
OLD, UNDONE = "old", "undone"


@dataclass(frozen=True)
class UndoStep:
    """A change that can be taken back."""

    number: int
    what: str
    files: int
    time: float
    """Seconds since the epoch."""


def exchange(folder: Path, what: str, gone: Sequence[Path], new: Mapping[Path, Path]) -> int:
    """Moves the files ``gone`` aside and puts those of ``new`` (place → finished file on the same disk) in; the step's number.

    Places are relative to ``folder``.
    """
    number = time.time_ns()
    step = folder / FOLDER / str(number)
    step.mkdir(parents=True)
    stamps = {place.as_posix(): file.stat().st_mtime_ns for place, file in new.items()}
    manifest = {"what": what, "time": time.time(), "gone": [place.as_posix() for place in gone], "new": stamps}
    replace_text(step / MANIFEST, json.dumps(manifest, indent=1))
    for place in gone:
        _move(folder / place, step / OLD / place)
    for place, file in new.items():
        _move(file, folder / place)
    return number


def undo_steps(folder: Path) -> list[UndoStep]:
    """What can be taken back, the newest first."""
    steps = []
    for path in (folder / FOLDER).glob(f"*/{MANIFEST}"):
        with suppress(OSError, ValueError, KeyError, TypeError):
            manifest = json.loads(path.read_text(encoding="utf-8"))
            files = len(set(manifest["gone"]) | set(manifest["new"]))
            steps.append(UndoStep(int(path.parent.name), str(manifest["what"]), files, float(manifest["time"])))
    return sorted(steps, key=lambda step: -step.number)


def undo(folder: Path) -> UndoStep:
    """Takes the newest change back: every file is what it was, its times included. JobError if there is none.

    A new file that a person has changed since is kept, in ``.undo/<number>/undone``.
    """
    steps = undo_steps(folder)
    if not steps:
        raise JobError("There is nothing to take back here.", "Only what was mended in this folder can be.")
    step = folder / FOLDER / str(steps[0].number)
    manifest = json.loads((step / MANIFEST).read_text(encoding="utf-8"))
    gone, new = manifest["gone"], manifest["new"]
    kept = False
    for place, stamp in new.items():
        path = _inside(folder, place)
        waits = place not in gone or (step / OLD / place).exists()  # else it was never put in
        if waits and path.is_file():
            kept |= path.stat().st_mtime_ns != stamp
            _move(path, step / UNDONE / place)
    for place in gone:
        old, path = step / OLD / place, _inside(folder, place)
        if old.exists() and not path.exists():
            _move(old, path)
    if kept:
        (step / MANIFEST).unlink()
    else:
        discard(step)
        with suppress(OSError):
            (folder / FOLDER).rmdir()
    return steps[0]


def _inside(folder: Path, place: str) -> Path:
    path = folder / place
    if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder)):
        raise JobError(f"The list of what was mended names {place}, which is elsewhere.", f"Look into {FOLDER}.")
    return path


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(source, target)

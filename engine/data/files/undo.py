"""Changes in a folder that can be taken back: what they replace is kept, with a list of it.

A step lies in ``.undo/<number>`` inside a data set of the app, and elsewhere with the run that made it. Each change is written
down before it is made, so that what a kill left half done is taken back like the rest.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import JobError
from ...events import Warned
from ...runs.atomic import discard, put, replace_file, replace_text, staging
from ..words import name_of

FOLDER, LIST, OLD, POINTER = ".undo", "changes.jsonl", "old", "undo.json"


@dataclass(frozen=True)
class UndoStep:
    """A step that can be taken back, or was."""

    number: int
    what: str
    """In words."""
    files: int
    time: float
    """Seconds since the epoch."""
    kept: tuple[Warned, ...] = ()
    """What was not taken back, because a person changed it since."""


@dataclass(frozen=True)
class Change:
    """What was done to one file."""

    old: bool
    """There was one before; once it was replaced, that lies in ``old``."""
    new: str | None
    """Tells the new one from every other; None where the file was taken away."""


class Step:
    """Changes of files in ``folder``; what they replace lies in ``home``. Files are named by their paths within ``folder``."""

    def __init__(self, home: Path, folder: Path, what: str = ""):
        self.home, self.folder, self.what, self.time = home, folder, what, time.time()
        self.changes: dict[Path, Change] = {}
        """The latest of each file; what a file was before the step stays the same."""
        for said in self._read():
            with suppress(KeyError, TypeError):  # half a line of a process that was killed: its change did not happen
                if "what" in said:
                    self.what, self.time = str(said["what"]), float(said["time"])
                else:
                    self.changes[Path(said["place"])] = Change(bool(said["old"]), said["new"])

    def exchange(self, gone: Sequence[Path], new: Mapping[Path, Path]) -> None:
        """Moves the files ``gone`` aside, and puts those of ``new`` (place → finished file on the same disk) in."""
        self._note({place: Change(place in gone, _stamp(new[place]) if place in new else None) for place in dict.fromkeys([*gone, *new])})
        for place in gone:
            _move(self.folder / place, self.home / OLD / place)
        for place, file in new.items():
            _move(file, self.folder / place)

    def write(self, place: Path, content: bytes) -> None:
        """The content as the file's."""
        path = self.folder / place
        now = _content(path)
        if now == content:
            return
        if place not in self.changes and now is not None:
            (self.home / OLD / place).parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.home / OLD / place, lambda new: shutil.copy2(path, new))
        known = self.changes.get(place)
        with staging(path.parent) as stage:
            (stage / path.name).write_bytes(content)
            self._note({place: Change(known.old if known else now is not None, _stamp(stage / path.name))})
            put(stage / path.name, path)

    def is_as_left(self, place: Path) -> bool:
        """Whether the file is what this step made it."""
        return place in self.changes and _stamp(self.folder / place) == self.changes[place].new

    def original(self, place: Path) -> bytes | None:
        """What the file was before the step; None where there was none."""
        if place in self.changes:
            return _content(self.home / OLD / place) if self.changes[place].old else None
        return _content(self.folder / place)

    def undo(self, inside: Path | None = None) -> Iterator[Path | Warned]:
        """Gives every file, or those in the folder ``inside``, its old content and times back; yields their paths.

        One that a person changed since stays as it is, and is told; what it was is then still in ``old``.
        """
        for place, change in self.changes.items():
            path, old = self._inside(place), self.home / OLD / place
            if inside is not None and not path.is_relative_to(inside):
                continue
            now = _stamp(path)
            if now is not None and now != change.new:
                untouched = change.old and (not old.exists() or _content(old) == _content(path))  # a kill came first
                if not untouched:
                    yield Warned(message=f"{name_of(path)} was changed since, and stays as it is.")
                continue
            if old.exists():
                _move(old, path)
            elif now is not None:
                path.unlink()
            else:
                continue
            yield path

    def _note(self, changes: Mapping[Path, Change]) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        lines: list[dict[str, Any]] = [] if self.changes else [{"what": self.what, "time": self.time}]
        lines += [{"place": place.as_posix(), "old": change.old, "new": change.new} for place, change in changes.items()]
        with (self.home / LIST).open("a", encoding="ascii") as file:
            file.writelines(f"\n{json.dumps(line)}" for line in lines)  # behind what may be half a line
            file.flush()
            os.fsync(file.fileno())
        self.changes |= changes

    def _read(self) -> Iterator[dict[str, Any]]:
        for line in (self.home / LIST).read_text("ascii").splitlines() if (self.home / LIST).is_file() else ():
            with suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict):
                    yield said

    def _inside(self, place: Path) -> Path:
        path = self.folder / place
        if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(self.folder)):
            raise JobError(f"The list of what was changed names {place}, which is elsewhere.", f"Look into {self.home.name}.")
        return path


def exchange(folder: Path, what: str, gone: Sequence[Path], new: Mapping[Path, Path]) -> int:
    """A step in a data set of the app, as ``Step.exchange``; its number. ``what`` says in words what was done."""
    number = time.time_ns()
    Step(folder / FOLDER / str(number), folder, what).exchange(gone, new)
    return number


def undo_steps(folder: Path) -> list[UndoStep]:
    """What can be taken back in a data set of the app, the newest first."""
    homes = sorted(
        (path.parent for path in (folder / FOLDER).glob(f"*/{LIST}") if path.parent.name.isdigit()), key=lambda home: -int(home.name)
    )
    steps = [(int(home.name), Step(home, folder)) for home in homes]
    return [UndoStep(number, step.what, len(step.changes), step.time) for number, step in steps if step.changes]


def undo(folder: Path) -> UndoStep:
    """Takes the newest step in a data set back. JobError if there is none."""
    steps = undo_steps(folder)
    if not steps:
        raise JobError("There is nothing to take back here.", "Only what was changed by the program in this folder can be.")
    home = folder / FOLDER / str(steps[0].number)
    kept = tuple(one for one in Step(home, folder).undo() if isinstance(one, Warned))
    if kept:
        (home / LIST).unlink()
    else:
        discard(home)
        with suppress(OSError):
            (folder / FOLDER).rmdir()
    return UndoStep(steps[0].number, steps[0].what, steps[0].files, steps[0].time, kept)


def step_of(run: Path, folder: Path, what: str, own: bool) -> Step:
    """The step of the run in ``run``, whose changes are in ``folder``: kept in that, where it is an ``own`` data set of the app.

    A run that goes on goes on with its step.
    """
    if found := find_step(run):
        return found
    number = time.time_ns() if own else None
    replace_text(run / POINTER, json.dumps({"folder": str(folder), "number": number}))
    return Step(_home(run, folder, number), folder, what)


def find_step(run: Path) -> Step | None:
    """The step of a run; None where it has none."""
    try:
        said = json.loads((run / POINTER).read_text("utf-8"))
        folder, number = Path(said["folder"]), said["number"]
        return Step(_home(run, folder, None if number is None else int(number)), folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _home(run: Path, folder: Path, number: int | None) -> Path:
    return run / "undo" if number is None else folder / FOLDER / str(number)


def _stamp(path: Path) -> str | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return f"{found.st_size} {found.st_mtime_ns}"


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JobError(f"{name_of(path)} cannot be read: {error.strerror}.", "Allow this user to read it.") from error


def _move(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        replace_file(target, lambda new: shutil.copy2(source, new))
        source.unlink()

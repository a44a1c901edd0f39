"""What the caption files were before a run changed them, kept in the run's folder: to go on after a stop, and to undo it.

Each change is written down before it is made, so that a kill between the two is seen as a change that did not happen.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..data.words import name_of
from ..errors import JobError
from ..events import Warned
from ..runs.atomic import replace_file

FILE = "changes.jsonl"


@dataclass(frozen=True)
class Change:
    """One file: its bytes before, None where there was none, and after."""

    path: Path
    before: bytes | None
    after: bytes


class Journal:
    """The changes of a run, in ``folder``."""

    def __init__(self, folder: Path):
        self._file = folder / FILE
        self.changes: dict[Path, Change] = {change.path: change for change in self._read()}
        """The latest of each file; what a file was before the run stays the same."""

    def write(self, path: Path, text: str) -> None:
        """The text as the file's content, and the change written down."""
        known, now = self.changes.get(path), _content(path)
        change = Change(path, known.before if known else now, text.encode())
        if change.after == now:
            return
        before = None if change.before is None else _text(change.before)
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="ascii") as file:
            file.write(json.dumps({"path": str(path), "before": before, "after": _text(change.after)}) + "\n")
        self.changes[path] = change
        replace_file(path, lambda new: new.write_bytes(change.after))

    def original(self, path: Path) -> bytes | None:
        """What the file was before the run."""
        known = self.changes.get(path)
        return known.before if known else _content(path)

    def undo(self, inside: Path) -> Iterator[Path | Warned]:
        """Gives every file in the folder ``inside`` its old content back; one that was changed since is left alone, and told."""
        for change in self.changes.values():
            now = _content(change.path)
            if now == change.before or not change.path.is_relative_to(inside):
                continue
            if now != change.after:
                yield Warned(message=f"{name_of(change.path)} was changed since, and stays as it is.")
                continue
            if change.before is None:
                change.path.unlink()
            else:
                _put(change.path, change.before)
            yield change.path

    def _read(self) -> Iterator[Change]:
        for line in self._file.read_text("ascii").splitlines() if self._file.is_file() else ():
            try:
                said = json.loads(line)
                before = None if said["before"] is None else _bytes(said["before"])
                yield Change(Path(said["path"]), before, _bytes(said["after"]))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # half a line of a process that was killed: its change did not happen


def _put(path: Path, content: bytes) -> None:
    replace_file(path, lambda new: new.write_bytes(content))


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JobError(f"The caption {name_of(path)} cannot be read: {error.strerror}.", "Allow this user to read it.") from error


def _text(content: bytes) -> str:
    """Bytes as text that JSON holds without a loss; readable where they are UTF-8."""
    return content.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")

"""A finding: one thing that a person should know about a data set, and how it is said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..words import count

Level = Literal["problem", "look", "ok"]
"""``problem``: training would stop there, or leave it out. ``look`` wants a look. ``ok`` is as it should be."""
Kind = Literal[
    "empty", "foreign", "unreadable", "cut", "locked", "large", "ending", "moving", "linked",
    "tiny", "small", "aspect", "duplicate", "near", "blurry", "alpha",
    "caption", "caption_locked", "encoding", "long", "trigger", "repeated", "mask", "control",
]  # fmt: skip
Fix = Literal["convert", "shrink", "take_out", "write_captions", "add_trigger", "to_utf8"]
"""What the program can do about it: see ``fixes``."""
FIXES: dict[str, Fix] = {
    "foreign": "convert", "ending": "convert", "moving": "convert", "large": "shrink",
    "unreadable": "take_out", "cut": "take_out", "tiny": "take_out", "duplicate": "take_out", "near": "take_out", "blurry": "take_out",
    "caption": "write_captions", "trigger": "add_trigger", "encoding": "to_utf8",
}  # fmt: skip
"""Kind of finding → what mends it. Where none stands, only a person can."""
DONE: dict[Fix, str] = {
    "convert": "Converted", "shrink": "Made smaller", "take_out": "Taken out", "write_captions": "Captions written from the file names",
    "add_trigger": "The trigger put first", "to_utf8": "Saved as UTF-8",
}  # fmt: skip
"""What was done by each, in words: so it is called where it can be taken back."""


@dataclass(frozen=True)
class Finding:
    """One thing found."""

    level: Level
    kind: Kind
    message: str
    """A sentence, or two, with the names of some files."""
    files: list[Path] = field(default_factory=list)
    """All files that it is about; none where all is well."""

    @property
    def fix(self) -> Fix | None:
        """Name of what mends it."""
        return FIXES.get(self.kind) if self.level != "ok" and self.files else None


def found(level: Level, kind: Kind, files: Sequence[str | Path], one: str, many: str) -> Iterator[Finding]:
    """``1 picture is …`` or ``3 pictures are …``, if there are any."""
    if files:
        said = count(len(files), f"picture {one}", f"pictures {many}")
        yield Finding(level, kind, f"{said}.", [Path(file) for file in files])


def well(kind: Kind, number: int, one: str, many: str) -> Iterator[Finding]:
    """What is said of all ``number`` pictures, if there are any."""
    if number:
        yield Finding("ok", kind, f"The picture {one}." if number == 1 else f"All {number:,} pictures {many}.")

"""Counts and names of files as people read them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def count(number: int, noun: str, many: str = "") -> str:
    """``1 picture``, ``3 pictures``."""
    return f"{number:,} {noun if number == 1 else many or noun + 's'}"


def name_of(path: Path) -> str:
    """The file and its folder: ``cats/a.png``."""
    return printable(Path(path.parent.name) / path.name)


def printable(path: str | Path) -> str:
    """A path as text for people and logs, which are Unicode; names on a disk need not be."""
    return os.fsencode(path).decode("utf-8", "replace")


def listed(names: Sequence[str], limit: int = 5) -> str:
    """``a, b, c, d, e and 3 more``."""
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return printable(", ".join(names[:limit])) + rest

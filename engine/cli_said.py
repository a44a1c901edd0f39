"""What the modules of the command line share: a job from its file, and tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .jobs import Job


def load(path: Path, name: str | None = None) -> Job:
    """The job of a file; what of it is not taken over is said on the side. ``name`` takes the place of its own."""
    from .events import describe
    from .jobs import load_job_with_notes
    from .settings import resolve

    job, notes = load_job_with_notes(resolve(path), name)
    for note in notes:
        print(describe(note), file=sys.stderr)
    return job


def load_extensions() -> None:
    from . import extensions
    from .events import describe

    for warning in extensions.load_extensions():
        print(describe(warning), file=sys.stderr)


def table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

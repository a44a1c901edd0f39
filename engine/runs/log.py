"""Reads a run's events as they are written: what every tab and the CLI poll."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ..events import Event, Step, parse_event

_TAIL = 256 * 1024


def follow(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """The events after ``offset``, and the offset to ask with next time.

    Half a last line waits for its end. A line that cannot be read, cut by a kill or of a newer program, is left out.
    A file that is shorter than ``offset`` is a new one, and is read from its beginning.
    """
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) < offset:
                offset = 0
            file.seek(offset)
            block = file.read()
    except FileNotFoundError:
        return [], 0
    whole = block[: block.rfind(b"\n") + 1]
    events = []
    for line in whole.split(b"\n"):
        try:
            events.append(parse_event(line))
        except ValidationError:
            continue
    return events, offset + len(whole)


def last_event(path: Path) -> Event | None:
    """The newest event, without reading the whole file."""
    size = path.stat().st_size if path.exists() else 0
    events, _ = follow(path, max(0, size - _TAIL))
    return events[-1] if events else None


def progress(path: Path) -> str:
    """How far a run is: "250 of 2000", or nothing. Read from the end of its log."""
    size = path.stat().st_size if path.exists() else 0
    events, _ = follow(path, max(0, size - _TAIL))
    step = next((event for event in reversed(events) if isinstance(event, Step)), None)
    return f"{step.step} of {step.total}" if step else ""

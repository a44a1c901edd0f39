"""metrics.csv: the figures of a run, a row for each step that is told and each measurement. For spreadsheets and plots.

A run that goes on with a newer program gets the newer columns; rows of an older one keep what they have.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..events import Event, Measured, Performance, Step
from .atomic import replace_text
from .folder import append_line

COLUMNS = ("step", "time", "loss", "lr", "seconds", "memory")
"""Of a step, named as in the event; after them the measurements that a training makes."""
MEASURED = {"validation loss": "validation", "CLIP-I": "clip_i", "CLIP-T": "clip_t", "DINO": "dino"}
"""Name of a measurement → its column."""
SPEED = ("pictures_per_second", "tflops", "share", "reserved")
"""Of a step whose speed was measured, named as in the event."""
PHASES = ("waiting", "forward", "backward", "optimizer", "sampling", "saving", "validating")
"""Seconds of it."""
HEAD = [*COLUMNS, *MEASURED.values(), *SPEED, *PHASES]


def cut_back(path: Path, step: int) -> None:
    """Rows of steps after ``step`` are of what will be done again: they go."""
    rows = [row for row in read_metrics(path) if int(row["step"]) <= step]
    replace_text(path, "".join(map(_line, [dict(zip(HEAD, HEAD, strict=True)), *rows])))


def kept(path: Path, events: Iterable[Event], step: int) -> Iterator[Event]:
    """The events, each written down before it is passed on; they are those after ``step``."""
    cut_back(path, step)
    for event in events:
        if row := _row(event):
            append_line(path, _line(row).encode())
        yield event


def read_metrics(path: Path) -> list[dict[str, str]]:
    """The rows, in their order. What a kill cut off is left out; no file is no rows."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    known = (row for row in csv.DictReader(io.StringIO(whole)) if {"step"} <= row.keys() <= set(HEAD) and None not in row.values())
    return [{column: row.get(column, "") for column in HEAD} for row in known if row["step"].isdecimal()]


def _row(event: Event) -> dict[str, object] | None:
    match event:
        case Step():
            return {column: getattr(event, column) for column in COLUMNS}
        case Measured() if event.name in MEASURED:
            return {"step": event.step, "time": event.time, MEASURED[event.name]: event.value}
        case Performance():
            own = {column: getattr(event, column) for column in ("step", "time", "seconds", "memory", *SPEED)}
            return own | {name: event.phases.get(name) for name in PHASES}
    return None


def _line(row: dict[str, object] | dict[str, str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(["" if row.get(column) is None else row[column] for column in HEAD])
    return buffer.getvalue()

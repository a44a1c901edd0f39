"""Runs a job of a tool in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.control import Control
from engine.events import Captioned, Event, Failed, Finished, Warned, dump_event, parse_event
from engine.execute import execute
from engine.jobs import load_job
from engine.runs.folder import RunFolder


def run(root: Path, watch: Callable[[Event, Control], None] | None = None, **job: Any) -> list[Event]:
    """The events of a job; the run is in ``root/<name>``."""
    loaded = load_job({"name": "run", **job})
    folder, control, events = RunFolder.create(root, loaded, exist_ok=True), Control(), []
    for event in execute(loaded, folder, control):
        assert parse_event(dump_event(event)) == event
        folder.append(event)
        events.append(event)
        if watch:
            watch(event, control)
    return events


def done(events: list[Event]) -> list[Event]:
    """The events of a job that ended as it should."""
    assert isinstance(events[-1], Finished), events[-1]
    return events


def failure(events: list[Event]) -> str:
    assert isinstance(events[-1], Failed) and not events[-1].detail, events[-1]
    return f"{events[-1].message} {events[-1].hint}"


def captions(events: list[Event]) -> dict[str, str]:
    return {event.path: event.text for event in events if isinstance(event, Captioned)}


def warnings(events: list[Event]) -> str:
    return " ".join(event.message for event in events if isinstance(event, Warned))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file in the folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stop_at(count: int) -> Callable[[Event, Control], None]:
    """Asks to stop after so many events of progress."""
    left = [count]

    def watch(event: Event, control: Control) -> None:
        left[0] -= event.kind == "progress"
        control.stop = control.stop or left[0] <= 0

    return watch

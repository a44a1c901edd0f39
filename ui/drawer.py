"""The runs as the drawer and the header show them: in words, with a picture and what can be done."""

from __future__ import annotations

import time
from pathlib import Path

from engine.queue import RunRecord

from .studio import Studio
from .watch import History

SHOWN = 60
STATES = {
    "queued": "waiting in line",
    "completed": "ready",
    "stopped": "stopped",
    "failed": "ended with an error",
    "interrupted": "interrupted",
}
Row = tuple[str, str, str, Path | None, list[tuple[str, str]]]
"""(name, state in words, live or '', picture, [(words of a button, act)])"""


def rows(studio: Studio) -> list[Row]:
    """The newest runs first."""
    return [_row(studio, record) for record in studio.trainings()[:SHOWN]]


def pill(studio: Studio) -> tuple[str, str]:
    """What the header says of the run that is at work, and its state; no words where there is none."""
    record = studio.active()
    if record is None:
        return "", "idle"
    if record.status == "queued":
        return f"{record.name} · waiting", "queued"
    with studio.history(record) as history:
        return f"{record.name} · {_rests(history) or _share(record, history)}", "running"


def _row(studio: Studio, record: RunRecord) -> Row:
    with studio.history(record) as history:
        step, share, doing = (
            history.step,
            _share(record, history),
            _rests(history) or ("developing" if record.kind == "train" else "at work"),
        )
    ways = [("Open", "open")]
    if record.status in {"stopped", "interrupted", "failed"}:
        ways.append(("Continue", "continue"))
    if record.status == "queued":
        ways.append(("Leave the line", "leave"))
    elif record.status != "running":
        ways.append(("Take off the list", "remove"))
    if record.status == "running":
        return record.name, f"{doing} · {share}", "live", studio.face(record), ways
    at = f" at step {step:,}" if step and record.status in {"stopped", "interrupted"} else ""
    state = "done" if record.status == "completed" and record.kind != "train" else STATES.get(record.status, record.status)
    return record.name, f"{state}{at} · {day(record.added, time.time())}", "", studio.face(record), ways


def _rests(history: History) -> str:
    """Why nothing is done for now, in words; none where something is."""
    return "waits for you" if history.asked else "paused" if history.paused else ""


def _share(record: RunRecord, history: History) -> str:
    if record.kind != "train" and history.progress and history.progress.total:  # it has no steps
        return f"{100 * history.progress.done // history.progress.total} %"
    return f"{100 * history.step // history.total} %" if history.total else "getting ready"


def day(moment: float, now: float) -> str:
    """The day as one would say it."""
    then, today = time.localtime(moment), time.localtime(now)
    if then[:3] == today[:3]:
        return f"today, {then.tm_hour}:{then.tm_min:02d}"
    return time.strftime("%A", then) if 0 <= now - moment < 6 * 24 * 3600 else time.strftime("%d %B %Y", then).lstrip("0")

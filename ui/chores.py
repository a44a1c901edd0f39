"""Runs that prepare data, as the run's page shows them: how far they are, and the captions that have come. No Gradio."""

from __future__ import annotations

from engine.data.words import count, printable
from engine.errors import JobError
from engine.events import Failed
from engine.jobs import Job
from engine.jobs.tools.captions import CaptionJob
from engine.jobs.tools.edits import EditCaptionsJob

from .headline import Headline, question
from .library import Library
from .pieces import Wording
from .watch import History

NEWEST = 30
"""Captions that are shown."""


def is_preview(job: Job) -> bool:
    """Whether the run writes nothing, and can be followed by one that does."""
    return isinstance(job, CaptionJob) and job.preview > 0


def headline(history: History, job: Job, status: str, ahead: str = "") -> Headline:
    """What the card says of a run that is no training."""
    done, total = _done(history)
    share = 1.0 if status == "completed" else done / total if total else 0.0
    return Headline(status, share, _left(history, status, done, total), _health(history, job, status, ahead), _facts(history, job))


def _done(history: History) -> tuple[int, int]:
    """Of what the run is at, such as pictures, and of how many; else of the steps of an autoencoder."""
    if history.progress:
        return history.progress.done, history.progress.total or 0
    return history.step, history.total


def captions(library: Library, job: Job, history: History) -> list[Wording]:
    """The newest captions that have come, the last one first."""
    if not isinstance(job, CaptionJob | EditCaptionsJob):
        return []
    found = []
    name = library.name_of(job.path)
    for event in list(history.captioned.values())[: -NEWEST - 1 : -1]:
        face = None
        if name:
            try:
                face = library.thumbnail(library.picture(f"{name}/{event.path}"))
            except (JobError, OSError):
                face = None  # it was taken out since
        found.append(Wording(printable(event.path), face, event.before, event.text))
    return found


def _left(history: History, status: str, done: int, total: int) -> str:
    match status:
        case "queued":
            return "waiting in line"
        case "running" if history.asked:
            return "waiting for your answer"
        case "running":
            return f"{history.phase} · {done:,} of {total:,}" if total else f"{history.phase or 'Getting ready'} …"
        case "completed":
            return "finished"
        case _:
            return f"ended at {done:,} of {total:,}" if total else "ended"


def _health(history: History, job: Job, status: str, ahead: str) -> tuple[str, str]:
    if status == "queued":
        return "ok", f"It starts when {ahead} is done." if ahead else "It starts in a moment."
    if status == "running" and history.asked:
        return "look", f"{question(history.asked)} Go on with it?"
    if isinstance(history.end, Failed):
        return "look", f"{history.end.message} {history.end.hint}".strip()
    if history.warnings:
        last = history.warnings[-1]
        return "look", f"{last.message} {last.hint}".strip()
    if status == "running":
        return "ok", "At work. The captions appear below." if isinstance(job, CaptionJob | EditCaptionsJob) else "At work."
    if status == "interrupted":
        return "look", "It was cut off. Continue goes on with what is left."
    if status == "stopped":
        return "ok", "What is done stays. Continue goes on with what is left."
    if is_preview(job):
        return "ok", "Nothing is written yet. Look at them first."
    number = count(len(history.captioned), "caption")
    match job:
        case CaptionJob():
            return "ok", f"{number} written."
        case EditCaptionsJob():
            return "ok", f"{number} would change. Nothing is written." if job.dry_run else f"{number} changed."
    return "ok", "Done."


def _facts(history: History, job: Job) -> list[tuple[str, str]]:
    facts = [("captions", f"{len(history.captioned):,}")] if isinstance(job, CaptionJob | EditCaptionsJob) else []
    facts += [(name, f"{curve[max(curve)]:.4g}") for name, curve in history.measured.items()]
    return [*facts, ("remarks", f"{len(history.warnings):,}")] if history.warnings else facts

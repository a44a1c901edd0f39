"""What the disk says about runs: the list in the database follows it, so that a run can be moved here, or away."""

from __future__ import annotations

from pathlib import Path

from ..errors import JobError
from ..events import Event, Failed, Finished
from ..jobs import Job
from ..runs.folder import RunFolder
from ..runs.log import last_event
from .store import RunQueue, RunRecord, Status

DRAWINGS = ".drawings"
"""Folder inside the output folder that holds what generate jobs make."""


def list_found(queue: RunQueue, root: Path) -> None:
    """Lists every run whose folder is inside ``root``, and forgets those whose folders are gone."""
    for record in queue.runs():
        if not record.folder.is_dir():
            queue.forget(record.name)
    known = queue.names()
    for config in [*root.glob("*/config.yaml"), *(root / DRAWINGS).glob("*/config.yaml")]:
        folder = RunFolder(config.parent)
        if folder.name in known:
            continue
        try:
            kind = folder.job().kind
        except JobError:
            continue  # not a run of ours, or of an extension that is not here
        queue.adopt(RunRecord(folder.name, kind, status_of(folder), folder.path, config.stat().st_mtime))


def status_of(folder: RunFolder) -> Status:
    """How a run that nobody drives ended, by its log."""
    return ending(last_event(folder.events))


def ending(event: Event | None) -> Status:
    """How a run ended whose last event this is."""
    match event:
        case Finished():
            return event.reason
        case Failed():
            return "failed"
    return "interrupted"


def is_job(folder: RunFolder, job: Job) -> bool:
    """Whether the folder is of exactly this job."""
    try:
        return folder.job() == job
    except JobError:
        return False  # of a newer program, or changed by hand

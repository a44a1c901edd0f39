"""The one door: a job goes in, events come out. Finds the function of the job's kind, and turns errors into ``Failed``.

torch and diffusers are loaded when a job runs, not when this is imported.
"""

from __future__ import annotations

import errno
import importlib
import traceback
from collections.abc import Callable, Iterator

from .control import Control
from .errors import JobError
from .events import Event, Failed
from .jobs import Job
from .runs.folder import RunFolder

KINDS: dict[str, str] = {
    "train": "engine.training.trainer:train",
    "generate": "engine.sampling.generate:generate",
    "vae": "engine.training.vae:train_vae",
    "caption": "engine.tools.caption:caption",
    "edit_captions": "engine.tools.edit_captions:edit_captions",
    "resize": "engine.tools.resize:resize",
    "frames": "engine.tools.frames:frames",
    "split": "engine.tools.split:split",
    "mask": "engine.tools.masks:mask",
    "controls": "engine.tools.controls:controls",
    "ema": "engine.tools.average:average",
    "extract": "engine.tools.extract:extract",
}
"""Kind of job → module:function(job, folder, control) -> Iterator[Event]. Extensions add theirs."""


def execute(job: Job, folder: RunFolder, control: Control) -> Iterator[Event]:
    """All that happens while the job is done. Never raises: what goes wrong is the last event."""
    try:
        yield from _function(job.kind)(job, folder, control)
    except GeneratorExit:
        raise
    except Exception as error:  # the text is kept and not the error, which would hold the model through its frames
        failed = explain(error)
    else:
        return
    yield failed


def explain(error: Exception) -> Failed:
    """The error for the person reading it: what is wrong and what to do; a bug comes with its traceback."""
    if isinstance(error, JobError):
        return Failed(message=error.message, hint=error.hint)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Failed(
            message="The disk is full.",
            hint="Free some space and continue the run; the last checkpoint is whole.",
        )
    if isinstance(error, PermissionError):
        return Failed(
            message=f"{error.filename} may not be read or written.",
            hint="Change its permissions, or choose another folder.",
        )
    if type(error).__name__ == "OutOfMemoryError":
        return Failed(
            message="The graphics card ran out of memory.",
            hint="Lower the resolution, the batch size or the rank.",
        )
    if type(error).__name__ == "AcceleratorError" or (isinstance(error, RuntimeError) and "CUDA error" in str(error)):
        return Failed(
            message=f"The graphics card stopped working: {str(error).strip().splitlines()[0]}.",
            hint="Start the program again, or the computer if that does not help, and continue the run: the last checkpoint is whole.",
        )
    return Failed(
        message=f"Something went wrong inside Darkroom: {type(error).__name__}: {error}",
        hint="This is a bug. The log of the run has the details.",
        detail="".join(traceback.format_exception(error)),
    )


def _function(kind: str) -> Callable[[Job, RunFolder, Control], Iterator[Event]]:
    module, _, name = KINDS[kind].partition(":")
    return getattr(importlib.import_module(module), name)

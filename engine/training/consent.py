"""A run that is to go on with other settings or other data than it was saved with: it says so, and a person decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..control import Control
from ..errors import JobError
from ..events import Agreed, Asked, Event, Saved, WentBack, what_changed
from ..jobs import TrainJob, VaeJob
from ..runs.checkpoints import State
from .sameness import difference, summary


def consent(job: TrainJob | VaeJob, data: list[list[Any]], state: State | None, log: Sequence[Event], control: Control) -> Iterator[Event]:
    """Ends where the run may go on after ``state``. Raises Stopped where it is not to, and JobError where nobody is there to decide.

    ``data`` is the summary of what is trained on now, ``log`` is all that the run has told: nobody is asked the same twice. Until the end
    nothing is written but what is yielded, and nothing large is loaded.
    """
    then = state.values.get("told") if state else None
    asked = difference(state.step, then, summary(job, data), job) if state and then else None
    if asked is None or any(isinstance(event, Agreed) and event.about == asked.about for event in log) or _is_meant(asked, log):
        return
    control.check()
    if control.if_changed == "refuse":
        raise JobError(
            what_changed(asked),
            "What is saved is as it was. Set it back; or go on with it: --go-on on the command line, or Continue in the app, which asks.",
        )
    control.asked = control.paused = control.if_changed == "ask"
    yield asked
    if control.asked:
        control.wait()
        control.asked = False
        control.check()
    yield Agreed(step=asked.step, about=asked.about)


def _is_meant(asked: Asked, log: Sequence[Event]) -> bool:
    """The person went back to a step with the settings of a job: then they are meant, and so is what they make of the data."""
    anew = False
    for event in log:
        if isinstance(event, WentBack | Saved):
            anew = isinstance(event, WentBack) and event.anew
    return anew and not (asked.data and all(key.startswith("train.") for key in asked.settings))

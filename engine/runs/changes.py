"""Settings that are changed while a run is on: which ones, and how a run that was cut off comes by them again. No torch here.

A change is an event with its step. What is done with it follows from that alone: a run that goes on from an earlier step
makes the changes again, each after its step.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import JobError
from ..events import Changed, Event, Warned, WentBack
from ..jobs import Job
from ..jobs.changing import value_of, with_values
from .checkpoints import VALUES
from .folder import RunFolder
from .log import follow

AFTER_ALL = 1 << 62
"""A step after every other."""


class Changes:
    """The changes of a run: those made so far, and those to come that were made before it was cut off."""

    def __init__(self, job: Job, made: Iterable[Mapping[str, Any]], log: Iterable[Event], step: int):
        """``made`` are those that the state holds, of the steps before ``step``; ``log`` is all that the run has told."""
        self.job: Any = job
        self.made: list[dict[str, Any]] = []
        for change in made:
            self._make(**change)
        self._coming = [event for event in counted(log) if event.step >= step and _as_made(event) not in self.made]

    def take(self, step: int, asked: list[dict[str, Any]]) -> Iterator[Event]:
        """Makes what is to be made after ``step``: what was made there before, then what is asked for now, which is taken from the list."""
        while self._coming and self._coming[0].step <= step:
            event = self._coming.pop(0)
            self._make(**_as_made(event))
        while asked:
            for key, value in asked.pop(0).items():
                before = value_of(self.job, key)
                try:
                    after = value_of(with_values(self.job, {key: value}, step), key)
                except JobError as error:
                    yield Warned(message=f"Not changed: {error.message}", hint=error.hint)
                    continue
                if before != after:
                    self._make(step, key, before, after)
                    yield Changed(step=step, key=key, before=before, value=after)

    def _make(self, step: int, key: str, before: Any, value: Any) -> None:
        """A job that has another value by now was changed by hand since: it stays so."""
        self.made.append({"step": step, "key": key, "before": before, "value": value})
        if value_of(self.job, key) == before:
            self.job = with_values(self.job, {key: value}, step)


def counted(log: Iterable[Event]) -> list[Changed]:
    """The changes that the run did not go back from."""
    found: list[Changed] = []
    for event in log:
        if isinstance(event, WentBack):
            found = [one for one in found if one.step < event.step]
        if isinstance(event, Changed):
            found.append(event)
    return found


def made_before(folder: RunFolder, step: int) -> list[dict[str, Any]]:
    """The changes of a run up to a step, as a state holds them."""
    return [_as_made(event) for event in counted(follow(folder.events)[0]) if event.step <= step]


def current_job(folder: RunFolder) -> Job:
    """The job of a run as it is by now, with all that was changed on the way. Raises JobError as ``folder.job`` does."""
    states = sorted(path for path in folder.state.glob("[0-9]*") if (path / VALUES).is_file())
    values = json.loads((states[-1] / VALUES).read_text(encoding="utf-8")) if states else {}
    step = int(states[-1].name) if states else 0
    changes = Changes(folder.job(), values.get("changed", ()), follow(folder.events)[0], step)
    list(changes.take(AFTER_ALL, []))
    return changes.job


def _as_made(event: Changed) -> dict[str, Any]:
    return {"step": event.step, "key": event.key, "before": event.before, "value": event.value}

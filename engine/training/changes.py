"""Settings that are changed while a run is on: which ones, and how a run that was cut off comes by them again.

A change is an event with its step. What is done with it follows from that alone: a run that goes on from an earlier step
makes the changes again, each after its step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from ..errors import JobError
from ..events import Changed, Event, Warned, WentBack
from ..jobs import TrainJob
from ..jobs.changing import value_of, with_values
from .learner import Learner


class Changes:
    """The changes of a run: those made so far, and those to come that were made before it was cut off."""

    def __init__(self, job: TrainJob, made: Iterable[Mapping[str, Any]], log: Iterable[Event], step: int):
        """``made`` are those that the state holds, of the steps before ``step``; ``log`` is all that the run has told."""
        self.job = job
        self.made: list[dict[str, Any]] = []
        for change in made:
            self._make(**change)
        self._coming: list[Changed] = []
        for event in log:
            if isinstance(event, WentBack):
                self._coming = [one for one in self._coming if one.step < event.step]
            if isinstance(event, Changed) and event.step >= step and _as_made(event) not in self.made:
                self._coming.append(event)

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

    def adopt(self, learner: Learner, asked: list[dict[str, Any]]) -> Iterator[Event]:
        """The same, for the learner at its step."""
        yield from self.take(learner.step, asked)
        if self.job is not learner.job:
            learner.change(self.job)

    def _make(self, step: int, key: str, before: Any, value: Any) -> None:
        """A job that has another value by now was changed by hand since: it stays so."""
        self.made.append({"step": step, "key": key, "before": before, "value": value})
        if value_of(self.job, key) == before:
            self.job = cast(TrainJob, with_values(self.job, {key: value}, step))


def _as_made(event: Changed) -> dict[str, Any]:
    return {"step": event.step, "key": event.key, "before": event.before, "value": event.value}

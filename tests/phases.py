"""Generators that yield events and return a result, run to their end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from engine.control import Control
from engine.events import Event
from engine.jobs import TrainJob

Result = TypeVar("Result")


def ended(steps: Generator[Event, None, Result]) -> tuple[list[Event], Result]:
    """All that is told, and what is returned."""
    events: list[Event] = []
    while True:
        try:
            events.append(next(steps))
        except StopIteration as end:
            return events, end.value


def bench_of(job: TrainJob):
    """The bench that the trainer would work with."""
    from engine.training.prepare import prepare  # imports torch

    return ended(prepare(job, Control()))[1]

"""What a step's time goes into, measured every so many steps. Nothing waits for the device: its clock is read when it has come that far.

A step of a shape that was not seen before is not timed but counted, because counting operations takes time itself; the next one of
known shapes is timed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch.utils.flop_counter import FlopCounterMode

from ..events import Event, Performance
from ..runtime.device import Peak
from ..runtime.speed import peak_speed
from ..settings import load_settings
from .bench import Bench

Shape = tuple[object, ...]
"""What the number of operations of a micro-batch depends on."""


class Idle:
    """Measures nothing, and costs nothing."""

    def step(self, step: int, micros: Sequence[int]) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def micro(self, micro: int) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def during(self, name: str, events: Iterator[Event]) -> Iterator[Event]:
        return events

    def take(self) -> Iterator[Event]:
        return iter(())


@dataclass
class _Timed:
    """A step whose times are on their way from the device."""

    step: int
    pictures: int
    flops: int | None
    marks: list[tuple[str, torch.Event | float]] = field(default_factory=list)
    """Names of phases, and when each began or, without a name, ended."""


class Clock(Idle):
    """Measures every ``every`` steps."""

    def __init__(self, bench: Bench, every: int):
        self._bench, self._every = bench, every
        self._peak = Peak(bench.device)
        self._most = peak_speed(bench.device, bench.dtype, load_settings().folder("cache"))
        self._counted: dict[Shape, int] = {}
        self._apart: dict[str, float] = {}
        """Seconds of what is no part of a step."""
        self._due, self._now = False, _Timed(0, 0, None)
        self._timing = False
        self._done: list[_Timed] = []

    @contextlib.contextmanager
    def step(self, step: int, micros: Sequence[int]) -> Iterator[None]:
        """Around a step of these micro-batches."""
        self._due = self._due or step % self._every == 0
        self._timing = self._due and all(self._shape(micro) in self._counted for micro in micros)
        if self._timing:
            flops = sum(self._counted[self._shape(micro)] for micro in micros)
            pictures = sum(len(self._bench.loader.batches.at(micro)) for micro in micros)
            self._now, self._due = _Timed(step, pictures, flops or None), False
            self._mark("")
        try:
            yield
            if self._timing:
                self._mark("")
                self._done.append(self._now)
        finally:
            self._timing = False

    @contextlib.contextmanager
    def micro(self, micro: int) -> Iterator[None]:
        """Around a micro-batch: its operations are counted, if that is still to be done."""
        if not self._due or self._shape(micro) in self._counted:
            yield
            return
        with FlopCounterMode(display=False) as counter:
            yield
        self._counted[self._shape(micro)] = counter.get_total_flops()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Around a part of a step."""
        if self._timing:
            self._mark(name)
        yield
        if self._timing:
            self._mark("")

    def during(self, name: str, events: Iterator[Event]) -> Iterator[Event]:
        """The events of something between two steps."""
        since = time.perf_counter()
        yield from events
        self._apart[name] = self._apart.get(name, 0.0) + time.perf_counter() - since

    def take(self) -> Iterator[Event]:
        """What is known by now."""
        while self._done and self._arrived(self._done[0].marks[-1][1]):
            timed = self._done.pop(0)
            seconds, phases = _between(timed.marks)
            speed = timed.flops / seconds if timed.flops else None
            yield Performance(
                step=timed.step, seconds=seconds, phases={**phases, **self._apart}, pictures_per_second=timed.pictures / seconds,
                tflops=None if speed is None else speed / 1e12, share=None if speed is None else speed / self._most,
                memory=self._peak.take(), reserved=self._peak.reserved(),
            )  # fmt: skip
            self._apart = {}

    def _shape(self, micro: int) -> Shape:
        loader, stages = self._bench.loader, len(self._bench.family.stages)
        placed = [loader.placed[index] for index in loader.batches.at(micro)]
        data = loader.data_set(micro)
        asked = data.is_reg, data.prior_reg  # regularisation is asked less, or more
        return len(placed), placed[0].bucket, placed[0].alike, asked, micro // self._bench.job.train.switch_boundary_every % stages

    def _mark(self, name: str) -> None:
        if self._bench.device.type == "cpu":
            self._now.marks.append((name, time.perf_counter()))
        else:
            event = torch.Event(self._bench.device, enable_timing=True)
            event.record()
            self._now.marks.append((name, event))

    @staticmethod
    def _arrived(mark: torch.Event | float) -> bool:
        return isinstance(mark, float) or mark.query()


def _between(marks: Sequence[tuple[str, torch.Event | float]]) -> tuple[float, dict[str, float]]:
    """Seconds from the first mark to the last, and of each phase."""
    phases: dict[str, float] = {}
    for (name, begun), (_, ended) in pairwise(marks):
        if name:
            phases[name] = phases.get(name, 0.0) + _seconds(begun, ended)
    return _seconds(marks[0][1], marks[-1][1]), phases


def _seconds(begun: torch.Event | float, ended: torch.Event | float) -> float:
    if isinstance(begun, float) or isinstance(ended, float):
        return float(ended) - float(begun)
    return begun.elapsed_time(ended) / 1000

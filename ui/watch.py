"""Events of a run → what the widgets show. Pure functions: no files, no clock, no Gradio.

A run that was killed and resumed repeats steps; of what comes twice, the later one counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from engine.events import (
    Captioned,
    Event,
    Failed,
    Finished,
    Phase,
    Progress,
    Sampled,
    Saved,
    Step,
    Warned,
    describe,
)
from engine.jobs import Job, TrainJob

ENOUGH = 5
"""Steps after which a speed is told: the first ones are slower."""
LINES = 400
"""Of the log, the newest lines are shown; log.txt has all."""


@dataclass
class History:
    """What a run has told so far, folded so that new events are cheap to add."""

    losses: dict[int, float] = field(default_factory=dict)
    times: list[tuple[int, float]] = field(default_factory=list)
    """(step, time) of this session: since the run was last started."""
    step: int = 0
    total: int = 0
    seconds: float | None = None
    memory: int | None = None
    phase: str = ""
    progress: Progress | None = None
    frames: dict[tuple[str, int, int], Sampled] = field(default_factory=dict)
    """(column, step, index) → the picture."""
    drawn: int = 0
    """Pictures that have come, those that came twice too."""
    saved: dict[int, Path] = field(default_factory=dict)
    captioned: dict[str, Captioned] = field(default_factory=dict)
    """Picture → its caption, in the order in which they came."""
    warnings: list[Warned] = field(default_factory=list)
    end: Finished | Failed | None = None
    lines: list[str] = field(default_factory=list)

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            self._add(event)

    def _add(self, event: Event) -> None:
        if not isinstance(event, Step | Progress):
            self.lines = [*self.lines, describe(event)][-LINES:]
        if self.end and not isinstance(event, Finished | Failed):  # it was continued: a new session
            self.end, self.times, self.warnings, self.progress = None, [], [], None
        match event:
            case Phase():
                self.phase, self.progress = event.name, None
                self.times = []  # none comes between steps: a session begins, after a kill too
            case Progress():
                self.progress = event
            case Step():
                self._step(event)
            case Sampled():
                self.frames[event.column, event.step, event.index] = event
                self.drawn += 1
            case Captioned():
                self.captioned[event.path] = event
            case Saved():
                self.saved[event.step] = event.path
            case Warned():
                self.warnings.append(event)
            case Finished() | Failed():
                self.end = event

    def _step(self, event: Step) -> None:
        if event.step <= self.step:  # resumed from an earlier step: what came after it did not happen
            self.losses = {step: loss for step, loss in self.losses.items() if step < event.step}
            self.times = []
        self.losses[event.step] = event.loss
        self.times.append((event.step, event.time))
        self.step, self.total, self.seconds, self.memory = (
            event.step,
            event.total,
            event.seconds,
            event.memory,
        )
        self.progress = None
        if event.step == 1 or event.step % 10 == 0:
            self.lines = [*self.lines, describe(event)][-LINES:]


def pace(history: History) -> float | None:
    """Seconds a step by the clock, with samples and saves in it; None until it is known."""
    if len(history.times) < ENOUGH:
        return None
    (first, begun), (last, now) = history.times[0], history.times[-1]
    return (now - begun) / (last - first) if last > first and now > begun else None


def seconds_left(history: History) -> float | None:
    each = pace(history)
    return None if each is None else each * max(0, history.total - history.step)


def duration(seconds: float) -> str:
    """The time in the words that a person would use."""
    if seconds < 50:
        return "less than a minute"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(round(minutes / 5) * 5, 60)
    return f"{hours} h {minutes} min" if hours < 10 and minutes else f"{hours} h"


def speed(seconds: float) -> str:
    return f"{seconds:.2f} s a step" if seconds >= 0.5 else f"{1 / max(seconds, 1e-6):.1f} steps a second"


def smoothed(losses: dict[int, float], points: int = 300) -> list[tuple[int, float, str]]:
    """Rows (step, loss, line) of the chart: each step's loss, and its trend, thinned to at most ``points`` steps."""
    steps = sorted(losses)
    every = max(1, -(-len(steps) // points))
    rows: list[tuple[int, float, str]] = []
    trend, weight = 0.0, 0.0
    keep = min(0.98, 1 - 1 / (1 + len(steps) / 20))  # a window of a twentieth of the run
    for position, step in enumerate(steps):
        trend, weight = keep * trend + (1 - keep) * losses[step], keep * weight + (1 - keep)
        if position % every == 0 or position == len(steps) - 1:
            rows += [(step, losses[step], "each step"), (step, trend / weight, "trend")]
    return rows


@dataclass(frozen=True)
class Strip:
    """Rows and columns of the film strip and the contact sheet; a missing picture is None."""

    columns: list[int]
    prompts: list[str]
    pictures: list[list[Path | None]]
    ready: int
    """Columns from the left that have come."""


def planned(job: Job, history: History) -> list[int]:
    """Steps at which this run makes, or has made, samples: all columns of the strip from the start."""
    steps = {step for column, step, _ in history.frames if not column}
    if isinstance(job, TrainJob) and (prompts(job) or steps):
        total, every = job.train.steps, job.sample.sample_every
        if every:
            steps |= set(range(every, total + 1, every)) | {total}
            if not job.sample.skip_first_sample:
                steps.add(0)
    return sorted(steps)


def prompts(job: TrainJob) -> list[str]:
    """Sample prompts in their order, with the trigger words in them."""
    texts = [*job.sample.prompts, *(item.prompt for item in job.sample.samples)]
    return [text.replace("[trigger]", job.trigger_word or "") for text in texts]


def strip(job: Job, history: History, folder: Path, limit: int = 40) -> Strip:
    """The run's own samples. Very long runs show the first, then the newest columns."""
    columns = planned(job, history)
    come = {step for column, step, _ in history.frames if not column}
    if len(columns) > limit:
        newest = max((columns.index(step) for step in come), default=0)
        begin = max(1, min(newest + 2, len(columns)) - limit + 1)
        columns = [columns[0], *columns[begin : begin + limit - 1]]
    texts = prompts(job) if isinstance(job, TrainJob) else []
    count = max([len(texts), *(index + 1 for column, _, index in history.frames if not column)])
    told = {index: event.prompt for (column, _, index), event in history.frames.items() if not column}
    texts = [told.get(index) or (texts[index] if index < len(texts) else "") for index in range(count)]
    pictures = [
        [
            folder / event.path if (event := history.frames.get(("", step, index))) else None
            for step in columns
        ]
        for index in range(count)
    ]
    ready = 1 + max((position for position, step in enumerate(columns) if step in come), default=-1)
    return Strip(columns, texts, pictures, ready)


def next_sample(job: Job, history: History) -> int | None:
    return next((step for step in planned(job, history) if step > history.step), None)


@dataclass(frozen=True)
class Headline:
    """The progress card: one number, what is left, a sentence, facts."""

    state: str
    share: float
    left: str
    health: tuple[str, str]
    facts: list[tuple[str, str]]


def headline(history: History, job: Job, status: str, ahead: str = "") -> Headline:
    """What the card says of a run with this status; ``ahead`` is the run it waits for."""
    step = history.step
    total = history.total or (job.train.steps if isinstance(job, TrainJob) else 1)
    share = 1.0 if status == "completed" else min(1.0, step / max(1, total))
    facts = _facts(history, job, status)
    place = f"step {step:,} of {total:,}"
    match status:
        case "queued":
            words = f"It starts when {ahead} is done." if ahead else "It starts in a moment."
            return Headline(status, share, "waiting in line", ("ok", words), facts)
        case "running":
            return Headline(status, share, _left(history, place), _health(history, total), facts)
        case "completed":
            return Headline(
                status,
                share,
                f"finished at step {step:,}",
                ("ok", "Ready. Pick the best on the contact sheet."),
                facts,
            )
        case "stopped":
            words = "Nothing is lost. Continue whenever you like."
            return Headline(status, share, f"stopped at {place} · everything is saved", ("ok", words), facts)
        case "interrupted":
            kept = max(history.saved, default=0)
            words = f"It was cut off. Continue goes on from {f'step {kept:,}' if kept else 'the beginning'}."
            return Headline(status, share, f"interrupted at {place}", ("look", words), facts)
        case _:
            return Headline(status, share, f"ended at {place}", ("look", _failure(history)), facts)


def _left(history: History, place: str) -> str:
    if history.progress and history.progress.total:
        done = history.progress
        return f"{history.phase or done.what} · {done.done:,} of {done.total:,}"
    if not history.times:
        return f"{history.phase or 'Getting ready'} …"
    left = seconds_left(history)
    return place if left is None else f"{place} · {duration(left)} left"


def _health(history: History, total: int) -> tuple[str, str]:
    if history.warnings:
        last = history.warnings[-1]
        return "look", f"{last.message} {last.hint}".strip()
    if not history.times:
        return "ok", "Getting ready. The first time takes longest; nothing is stuck."
    if len(history.times) < ENOUGH:
        return "ok", "Warming up. The first steps are slower."
    if history.step >= total:
        return "ok", "Saving the last checkpoint."
    return "ok", "Learning. Watch the samples: they say more than any number."


def _failure(history: History) -> str:
    return (
        f"{history.end.message} {history.end.hint}".strip()
        if isinstance(history.end, Failed)
        else "It ended with an error; the log says more."
    )


def _facts(history: History, job: Job, status: str) -> list[tuple[str, str]]:
    following = next_sample(job, history) if status == "running" else None
    return [
        ("speed", speed(history.seconds) if history.seconds and history.step >= ENOUGH else "–"),
        ("memory", f"{history.memory / 2**30:.1f} GB" if history.memory else "–"),
        ("saved", f"step {max(history.saved):,}" if history.saved else "–"),
        ("next sample", f"step {following:,}" if following is not None else "–"),
    ]

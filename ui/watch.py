"""Events of a run → what the widgets show. Pure functions: no files, no clock, no Gradio.

A run that was killed and resumed repeats steps; of what comes twice, the later one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import JobError
from engine.events import (
    Agreed,
    Asked,
    Captioned,
    Changed,
    Event,
    Failed,
    Finished,
    Measured,
    Phase,
    Progress,
    Sampled,
    Saved,
    Step,
    Verdict,
    Warned,
    WentBack,
    describe,
)
from engine.jobs import Job, TrainJob
from engine.jobs.changing import value_of, with_values

ENOUGH = 5
"""Steps after which a speed is told: the first ones are slower."""
LINES = 400
"""Of the log, the newest lines are shown; log.txt has all."""
VALIDATION = "validation loss"
"""Name of the measurement on pictures that are held back."""
PAUSED = "Paused"
"""How the name of a phase begins in which a run rests."""


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
    measured: dict[str, dict[int, float]] = field(default_factory=dict)
    """Name of a measurement → step → value."""
    verdict: Verdict | None = None
    changed: list[Changed] = field(default_factory=list)
    """Settings that were changed while it ran, in their order."""
    phase: str = ""
    paused: bool = False
    asked: Asked | None = None
    """The question that a person has not answered, or has answered with stop."""
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

    @property
    def validation(self) -> dict[int, float]:
        """Step → loss on pictures that are held back."""
        return self.measured.get(VALIDATION, {})

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
                self.paused, self.asked = event.name.startswith(PAUSED), None
                self.times = []  # none comes between steps: a session begins, after a kill too
            case Asked():
                self.paused, self.asked, self.progress = True, event, None
            case Agreed():
                self.paused, self.asked = False, None
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
            case Measured():
                self.measured.setdefault(event.name, {})[event.step] = event.value
            case Verdict():
                self.verdict = event
            case Changed():
                self.changed.append(event)
                if event.key == "train.steps":
                    self.total = int(event.value)
            case WentBack():
                self._go_back(event.step)
            case Warned():
                self.warnings.append(event)
            case Finished() | Failed():
                self.end, self.paused = event, False

    def _step(self, event: Step) -> None:
        if event.step <= self.step:  # resumed from an earlier step: what came after it did not happen
            self._forget(event.step - 1)
        self.paused = False
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

    def _forget(self, step: int) -> None:
        """Figures of what comes after a step, which is done again."""
        self.losses = {at: loss for at, loss in self.losses.items() if at <= step}
        self.measured = {name: {at: value for at, value in curve.items() if at <= step} for name, curve in self.measured.items()}
        if self.verdict and self.verdict.step > step:
            self.verdict = None
        self.times = []

    def _go_back(self, step: int) -> None:
        """A person wants it to go on from a step: nothing after that counts any more."""
        self._forget(step)
        self.step = min(self.step, step)
        self.frames = {key: event for key, event in self.frames.items() if key[1] <= step}
        self.saved = {at: path for at, path in self.saved.items() if at <= step}
        self.changed = [event for event in self.changed if event.step < step]


def as_changed(job: Job, history: History) -> Job:
    """The job with what was changed while it ran."""
    for event in history.changed:
        if value_of(job, event.key) == event.before:  # else it has been written into the job since
            try:
                job = with_values(job, {event.key: event.value})
            except JobError:
                continue  # a setting that an older program knew
    return job


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


def smoothed(losses: dict[int, float], points: int = 300) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
    """The two lines of the chart by step: the loss of each step, and its trend, thinned to at most ``points`` steps."""
    steps = sorted(losses)
    every = max(1, -(-len(steps) // points))
    each: list[tuple[int, float]] = []
    calm: list[tuple[int, float]] = []
    trend, weight = 0.0, 0.0
    keep = min(0.98, 1 - 1 / (1 + len(steps) / 20))  # a window of a twentieth of the run
    for position, step in enumerate(steps):
        trend, weight = keep * trend + (1 - keep) * losses[step], keep * weight + (1 - keep)
        if position % every == 0 or position == len(steps) - 1:
            each.append((step, losses[step]))
            calm.append((step, trend / weight))
    return each, calm


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
            since = max((event.step for event in history.changed if event.key == "sample.sample_every"), default=-1)
            coming = {*range(every, total + 1, every), total} | ({0} if not job.sample.skip_first_sample else set())
            steps |= {step for step in coming if step > since}  # up to there it was done as it was asked for then
    return sorted(steps)


def prompts(job: TrainJob) -> list[str]:
    """Sample prompts in their order, with the trigger words in them."""
    texts = [*job.sample.prompts, *(item.prompt for item in job.sample.samples)]
    return [text.replace("[trigger]", job.triggers or "") for text in texts]


def strip(job: Job, history: History, folder: Path, limit: int = 40) -> Strip:
    """The run's own samples. Very long runs show the first, then the newest columns."""
    columns = planned(job, history)
    come = {step for column, step, _ in history.frames if not column}
    if len(columns) > limit:
        newest = max((columns.index(step) for step in come), default=0)
        begin = max(1, min(newest + 2, len(columns)) - limit + 1)
        columns = [columns[0], *columns[begin : begin + limit - 1]]
    lines = rows(history, prompts(job) if isinstance(job, TrainJob) else [])
    pictures = [
        [
            folder / event.path if (event := history.frames.get(("", step, index))) and event.prompt in (text, "") else None
            for step in columns
        ]
        for index, text in lines
    ]
    ready = 1 + max((position for position, step in enumerate(columns) if step in come), default=-1)
    return Strip(columns, [text for _, text in lines], pictures, ready)


def rows(history: History, wanted: Sequence[str] = ()) -> list[tuple[int, str]]:
    """(index, prompt) of each row of the strip and of the contact sheet: a prompt that was changed while it ran begins a new one.

    ``wanted`` are the prompts of those indices that have no picture yet.
    """
    told: dict[int, dict[str, None]] = {}
    for event in sorted((event for (column, _, _), event in history.frames.items() if not column), key=lambda event: event.step):
        told.setdefault(event.index, {})[event.prompt] = None
    count = max([len(wanted), *(index + 1 for index in told)])
    return [(index, text) for index in range(count) for text in told.get(index) or [wanted[index] if index < len(wanted) else ""]]


def next_sample(job: Job, history: History) -> int | None:
    return next((step for step in planned(job, history) if step > history.step), None)

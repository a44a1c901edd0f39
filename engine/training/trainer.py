"""The training loop: a generator of events, so that whoever iterates it is in charge.

It knows no family, no objective and no network by name. One thread drives it from start to end.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator, Iterator, Sequence

import torch

from ..control import Control, Stopped
from ..errors import JobError
from ..events import Event, Finished, Phase, Sampled, Step, Warned
from ..jobs import Sample, TrainJob
from ..runs.changes import Changes
from ..runs.checkpoints import CheckpointStore, State
from ..runs.folder import RunFolder
from ..runs.log import follow
from ..runs.metrics import kept
from ..runs.trackers import missing, tracked
from ..runtime.device import Peak, free
from .begin import begin, without_first_weights
from .bench import Bench
from .consent import consent
from .learner import Learner
from .likeness import check_likeness, compared
from .prepare import prepare
from .readback import Readback
from .rest import rest
from .sameness import data_summary
from .saving import is_due, not_a_number, publish, save
from .validation import validate
from .verdict import Curves, judged
from .wishes import draw_samples, take_wishes

PATIENCE = 3
"""Batches in a row that may run out of memory before the run gives up."""


def train(job: TrainJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """Encode, attach, loop. Continues from the newest state in the folder, if there is one."""
    store = CheckpointStore(folder, job.save.max_step_saves_to_keep, job.save.max_states_to_keep)
    yield from missing(job)
    yield from check_likeness(job)
    log, _ = follow(folder.events)
    newest = store.latest_values()
    wanted = changes_of(job, newest, log).job
    try:
        bench = yield from prepare(
            without_first_weights(job, folder),
            control,
            lambda items: consent(wanted, data_summary(wanted, items), newest, log, control) if newest else iter(()),
        )
    except Stopped:
        yield Finished(step=newest.step if newest else 0, reason="stopped")
        return
    with contextlib.closing(bench):
        state, (log, _) = store.latest(), follow(folder.events)
        changes = changes_of(job, state, log)
        learner = yield from begin(changes.job, bench, folder, state)
        if changes.job.sample != job.sample:
            yield from take_wishes(changes.job, bench, learner)
        learner.changed = changes.made
        drawn = {event.index for event in log if isinstance(event, Sampled) and event.step == learner.step}
        events = loop(changes, bench, learner, folder, store, control, state is None, len(drawn))
        known = Curves.of(log).before(learner.step)
        with contextlib.closing(events):
            figures = kept(folder.metrics, judged(compared(events, bench, folder), known), learner.step)
            yield from tracked(figures, job, folder, learner.step)


def loop(
    changes: Changes,
    bench: Bench,
    learner: Learner,
    folder: RunFolder,
    store: CheckpointStore,
    control: Control,
    fresh: bool = True,
    drawn: int = 0,
) -> Generator[Event, None, None]:
    """Step, tell, save, sample, until the last step or a stop.

    ``fresh``: nothing of the run was done before; else ``drawn`` samples are there of the step that it goes on from.
    """
    peak, readback, misses = Peak(bench.device), Readback(bench.device), 0
    yield from adopt(changes, bench, learner, control)
    job, total = learner.job, learner.job.train.steps
    if (
        (fresh or job.sample.force_first_sample)
        and job.sample.sample_every
        and not job.sample.skip_first_sample
        and (bench.first or bench.requests)
    ):
        yield from draw_samples(job, bench, learner, folder, bench.first)
    elif not fresh and drawn < len(bench.requests) and _is_round(job.sample, learner.step, total):
        yield from draw_samples(job, bench, learner, folder)  # it was cut off when it had saved, and not yet drawn
    if fresh:
        yield from validate(bench, learner)
    yield Phase(
        name="Training" if learner.step == 0 else f"Training, continued from step {learner.step}",
        peak=peak.take(),
    )
    told, since = learner.step, time.perf_counter()
    last = learner.step >= total
    if last and not any(one.final and one.step == learner.step for one in folder.checkpoints()):
        yield from save(job, bench, learner, folder, store)  # the number of steps was made smaller
    while not last:
        if control.paused:
            yield from rest(bench, learner, control)
            told, since = learner.step, time.perf_counter()
        try:
            readback.push(learner.step + 1, learner.learn())
            misses = 0
        except torch.OutOfMemoryError:
            misses += 1
            learner.skip()
            free(bench.device)
            if misses == PATIENCE:
                raise JobError(
                    f"The graphics card ran out of memory {PATIENCE} times in a row.",
                    "Lower the resolution, the batch size or the rank, or turn gradient checkpointing on.",
                ) from None
            yield Warned(
                message=f"Step {learner.step} was left out: the graphics card ran out of memory.",
                hint="Lower the resolution or the batch size.",
            )
        step = learner.step
        for done, loss in readback.take(wait=step == total or control.stop):
            if not math.isfinite(loss):
                raise not_a_number("loss is", done)
            if done % job.logging.log_every == 0 or done == total:
                now = time.perf_counter()
                yield Step(
                    step=done,
                    total=total,
                    loss=loss,
                    lr=learner.lr,
                    seconds=(now - since) / max(1, done - told),
                    memory=peak.now(),
                )
                told, since = done, now
        yield from learner.clock.take()
        yield from adopt(changes, bench, learner, control)
        job, total = learner.job, learner.job.train.steps
        before, last = time.perf_counter(), step == total or control.stop
        if step == total or is_due(step, job.validation.every):
            yield from learner.clock.during("validating", validate(bench, learner))
        if last or control.take("save") or is_due(step, job.save.save_every):
            yield from learner.clock.during("saving", save(job, bench, learner, folder, store))
        asked = control.take("sample")
        if asked and not bench.requests:
            yield from take_wishes(job, bench, learner)  # prompts without a rhythm are not read before they are wanted
        if asked or (bench.requests and _is_round(job.sample, step, total)):
            yield from learner.clock.during("sampling", draw_samples(job, bench, learner, folder))
        since += time.perf_counter() - before  # a step's time is its own
    if learner.step >= total:
        yield from publish(job, folder)
    yield Finished(step=learner.step, reason="completed" if learner.step >= total else "stopped")


def changes_of(job: TrainJob, state: State | None, log: Sequence[Event]) -> Changes:
    """The changes of a run that goes on after ``state``; ``log`` is all that it has told."""
    return Changes(job, state.values.get("changed", ()) if state else (), log, state.step if state else 0)


def adopt(changes: Changes, bench: Bench, learner: Learner, control: Control) -> Iterator[Event]:
    """The changes that are due or asked for, for the learner at its step."""
    before = learner.job
    yield from changes.take(learner.step, control.changes)
    if changes.job is not before:
        learner.change(changes.job)
    if changes.job.sample != before.sample:
        yield from take_wishes(changes.job, bench, learner)


def _is_round(settings: Sample, step: int, total: int) -> bool:
    """Whether samples are drawn after a step: every so often, and after the last one."""
    return bool(settings.sample_every) and (step == total or (step >= settings.sample_start_step and is_due(step, settings.sample_every)))

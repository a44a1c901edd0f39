"""The training loop: a generator of events, so that whoever iterates it is in charge.

It knows no family, no objective and no network by name. One thread drives it from start to end.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import torch

from ..control import Control, Stopped
from ..errors import JobError
from ..events import Event, Finished, Phase, Sampled, Saved, Step, Warned
from ..jobs import TrainJob
from ..runs.checkpoints import CheckpointStore
from ..runs.folder import RunFolder
from ..runs.log import follow
from ..runs.metrics import kept
from ..runtime.device import Peak, free
from ..sampling.draw import draw, save_picture
from .bench import Bench
from .changes import Changes
from .learner import Learner
from .prepare import prepare
from .readback import Readback
from .rest import rest
from .sameness import differences
from .validation import validate
from .verdict import Curves, judged

PATIENCE = 3
"""Batches in a row that may run out of memory before the run gives up."""


def train(job: TrainJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """Encode, attach, loop. Continues from the newest state in the folder, if there is one."""
    store = CheckpointStore(folder, job.save.max_step_saves_to_keep, job.save.max_states_to_keep)
    try:
        bench = yield from prepare(job, folder, control)
    except Stopped:
        yield Finished(step=0, reason="stopped")
        return
    with contextlib.closing(bench):
        state, (log, _) = store.latest(), follow(folder.events)
        changes = Changes(job, state.values.get("changed", ()) if state else (), log, state.step if state else 0)
        bench.job = changes.job
        learner = Learner(changes.job, bench)
        if state:
            learner.load(state)
            yield from differences(state.values.get("told") or learner.told(), learner.told())
        learner.changed = changes.made
        events = loop(changes, bench, learner, folder, store, control)
        known = Curves.of(log).before(learner.step)
        with contextlib.closing(events):
            yield from kept(folder.metrics, judged(events, known), learner.step)


def loop(
    changes: Changes, bench: Bench, learner: Learner, folder: RunFolder, store: CheckpointStore, control: Control
) -> Generator[Event, None, None]:
    """Step, tell, save, sample, until the last step or a stop."""
    peak, readback, misses = Peak(bench.device), Readback(bench.device), 0
    yield from changes.adopt(learner, control.changes)
    job, total = learner.job, learner.job.train.steps
    if learner.step == 0 and not job.sample.skip_first_sample:
        yield from draw_samples(job, bench, learner, folder)
    if learner.step == 0:
        yield from validate(bench, learner)
    yield Phase(
        name="Training" if learner.step == 0 else f"Training, continued from step {learner.step}",
        peak=peak.take(),
    )
    told, since = learner.step, time.perf_counter()
    last = learner.step >= total
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
        yield from changes.adopt(learner, control.changes)
        job, total = learner.job, learner.job.train.steps
        before, last = time.perf_counter(), step == total or control.stop
        if step == total or _due(step, job.validation.every):
            yield from validate(bench, learner)
        if last or control.take("save") or _due(step, job.save.save_every):
            yield from save(job, bench, learner, folder, store)
        if (
            control.take("sample")
            or _due(step, job.sample.sample_every)
            or (step == total and job.sample.sample_every)
        ):
            yield from draw_samples(job, bench, learner, folder)
        since += time.perf_counter() - before  # a step's time is its own
    yield Finished(step=learner.step, reason="completed" if learner.step >= total else "stopped")


def save(
    job: TrainJob, bench: Bench, learner: Learner, folder: RunFolder, store: CheckpointStore
) -> Iterator[Event]:
    """The weights as other tools read them, and the exact state to continue from."""
    final = learner.step >= job.train.steps

    def write(path: Path) -> None:
        with learner.averaged():
            bench.write_weights(path, learner.step)

    state = learner.state()
    if not all(torch.isfinite(tensor).all() for tensor in state.tensors["weights"].values()):
        raise not_a_number("weights are", learner.step)  # a step may break them although its own loss was fine
    path = store.save(learner.step, final, write, state)
    yield Saved(step=learner.step, path=path.relative_to(folder.path), final=final)


def draw_samples(job: TrainJob, bench: Bench, learner: Learner, folder: RunFolder) -> Iterator[Event]:
    """Every sample prompt, with the averaged weights where there is an average."""
    for index, request in enumerate(bench.requests):
        kind = "webp" if bench.family.is_video else job.sample.format
        path = folder.sample_path(learner.step, index, request.prompt, kind)
        with bench.at_hand(*bench.family.vae_parts), learner.averaged(), bench.companions.sampling(), bench.network.scaled(request.strength):
            image = draw(bench.family, bench.conditioning, request, bench.device, bench.dtype)
        save_picture(image, path, request, model=job.model.name_or_path, run=job.name, step=str(learner.step))
        yield Sampled(
            step=learner.step,
            index=index,
            prompt=request.prompt,
            path=path.relative_to(folder.path),
            seed=request.seed,
        )


def not_a_number(what: str, step: int) -> JobError:
    return JobError(
        f"The {what} not a number at step {step}.",
        "The checkpoints so far are good. Start again with a lower learning rate, or with dtype bf16 instead of fp16.",
    )


def _due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0

"""Where a training begins: at its first step, with weights from elsewhere, at the step of a state, or at that of weights alone."""

from __future__ import annotations

from collections.abc import Generator

from ..errors import JobError
from ..events import Event, Noted, Warned
from ..jobs import Adapter, TrainJob
from ..network.merging import base_weights, restore
from ..runs.checkpoints import State, room_for
from ..runs.folder import RunFolder
from ..runs.points import WEIGHTS_ALONE, last_point
from .bench import Bench
from .learner import Learner
from .saving import BASE, file_size


def without_first_weights(job: TrainJob, folder: RunFolder) -> TrainJob:
    """The job of a run that goes on: what it began with is not asked for again, and may be gone by now."""
    if not last_point(folder) or not isinstance(job.network, Adapter):
        return job
    return job.model_copy(update={"network": job.network.model_copy(update={"pretrained_lora_path": None})})


def begin(job: TrainJob, bench: Bench, folder: RunFolder, state: State | None) -> Generator[Event, None, Learner]:
    """A learner that is where the run is, and what is to be said of that."""
    bench.job = job
    if state and WEIGHTS_ALONE in state.values:
        load_weights(bench, folder, state.step)
        yield Warned(
            message=f"Of step {state.step} only the weights are kept: the optimizer begins anew{', and so does the average' if job.train.ema_config.use_ema else ''}.",
            hint="save.max_states_to_keep keeps more states, from which a run goes on exactly.",
        )
    learner = Learner(job, bench)
    if state and WEIGHTS_ALONE not in state.values:
        if BASE in state.tensors:
            restore(bench.network, state.tensors[BASE])
        learner.load(state)
    else:
        learner.start_at(state.step if state else job.train.start_step)
    if state is None and job.save.max_step_saves_to_keep == 0:
        yield Noted(
            message="save.max_step_saves_to_keep is 0: of the checkpoints only the newest is there while it runs, and only the final one at the end."
        )
    yield from _room(job, bench, learner, folder)
    return learner


def load_weights(bench: Bench, folder: RunFolder, step: int) -> None:
    """The weights of a checkpoint as ``Bench.write_weights`` wrote them."""
    path = folder.checkpoint_path(step)
    path = path if path.exists() or not path.with_suffix("").is_dir() else path.with_suffix("")
    for stage in bench.family.stages:
        own = path.with_stem(f"{path.stem}_{stage.title}") if stage.title and not path.is_dir() else path
        if not own.exists():
            raise JobError(f"The weights of step {step} are not there any more: {own.name}.", "Go back to another step.")
        bench.network.load(own, stage.part if stage.title and not path.is_dir() else None)


def _room(job: TrainJob, bench: Bench, learner: Learner, folder: RunFolder) -> Generator[Event, None, None]:
    """A disk that is too small for one save is told before the first step."""
    weights = sum(weight.nbytes for weight in learner.parameters)
    needed = file_size(job, bench) + weights * (3 + bool(learner.average))  # in the state are the weights, two moments and an average
    if job.train.merge_network_on_save:  # and what was merged into
        needed += sum(weight.nbytes for weight in base_weights(bench.network).values())
    if missing := room_for(folder.path, needed):
        yield Warned(
            message=f"The disk has little room: a checkpoint of this run with its state takes about {needed / 2**20:,.0f} MB.",
            hint=f"Free {missing / 2**20:,.0f} MB in {folder.path}, or the run will end at its first save.",
        )

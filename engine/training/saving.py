"""A checkpoint: the weights as other tools read them, and the exact state to continue from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from ..errors import JobError
from ..events import Event, Noted, Phase, Saved, Warned
from ..jobs import TrainJob
from ..network.merging import base_weights, begin_anew, merge, merged
from ..runs.card import write_card
from ..runs.checkpoints import CheckpointStore
from ..runs.folder import RunFolder
from ..runtime.device import DTYPES
from ..runtime.push import push
from ..runtime.saving import pipeline_size, save_pipeline
from .bench import Bench
from .learner import Learner

BASE = "base"
"""Group of a state: the weights of the model that were merged into."""


def save(job: TrainJob, bench: Bench, learner: Learner, folder: RunFolder, store: CheckpointStore) -> Iterator[Event]:
    """Both, as files with their final names."""
    final = learner.step >= job.train.steps
    strength = job.train.merge_network_on_save_strength if job.train.merge_network_on_save else None
    lasting = strength is not None and (final or is_due(learner.step, job.save.save_every))
    if lasting:  # a save that was asked for in between changes nothing of the training
        with learner.averaged():
            merge(bench.network, strength)
        begin_anew(bench.network)
        learner.begin_average()

    def write(path: Path) -> None:
        if strength is None:
            with learner.averaged():
                bench.write_weights(path, learner.step)
        elif lasting:
            save_pipeline(bench.family, path, job.save.dtype)
        else:
            with learner.averaged(), merged(bench.network, strength):
                save_pipeline(bench.family, path, job.save.dtype)

    state = learner.state()
    if strength is not None:
        state.tensors[BASE] = {name: weight.detach().to("cpu", copy=True) for name, weight in base_weights(bench.network).items()}
    if not all(torch.isfinite(tensor).all() for tensor in state.tensors["weights"].values()):
        raise not_a_number("weights are", learner.step)  # a step may break them although its own loss was fine
    path = store.save(learner.step, final, write, state, file_size(job, bench))
    yield Saved(step=learner.step, path=path.relative_to(folder.path), final=final)


def file_size(job: TrainJob, bench: Bench) -> int:
    """About how many bytes the weights of a checkpoint are: an adapter's, or those of a whole model."""
    if job.train.merge_network_on_save or not bench.network.is_adapter:
        return pipeline_size(bench.family, job.save.dtype)
    return sum(weight.numel() for weight in bench.network.parameters()) * DTYPES[job.save.dtype].itemsize


def is_due(step: int, every: int | None) -> bool:
    return every is not None and step % every == 0


def publish(job: TrainJob, folder: RunFolder) -> Iterator[Event]:
    """README.md of a finished run, and the upload where it is wanted. What fails here costs nothing of the run."""
    try:
        write_card(folder, job)
    except OSError as error:
        yield Warned(message=f"README.md was not written: {error.strerror or error}.")
    if job.save.push_to_hub:
        yield Phase(name=f"Uploading to {job.save.hf_repo_id}")
        try:
            yield Noted(message=f"Uploaded to {push(folder)}.")
        except JobError as error:
            yield Warned(message=error.message, hint=error.hint)


def not_a_number(what: str, step: int) -> JobError:
    return JobError(
        f"The {what} not a number at step {step}.",
        "The checkpoints so far are good. Start again with a lower learning rate, or with dtype bf16 instead of fp16.",
    )

"""The loss on what is held back: always with the same pictures, the same noise and the same noise levels.

It touches nothing that training draws from or learns with: a run ends in the same bytes with it and without it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ..data.chance import number
from ..events import Event, Measured, Warned
from ..families.base import ModelFamily
from ..jobs.train import Train
from ..runtime.device import autocast
from .bench import Bench
from .heldout import InOrder
from .learner import Learner
from .objectives import PROCESSES, Regression
from .verdict import VALIDATION_LOSS


def validate(bench: Bench, learner: Learner) -> Iterator[Event]:
    """Measures with the weights that a save would keep; nothing where nothing is held back."""
    if bench.held is None or not isinstance(bench.held.loader.batches, InOrder):
        return
    with learner.averaged():
        loss = float(held_loss(bench.held, bench.job.validation.sigmas, len(bench.held.loader.batches)))
    if math.isfinite(loss):
        yield Measured(step=learner.step, name=VALIDATION_LOSS, value=loss)
    else:
        yield Warned(message=f"The validation loss is not a number at step {learner.step}.")


@torch.no_grad()
def held_loss(held: Bench, sigmas: list[float], batches: int) -> Tensor:
    """The mean squared error over all pictures and noise levels, on the device: nothing waits for it here."""
    total, count = torch.zeros((), device=held.device), 0
    rng = torch.Generator(held.device)
    measures = [(sigma, measure_at(held.family, sigma)) for sigma in sigmas]
    with _still(held):
        for index in range(batches):
            with autocast(held.device, held.dtype):
                batch = held.batch(index)
            for sigma, measure in measures:
                rng.manual_seed(number("validation", index, str(sigma)) % 2**63)
                with autocast(held.device, held.dtype), held.network.shown(batch.shown):
                    loss = measure.loss(held.family, replace(batch, span=_span(held.family, sigma)), rng)
                total += loss.float() * len(batch.mean)
            count += len(batch.mean)
    return total / (count * len(sigmas))


def measure_at(family: ModelFamily, sigma: float) -> Regression:
    """The plain loss of a family at one noise level."""
    place = round(1000 * (1 - sigma))
    settings = Train().model_copy(update={"timestep_type": "linear", "min_denoising_steps": place, "max_denoising_steps": place - 1})
    return Regression(PROCESSES[family.objective](settings), settings)


def _span(family: ModelFamily, sigma: float) -> tuple[float, float]:
    """That of the expert whose level it is."""
    return next(((stage.low, stage.high) for stage in family.stages if stage.low <= sigma <= stage.high), (0.0, 1.0))


@contextlib.contextmanager
def _still(bench: Bench) -> Iterator[None]:
    """Inside, nothing is dropped at random, in any part that learns."""
    parts = [part for part in bench.family.pipe.components.values() if isinstance(part, torch.nn.Module)]
    learning = [module for part in parts for module in part.modules() if module.training]
    for module in learning:
        module.training = False
    try:
        yield
    finally:
        for module in learning:
            module.training = True

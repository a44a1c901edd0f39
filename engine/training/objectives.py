"""What the model is asked to predict, and how far off it is. The loop is cut here, and only here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from ..errors import JobError
from ..families.base import Conditioning, ModelFamily
from ..jobs.train import TimestepType
from .timesteps import draw_sigmas


@dataclass(frozen=True)
class Batch:
    """Pictures of one size, on the device: the posterior of their latents [B C H W], and their text."""

    mean: Tensor
    std: Tensor
    cond: Conditioning
    span: tuple[float, float] = (0.0, 1.0)
    """The noise levels that are practised on it."""

    def draw(self, rng: torch.Generator) -> Tensor:
        """Latents drawn from the posterior, in fp32: another draw each time a picture comes.

        In half precision the first noise levels of a schedule would be none at all.
        """
        std = self.std.float()
        return self.mean.float() + std * like(std, rng)


class Objective(Protocol):
    def loss(self, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Tensor:
        """The mean loss of a batch, a scalar in fp32. Everything that is drawn is drawn from ``rng``."""


@dataclass(frozen=True)
class FlowMatching:
    """Rectified flow: straight lines from pictures to noise, and the model predicts their direction."""

    timesteps: TimestepType | None = None

    def loss(self, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Tensor:
        clean = batch.draw(rng)
        noise = like(clean, rng)
        tokens = clean.shape[-2] * clean.shape[-1] // family.latent_multiple**2
        sigma = draw_sigmas(self.timesteps or "sigmoid", len(clean), tokens, rng, batch.span)
        level = sigma.view(-1, *[1] * (clean.ndim - 1))
        noisy = (1 - level) * clean + level * noise
        cond = family.practise(clean, batch.cond, rng)
        error = (family.predict(noisy, sigma, cond).float() - (noise - clean)).square()
        if (counts := family.counts(noisy, cond)) is None:
            return error.mean()
        return (error * counts).sum() / counts.expand_as(error).sum()


@dataclass
class Denoising:
    """Noise is added by the schedule of the model's scheduler, and the model predicts what its ``prediction_type`` says."""

    timesteps: TimestepType | None = None
    _schedule: DDPMScheduler | None = None

    def loss(self, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Tensor:
        if self._schedule is None:  # made once: it stays on the device
            self._schedule = schedule_of(family)
        schedule, clean = self._schedule, batch.draw(rng)
        noise = like(clean, rng)
        count = schedule.config.num_train_timesteps
        time = (draw_sigmas(self.timesteps or "linear", len(clean), 0, rng) * count).long().clamp(max=count - 1)
        predicted = family.predict(schedule.add_noise(clean, noise, time), time / count, batch.cond)
        target = {
            "epsilon": lambda: noise,
            "v_prediction": lambda: schedule.get_velocity(clean, noise, time),
            "sample": lambda: clean,
        }[schedule.config.prediction_type]()
        return (predicted.float() - target).square().mean()


def schedule_of(family: ModelFamily) -> DDPMScheduler:
    """The noise levels that the model's own scheduler was made for. Samplers scale what they add noise to, this does not."""
    schedule = DDPMScheduler.from_config(family.pipe.scheduler.config)
    if schedule.config.prediction_type not in ("epsilon", "v_prediction", "sample"):
        raise JobError(
            f"The model's scheduler says prediction_type {schedule.config.prediction_type}, which {family.title} does not know.",
            "Set it to epsilon or v_prediction in scheduler/scheduler_config.json of the model.",
        )
    return schedule


OBJECTIVES: dict[str, Callable[[TimestepType | None], Objective]] = {"flow": FlowMatching, "denoising": Denoising}


def like(tensor: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal noise in the shape of ``tensor``."""
    return torch.randn(tensor.shape, generator=rng, device=rng.device, dtype=tensor.dtype)

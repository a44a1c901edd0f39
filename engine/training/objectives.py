"""What the model is asked to predict, and how far off it is. The loop is cut here, and only here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from diffusers import DDPMScheduler
from torch import Tensor

from ..families.base import Conditioning, ModelFamily
from ..jobs.train import TimestepType
from .timesteps import draw_sigmas


@dataclass(frozen=True)
class Batch:
    """Pictures of one size, on the device: the posterior of their latents [B C H W], and their text."""

    mean: Tensor
    std: Tensor
    cond: Conditioning

    def draw(self, rng: torch.Generator) -> Tensor:
        """Latents drawn from the posterior: another draw each time a picture comes."""
        return self.mean + self.std * like(self.std, rng)


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
        sigma = draw_sigmas(self.timesteps or "sigmoid", len(clean), tokens, rng)
        level = sigma.view(-1, *[1] * (clean.ndim - 1))
        predicted = family.predict((1 - level) * clean + level * noise, sigma, batch.cond)
        return (predicted.float() - (noise - clean)).square().mean()


@dataclass(frozen=True)
class Denoising:
    """Noise is added by the schedule of the model's scheduler, and the model predicts what its ``prediction_type`` says."""

    timesteps: TimestepType | None = None

    def loss(self, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Tensor:
        schedule = DDPMScheduler.from_config(family.pipe.scheduler.config)  # the samplers' own add_noise scales differently
        clean = batch.draw(rng)
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


OBJECTIVES: dict[str, Callable[[TimestepType | None], Objective]] = {"flow": FlowMatching, "denoising": Denoising}


def like(tensor: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal noise in the shape of ``tensor``."""
    return torch.randn(tensor.shape, generator=rng, device=rng.device, dtype=tensor.dtype)

"""What the model is asked to predict, and how far off it is. The loop is cut here, and only here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
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

    timesteps: TimestepType = "sigmoid"

    def loss(self, family: ModelFamily, batch: Batch, rng: torch.Generator) -> Tensor:
        clean = batch.draw(rng)
        noise = like(clean, rng)
        tokens = clean.shape[-2] * clean.shape[-1] // family.latent_multiple**2
        sigma = draw_sigmas(self.timesteps, len(clean), tokens, rng)
        level = sigma.view(-1, *[1] * (clean.ndim - 1))
        predicted = family.predict((1 - level) * clean + level * noise, sigma, batch.cond)
        return (predicted.float() - (noise - clean)).square().mean()


def like(tensor: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal noise in the shape of ``tensor``."""
    return torch.randn(tensor.shape, generator=rng, device=rng.device, dtype=tensor.dtype)

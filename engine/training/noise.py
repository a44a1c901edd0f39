"""The noise that is added to latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..jobs.train import Train


@dataclass(frozen=True)
class Noise:
    """Standard normal noise, changed in what the job asks for."""

    offset: float = 0.0
    multiplier: float = 1.0
    random_multiplier: float = 0.0
    shift: float = 0.0
    candidates: int = 1
    consistent: bool = False

    @classmethod
    def of(cls, settings: Train) -> Noise:
        return cls(
            settings.noise_offset, settings.noise_multiplier, settings.random_noise_multiplier, settings.random_noise_shift,
            settings.optimal_noise_pairing_samples, settings.force_consistent_noise,
        )  # fmt: skip

    def draw(self, clean: Tensor, rng: torch.Generator, identities: Sequence[int] = ()) -> Tensor:
        """Noise in the shape of ``clean``. ``identities`` are numbers that stand for the pictures, where each is to have noise of its own."""
        noise = self._own(clean, identities) if self.consistent and identities else self._nearest(clean, rng)
        channels = (*clean.shape[:2], *[1] * (clean.ndim - 2))
        for strength in (self.offset, self.shift):
            if strength:
                noise = noise + strength * torch.randn(channels, generator=rng, device=rng.device)
        if self.random_multiplier:
            each = torch.randn(len(clean), generator=rng, device=rng.device).view(-1, *[1] * (clean.ndim - 1))
            noise = noise * (1 + self.random_multiplier * each)
        return noise * self.multiplier if self.multiplier != 1 else noise

    def _nearest(self, clean: Tensor, rng: torch.Generator) -> Tensor:
        """Of some candidates, for each picture the one that is nearest to it: the path between them is the shortest."""
        noise = like(clean, rng)
        best = (noise - clean).flatten(1).square().sum(1)
        for _ in range(self.candidates - 1):
            other = like(clean, rng)
            distance = (other - clean).flatten(1).square().sum(1)
            nearer = (distance < best).view(-1, *[1] * (clean.ndim - 1))
            noise, best = torch.where(nearer, other, noise), torch.minimum(best, distance)
        return noise

    def _own(self, clean: Tensor, identities: Sequence[int]) -> Tensor:
        """Drawn on the processor, so that it is the same on every device."""
        generators = [torch.Generator().manual_seed(identity % 2**63) for identity in identities]
        return torch.stack([torch.randn(clean.shape[1:], generator=one) for one in generators]).to(clean)


def like(tensor: Tensor, rng: torch.Generator) -> Tensor:
    """Standard normal noise in the shape of ``tensor``."""
    return torch.randn(tensor.shape, generator=rng, device=rng.device, dtype=tensor.dtype)

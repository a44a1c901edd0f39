"""Which noise levels are practised, and how often.

``sigma`` is the share of noise, in [0, 1]. The densities are those of Esser et al. 2024 (Stable Diffusion 3, section 3.1)
and of FLUX's sampler, whose shift grows with the number of tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..jobs.train import TimestepType

CANDIDATES = 4096
"""Levels that are drawn to find some in a span."""


def draw_sigmas(
    kind: TimestepType, count: int, tokens: int, rng: torch.Generator, span: tuple[float, float] = (0.0, 1.0)
) -> Tensor:
    """``count`` noise levels in ``span``, fp32 on the generator's device. ``tokens`` is the length of one picture.

    Within a span levels are as dense as they are there without it.
    """
    low, high = span
    if (low, high) == (0.0, 1.0):
        return _drawn(kind, count, tokens, rng)
    many = _drawn(kind, CANDIDATES, tokens, rng)
    inside = ((many >= low) & (many < high)).float() + 1e-9  # none at all is no error: the clamp sees to it
    return many[torch.multinomial(inside, count, replacement=True, generator=rng)].clamp(low, high - 1e-6)


def _drawn(kind: TimestepType, count: int, tokens: int, rng: torch.Generator) -> Tensor:
    if kind == "linear":
        return torch.rand(count, generator=rng, device=rng.device)
    sigma = torch.sigmoid(torch.randn(count, generator=rng, device=rng.device))
    return {
        "sigmoid": lambda: sigma,
        "shift": lambda: shifted(sigma, 3.0),
        "flux_shift": lambda: shifted(sigma, flux_shift(tokens)),
    }[kind]()


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """The same levels, moved towards noise."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def flux_shift(tokens: int) -> float:
    """exp of a line through 0.5 at 256 tokens and 1.15 at 4096."""
    return math.exp(0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256))

"""Which noise levels are practised, and how often.

``sigma`` is the share of noise, in [0, 1]. The densities are those of Esser et al. 2024 (Stable Diffusion 3, section 3.1)
and of FLUX's sampler, whose shift grows with the number of tokens.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..jobs.train import TimestepType


def draw_sigmas(kind: TimestepType, count: int, tokens: int, rng: torch.Generator) -> Tensor:
    """``count`` noise levels in (0, 1), fp32 on the generator's device. ``tokens`` is the length of one picture."""
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

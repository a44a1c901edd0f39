"""Which noise levels are practised, and how often.

A level is the share of noise, in [0, 1]. Each kind is a quantile function: evenly spread numbers go in, levels come out.
So every kind can be drawn by lot or in strata, biased, kept within a span, and shown as a curve. Sources: Esser et al.
2024 (Stable Diffusion 3, section 3.1) for ``sigmoid`` and shifts, FLUX's and Lumina 2's samplers for theirs, AI Toolkit for the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..jobs.train import Bias, TimestepType

EDGE = 1e-6
"""The outermost quantiles are left out: they would lie at infinity before the sigmoid."""
TABLE = 4096
"""Quantiles that a span is looked up among."""
LUMINA2_SHIFT = 6.0
STEPS: dict[str, int] = {"one_step": 1, "two_step": 2, "four_step": 4, "eight_step": 8}


@dataclass(frozen=True)
class Levels:
    """How noise levels are drawn."""

    kind: TimestepType = "sigmoid"
    bias: Bias = "balanced"
    low: float = 0.0
    high: float = 1.0
    stratified: bool = False
    sampler_steps: int = 8
    """Of the sampler whose levels ``next_sample`` takes."""

    def draw(self, count: int, tokens: int, rng: torch.Generator, span: tuple[float, float] = (0.0, 1.0)) -> Tensor:
        """``count`` levels, fp32 on the generator's device. ``tokens`` is the length of one picture.

        Within a span, and between ``low`` and ``high``, levels are as dense as they are there without it.
        """
        share = torch.rand(count, generator=rng, device=rng.device)
        if self.stratified:  # one from each of ``count`` equal parts, in an order that is drawn
            places = torch.randperm(count, generator=rng, device=rng.device)
            share = (places + share) / count
        low, high = max(self.low, span[0]), min(self.high, span[1])
        if (low, high) == (0.0, 1.0):
            return self.at(share, tokens)
        inside = _within(self, tokens, low, high, rng.device)
        return inside[(share * len(inside)).long().clamp(max=len(inside) - 1)]

    def at(self, share: Tensor, tokens: int) -> Tensor:
        """The levels at these quantiles, [0, 1] from the least noise to the most."""
        share = self._biased(share).clamp(EDGE, 1 - EDGE)
        return self._quantile(tokens)(share).clamp(0, 1)

    def _biased(self, share: Tensor) -> Tensor:
        if self.bias == "content":  # much noise: what is where
            return 1 - (1 - share) ** 3
        return share**3 if self.bias == "style" else share

    def _quantile(self, tokens: int) -> Callable[[Tensor], Tensor]:
        if steps := STEPS.get(self.kind):
            return lambda share: ((share * steps).floor() + 1) / steps
        return {
            "next_sample": lambda share: ((share * (self.sampler_steps - 1)).floor() + 1) / self.sampler_steps,
            "linear": lambda share: share,
            "weighted": lambda share: share,
            "sigmoid": logit_normal,
            "shift": lambda share: shifted(logit_normal(share), 3.0),
            "flux_shift": lambda share: shifted(logit_normal(share), flux_shift(tokens)),
            "lumina2_shift": lambda share: shifted(logit_normal(share), LUMINA2_SHIFT),
            "lognorm_blend": lognorm_blend,
        }[self.kind]


@lru_cache(maxsize=256)
def _within(levels: Levels, tokens: int, low: float, high: float, device: torch.device) -> Tensor:
    """Levels of evenly spread quantiles that lie in the span; at least one, even if this kind has none there. Made once: looking waits for the device."""
    grid = levels.at(torch.linspace(0, 1, TABLE), tokens).sort().values
    first, last = torch.searchsorted(grid, torch.tensor([low, high])).tolist()
    return grid[min(first, TABLE - 1) : max(last, first + 1)].clamp(low, high - 1e-6).to(device)


def logit_normal(share: Tensor) -> Tensor:
    return torch.sigmoid(torch.special.ndtri(share))


def lognorm_blend(share: Tensor) -> Tensor:
    """Three quarters are 1 - x, x log-normal with a deviation of a third, over its largest of some hundreds; a quarter is even."""
    lognormal = 1 - (torch.special.ndtri((share / 0.75).clamp(EDGE, 1 - EDGE)) / 3).exp() / math.e
    return torch.where(share < 0.75, lognormal.clamp(0, 1), (share - 0.75) / 0.25)


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """The same levels, moved towards noise."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def flux_shift(tokens: int) -> float:
    """exp of a line through 0.5 at 256 tokens and 1.15 at 4096."""
    return math.exp(0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256))


KNOTS = (
    0.447,
    0.586,
    0.717,
    0.728,
    0.716,
    0.715,
    0.732,
    0.763,
    0.806,
    0.861,
    0.925,
    1.0,
    1.083,
    1.172,
    1.264,
    1.355,
    1.441,
    1.507,
    1.507,
    1.375,
    0.906,
)
"""Loss weights of ``weighted``: every twentieth of the way from no noise to noise alone, after the curve that AI Toolkit measured on Flex.1."""


def level_weights(sigma: Tensor, kind: TimestepType, bell: bool = False, half_bell: bool = False) -> Tensor | None:
    """How much each level counts in the loss; None where all count alike.

    ``bell``: most in the middle, nothing at the ends, 1 in the mean. ``half_bell``: the same for much noise, and the most for all of the rest.
    """
    if kind == "weighted":
        knots = torch.tensor(KNOTS, device=sigma.device)
        place = sigma.clamp(0, 1) * (len(KNOTS) - 1)
        below = place.floor().long().clamp(max=len(KNOTS) - 2)
        return torch.lerp(knots[below], knots[below + 1], place - below)
    if bell or half_bell:
        edge = math.exp(-0.5)
        height = torch.exp(-2 * (sigma - 0.5) ** 2) - edge
        area = math.sqrt(math.pi / 2) * math.erf(math.sqrt(0.5)) - edge
        return (height if bell else torch.where(sigma < 0.5, 1 - edge, height)) / area
    return None

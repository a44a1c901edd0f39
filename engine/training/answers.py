"""What counts as the right answer, and how it is asked for, where that is not the plain one. Arithmetic on answers alone.

Answers and latents have one shape, B C H W or B C F H W; ``sigma`` [B] is the share of noise.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..jobs.train import Train

NEAR = 0.02
"""How far to both sides a slope is measured: answers in bf16 are too coarse for less."""


def as_level(sigma: Tensor, latents: Tensor) -> Tensor:
    """[B] in a shape that fits the latents."""
    return sigma.view(-1, *[1] * (latents.ndim - 1))


def drawn_between(low: float, high: float, count: int, rng: torch.Generator) -> Tensor:
    """A number for each picture."""
    return low + (high - low) * torch.rand(count, generator=rng, device=rng.device)


def guided(said: Tensor, away: Tensor, strength: Tensor) -> Tensor:
    """Classifier-free guidance: away from the other answer, so strongly [B]. 1 is the answer itself."""
    return away + as_level(strength, said) * (said - away)


def guided_target(right: Tensor, away: Tensor, sigma: Tensor, settings: Train, rng: torch.Generator) -> Tensor:
    """The right answer as guidance would change it, as ``do_guidance_loss`` says."""
    if settings.do_guidance_loss_cfg_zero:  # Fan et al. 2025: the part of the right answer that the other one explains
        share = (right * away).flatten(1).sum(1) / away.flatten(1).square().sum(1).clamp(min=1e-8)
        away = as_level(share, away) * away
    target = settings.guidance_loss_target
    strength = drawn_between(*((target, target) if isinstance(target, int | float) else target), len(right), rng)
    if settings.guidance_loss_schedule == "sigma":
        strength = 1 + (strength - 1) * sigma
    return guided(right, away, strength)


def mean_velocity(
    ask: Callable[[Tensor, Tensor], Tensor], noisy: Tensor, sigma: Tensor, velocity: Tensor, span: tuple[float, float]
) -> Tensor:
    """The mean of the velocities from here to the picture, by what the model says nearby: v - sigma du/dsigma (Geng et al. 2025, Mean Flows).

    ``ask`` gives the model's answer at latents and levels. The slope along ``velocity`` is a difference of two answers: forward
    derivatives do not go through the fast kernels of attention.
    """
    before, after = (sigma - NEAR).clamp(min=span[0]), (sigma + NEAR).clamp(max=span[1])
    with torch.no_grad():
        low, high = (ask(noisy + as_level(level - sigma, noisy) * velocity, level) for level in (before, after))
    return velocity - as_level(sigma / (after - before), noisy) * (high - low)


def spectra_differ(found: Tensor, right: Tensor) -> Tensor:
    """Squared differences of how strongly each frequency is in two pictures, wherever it is in them."""
    return (torch.fft.rfft2(found, norm="ortho").abs() - torch.fft.rfft2(right, norm="ortho").abs()).square()

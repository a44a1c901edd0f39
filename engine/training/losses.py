"""How far an answer is from the right one: a difference for each value, whose mean is the loss.

Source of the names: AI Toolkit. ``sigma`` [B] is the share of noise, for those that look at it.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional

from ..jobs.train import LossType

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(answer, right answer, sigma) → difference, in the shape of both."""

HUBER = 0.01
"""Differences much larger than this count by their size, smaller ones by their square."""
STRIDE = 0.05
"""One of twenty steps of a sampler."""


def mse(answer: Tensor, right: Tensor, sigma: Tensor) -> Tensor:
    return (answer - right).square()


def mae(answer: Tensor, right: Tensor, sigma: Tensor) -> Tensor:
    return (answer - right).abs()


def pseudo_huber(answer: Tensor, right: Tensor, sigma: Tensor) -> Tensor:
    return ((answer - right).square() + HUBER**2).sqrt() - HUBER


def smooth_l1(answer: Tensor, right: Tensor, sigma: Tensor) -> Tensor:
    return functional.smooth_l1_loss(answer, right, reduction="none")


def wavelet(answer: Tensor, right: Tensor, sigma: Tensor) -> Tensor:
    """The square, and once more the square of what tells the values of each 2 x 2 apart: the details of a Haar transform.

    All of that transform, squared, would be mse again, for it keeps lengths; that is what AI Toolkit's loss of this name comes to.
    """
    wrong = answer - right
    height, width = wrong.shape[-2] // 2 * 2, wrong.shape[-1] // 2 * 2
    cut = wrong[..., :height, :width]
    blocks = cut.unflatten(-1, (width // 2, 2)).unflatten(-3, (height // 2, 2))
    mean = blocks.mean((-3, -1), keepdim=True)
    detail = (blocks - mean).flatten(-2).flatten(-3, -2)
    even = wrong.square()
    edges = functional.pad(detail.square(), (0, wrong.shape[-1] - width, 0, wrong.shape[-2] - height))
    return even + edges


def stepped(answer: Tensor, right: Tensor, sigma: Tensor) -> Tensor:
    """Ten times the error of the picture that is found from the place where one of twenty sampler steps leads."""
    after = (sigma - STRIDE).clamp(min=0)
    share = ((sigma - after) / (1 - after)).view(-1, *[1] * (answer.ndim - 1))
    return 10 * (share * (answer - right)).square()


LOSSES: dict[LossType, Loss] = {
    "mse": mse, "mae": mae, "pseudo_huber": pseudo_huber, "smooth_l1": smooth_l1, "wavelet": wavelet, "stepped": stepped,
}  # fmt: skip

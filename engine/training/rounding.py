"""Trained weights in bf16: steps are computed in fp32, a weight at a time, and rounded at random so that small ones add up."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


def round_at_random(values: Tensor) -> Tensor:
    """fp32 as bf16: up or down by chance, so that the mean of many roundings is the value itself. Draws from the device's global generator."""
    bits = values.contiguous().view(torch.int32)
    noise = torch.randint(0, 1 << 16, bits.shape, dtype=torch.int32, device=bits.device)
    rounded = (bits + noise).bitwise_and_(-(1 << 16)).view(torch.float32).to(torch.bfloat16)  # the upper half of the bits is bf16
    return torch.where(values.isfinite(), rounded, values.to(torch.bfloat16))


@contextlib.contextmanager
def in_full(weight: Tensor) -> Iterator[None]:
    """Inside, a weight in bf16 is in fp32."""
    before = weight.data
    weight.data = before.float()
    try:
        yield
    finally:
        weight.data = before


class EachOptimizer(torch.optim.Optimizer):
    """One optimizer for each weight, so that each can make its step by itself."""

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]):
        # the base class is not asked: groups and options are those of the optimizers inside
        self.parts = list(optimizers)
        self.defaults = self.parts[0].defaults
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @property
    def state(self) -> dict[Tensor, dict[str, Any]]:
        """Of all weights; what is written into it is written into the optimizers."""
        weights = ((part, weight) for part in self.parts for group in part.param_groups for weight in group["params"])
        return defaultdict(dict, {weight: part.state[weight] for part, weight in weights})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        for part, weight in self.each():
            if weight.grad is not None:
                self.step_one(part, weight)

    def step_one(self, part: torch.optim.Optimizer, weight: Tensor) -> None:
        """The weight moves, and its gradient is gone."""
        part.step()
        weight.grad = None

    def each(self) -> Iterator[tuple[torch.optim.Optimizer, Tensor]]:
        """The weights, each with its optimizer."""
        for part in self.parts:
            for group in part.param_groups:
                yield from ((part, weight) for weight in group["params"])

    def step_in_backward(self, max_norm: float | None) -> None:
        """From now on each weight moves as soon as its gradient is whole, so that the gradients are never there all at once.

        A gradient longer than ``max_norm`` is shortened to it, by itself: nobody knows the others yet.
        """
        for part, weight in self.each():

            def hook(weight: Tensor, part: torch.optim.Optimizer = part) -> None:
                with torch.no_grad():
                    if max_norm is not None:
                        torch.nn.utils.clip_grad_norm_([weight], max_norm)
                    self.step_one(part, weight)

            weight.register_post_accumulate_grad_hook(hook)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)


class RoundedOptimizer(EachOptimizer):
    """For weights in bf16. Only the one whose turn it is is there in fp32; what the optimizers remember stays fp32."""

    def step_one(self, part: torch.optim.Optimizer, weight: Tensor) -> None:
        gradient, weight.grad = weight.grad, None
        assert gradient is not None
        weight.data = weight.data.float()
        weight.grad = gradient.float()
        part.step()
        weight.grad = None
        weight.data = round_at_random(weight.data)

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


class RoundedOptimizer(torch.optim.Optimizer):
    """One optimizer for each weight. Only the weight whose turn it is is there in fp32; what the optimizers remember stays fp32."""

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
        for part in self.parts:
            for weight in (weight for group in part.param_groups for weight in group["params"]):
                if weight.grad is None:
                    continue
                gradient, weight.grad = weight.grad, None
                weight.data = weight.data.float()
                weight.grad = gradient.float()
                part.step()
                weight.grad = None
                weight.data = round_at_random(weight.data)

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none)

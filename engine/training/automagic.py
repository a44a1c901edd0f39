"""Automagic: an optimizer that gives each single weight a learning rate of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Automagic(torch.optim.Optimizer):
    """A rate for each weight, by whether its updates keep their sign.

    Update u: the gradient over the root of its running mean square (``beta2``; of matrices only the means of rows and columns
    are kept, as Adafactor does), shortened to a root mean square of ``clip_threshold``. Rate r of a weight: ``lr`` at first; + ``lr_bump`` where u has
    the sign it had in the step before, - ``lr_bump`` where not, within ``min_lr`` and ``max_lr``. Step: w -= (lr now / lr at the start) * (r * u +
    r * weight_decay * w), so that a schedule acts on all rates alike. Written from the description of AI Toolkit's optimizer of that name,
    which keeps its rates in 8 bits; here they are fp32: 5 bytes a weight.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-6,
        min_lr: float = 1e-7,
        max_lr: float = 1e-3,
        lr_bump: float = 1e-6,
        beta2: float = 0.999,
        eps: float = 1e-30,
        clip_threshold: float = 1.0,
        weight_decay: float = 0.0,
    ):
        if not 0 < min_lr <= max_lr:
            raise ValueError("min_lr must be above 0 and not above max_lr")
        if not 0 <= beta2 < 1:
            raise ValueError("beta2 must be in [0, 1)")
        defaults = {
            "lr": lr, "min_lr": min_lr, "max_lr": max_lr, "lr_bump": lr_bump, "beta2": beta2, "eps": eps,
            "clip_threshold": clip_threshold, "weight_decay": weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)
        for group in self.param_groups:
            if not min_lr <= group["lr"] <= max_lr:
                raise ValueError(f"the learning rate {group['lr']:g} is not within min_lr {min_lr:g} and max_lr {max_lr:g}")
            group["start_lr"] = group["lr"]

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._learn(weight, weight.grad.float(), group)
        return loss

    def _learn(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        update = gradient * _scale(state, gradient, group["beta2"], group["eps"])
        update /= (update.square().mean().sqrt() / group["clip_threshold"]).clamp(min=1.0)
        signs = update > 0
        if "rates" not in state:
            state["rates"] = torch.full_like(gradient, group["start_lr"])
        else:
            bumps = torch.where(signs == state["signs"], group["lr_bump"], -group["lr_bump"])
            state["rates"].add_(bumps).clamp_(group["min_lr"], group["max_lr"])
        state["signs"] = signs
        if group["weight_decay"]:
            update += weight * group["weight_decay"]
        weight.sub_((update * state["rates"] * (group["lr"] / group["start_lr"])).to(weight.dtype))


def _scale(state: dict[str, Tensor], gradient: Tensor, beta2: float, eps: float) -> Tensor:
    """One over the root of the running mean square, of the shape of the gradient or one that spreads to it."""
    square = gradient.square() + eps
    means = {"row": square.mean(-1), "column": square.mean(-2)} if gradient.ndim >= 2 else {"square": square}
    for name, mean in means.items():
        if name in state:
            state[name].lerp_(mean, 1 - beta2)
        else:
            state[name] = mean.clone()  # the first step counts whole, and there is nothing to correct for
    if gradient.ndim < 2:
        return state["square"].rsqrt()
    row, column = state["row"], state["column"]
    return (row / row.mean(-1, keepdim=True)).rsqrt().unsqueeze(-1) * column.rsqrt().unsqueeze(-2)

"""Prodigy inside pytorch-optimizer's schedule-free averaging, under one signature. Tried with its version 4.1."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pytorch_optimizer import Prodigy, ScheduleFreeWrapper


class ScheduleFreeProdigy(ScheduleFreeWrapper):
    """Prodigy's steps are taken by weights of their own; the trained ones lie between those and their average, by ``momentum``.

    The average counts each step by the rate that Prodigy had found. Prodigy's own momentum is off, for the averaging has that part.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        momentum: float = 0.9,
        beta2: float = 0.999,
        weight_decay: float = 0.0,
        weight_lr_power: float = 2.0,
        d0: float = 1e-6,
        d_coef: float = 1.0,
        growth_rate: float = float("inf"),
        eps: float = 1e-8,
    ):
        inner = Prodigy(params, lr=lr, betas=(0.0, beta2), d0=d0, d_coef=d_coef, growth_rate=growth_rate, eps=eps)
        super().__init__(inner, momentum=momentum, weight_decay=weight_decay, weight_lr_power=weight_lr_power)

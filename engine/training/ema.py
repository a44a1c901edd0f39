"""A running average of the trained weights, on diffusers' EMAModel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor


class Average:
    """Follows ``parameters``; the average takes their place inside ``shown()``."""

    def __init__(self, parameters: list[torch.nn.Parameter], decay: float):
        self.parameters = parameters
        # its decay warms up as (1 + n) / (10 + n), so that the first weights are soon forgotten
        self.model = EMAModel(parameters, decay=decay, foreach=True)

    def step(self) -> None:
        self.model.step(self.parameters)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        self.model.store(self.parameters)
        self.model.copy_to(self.parameters)
        try:
            yield
        finally:
            self.model.restore(self.parameters)

    def state(self) -> tuple[dict[str, Tensor], int]:
        """The average, one tensor a parameter, and how many steps are in it."""
        return {str(index): tensor for index, tensor in enumerate(self.model.shadow_params)}, self.model.optimization_step

    def load(self, tensors: dict[str, Tensor], steps: int) -> None:
        for index, shadow in enumerate(self.model.shadow_params):
            shadow.copy_(tensors[str(index)])
        self.model.optimization_step = steps

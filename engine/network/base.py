"""What every network is, whatever it trains."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from ..errors import JobError
from ..families.base import ModelFamily
from ..jobs import Dtype
from .formats import Form

Takes = Literal["pixels", "latents", "looks"]
"""What a network is shown of control pictures: B3HW in [-1, 1], BChw as the family's autoencoder makes them, or BLD as a vision encoder says."""


class Network(ABC):
    """Trained weights by canonical name, ``transformer.<path>``. fp32, whatever the rest of the model is, unless a job says otherwise."""

    is_adapter: bool
    """Whether the base model is still there, so that ``disabled`` and ``scaled`` can do something."""
    title: ClassVar[str] = ""
    """What its file is called by, after the name of the run, where it lies beside that of another."""
    idle: Sequence[str] = ()
    """Settings that have no effect in this model."""
    takes: ClassVar[Takes | None] = None
    """How it is shown the control pictures of the data; None where they are the model's own reference pictures."""
    beside: Sequence[nn.Module] = ()
    """Models of its own, which are no parts of the pipeline."""

    def __init__(self, weights: Mapping[str, nn.Parameter], dtype: torch.dtype = torch.float32):
        self._weights = dict(weights)
        for weight in self._weights.values():
            weight.data = weight.data.to(dtype)  # updates are too small for half precision, unless they are rounded at random
            weight.requires_grad_(True)

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """In an order that is the same each time."""
        yield from self._weights.items()

    def parameters(self) -> list[nn.Parameter]:
        return list(self._weights.values())

    def state_tensors(self) -> dict[str, Tensor]:
        """The exact weights, for a resume. They are views: they change when training goes on."""
        return {name: weight.detach() for name, weight in self._weights.items()}

    def load_state_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """The opposite of ``state_tensors``: exactly the same names and shapes."""
        if odd := sorted(set(tensors) ^ set(self._weights)):
            raise JobError(
                f"The saved state does not fit this run: {odd[0]} is in only one of them.",
                "Start a new run under another name.",
            )
        for name, weight in self._weights.items():
            copy_into(weight, tensors[name], name)

    @abstractmethod
    def save(self, path: Path, metadata: Mapping[str, str], dtype: Dtype, form: Form, part: str | None = None) -> None:
        """As other tools read it. ``path`` is written directly: see ``runs.atomic``.

        ``part``: only this part of the model, where each of two experts has a file.
        """

    @abstractmethod
    def load(self, path: Path, part: str | None = None) -> None:
        """Take over the weights of a file that ``save``, or another tool, wrote; ``part`` as in ``save``."""

    def prepared(self, family: ModelFamily, paths: Sequence[Path], size: tuple[int, int]) -> list[Tensor]:
        """Control pictures of a sample of this width and height, as it ``takes`` them."""
        return []

    def shown(self, pictures: Sequence[Tensor]) -> contextlib.AbstractContextManager[None]:
        """Inside, these are the control pictures of the batch, as it ``takes`` them."""
        return contextlib.nullcontext()

    @abstractmethod
    def disabled(self) -> contextlib.AbstractContextManager[None]:
        """Inside, the model is the base model."""

    @abstractmethod
    def scaled(self, multiplier: float) -> contextlib.AbstractContextManager[None]:
        """Inside, an adapter acts with this strength; all weights have none, and stay as they are."""


@torch.no_grad()
def copy_into(weight: nn.Parameter, tensor: Tensor, name: str) -> None:
    if weight.shape != tensor.shape:
        raise JobError(
            f"{name} has the shape {tuple(tensor.shape)} in the file and {tuple(weight.shape)} in this run.",
            "It was made for another base model: choose that one, or start a new run.",
        )
    weight.copy_(tensor)

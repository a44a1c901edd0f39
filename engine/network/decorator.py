"""A decorator: learned vectors behind the text features of every prompt. The negative prompt gets zeros, so that both stay alike long.

An idea of AI Toolkit's, for FLUX alone there. No other tool reads its file: [T, D] under ``decorator``. T vectors, B batch, L tokens,
D features.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import JobError
from ..families.base import Conditioning, ModelFamily
from ..jobs import Decorator, Dtype
from ..jobs.networks import no_decorator
from ..runs.safe import read_safetensors, write_safetensors
from ..runtime.device import DTYPES
from .base import Network, copy_into
from .formats import Form
from .reader import read_header

KEY = "decorator"


def read_decorator(path: Path) -> Tensor | None:
    """The vectors of a file; None where it is one of another kind."""
    return read_safetensors(path)[KEY] if set(read_header(path)[0]) == {KEY} else None


class LoadedDecorator:
    """The vectors of a file, in what a family draws with, until ``remove``."""

    def __init__(self, family: ModelFamily, path: Path, vectors: Tensor, device: torch.device):
        self._family, self._network = family, DecoratorNetwork(Decorator(num_tokens=len(vectors)), family, device)
        self._network.load(path)

    @property
    def strength(self) -> float:
        return self._network.strength

    @strength.setter
    def strength(self, value: float) -> None:
        self._network.strength = value

    def remove(self) -> None:
        """The family is as it was."""
        for name in ("predict", "sample"):
            self._family.__dict__.pop(name, None)


class DecoratorNetwork(Network):
    """The vectors. They are put into what the family predicts from and draws with, for as long as it lives."""

    is_adapter = True
    title = KEY

    def __init__(self, settings: Decorator, family: ModelFamily, device: torch.device, seed: int = 0):
        if family.decorated is None:
            raise no_decorator(family.title)
        self.name, self.strength = family.decorated, 1.0
        generator = torch.Generator().manual_seed(seed)  # on the processor: the same everywhere
        first = torch.randn(settings.num_tokens, text_width(family), generator=generator)
        super().__init__({KEY: nn.Parameter(first.to(device))})
        self.beside = [nn.ParameterDict(self._weights)]
        predict, sample = family.predict, family.sample

        def decorated(noisy: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
            return predict(noisy, sigma, self.behind(cond))

        def drawn(cond: Conditioning, negative: Conditioning | None, *rest: Any, **more: Any) -> Any:
            return sample(self.behind(cond), negative and self.behind(negative, 0.0), *rest, **more)

        family.predict = decorated  # type: ignore[method-assign]
        family.sample = drawn  # type: ignore[method-assign]

    def behind(self, cond: Conditioning, strength: float = 1.0) -> Conditioning:
        """The features with the vectors behind them, [B, L + T, D]; as they are where the decorator is disabled."""
        if self.strength == 0:
            return cond
        text = cond[self.name]
        own = self._weights[KEY] * (self.strength * strength)
        return {**cond, self.name: torch.cat([text, own.to(text.dtype).expand(len(text), -1, -1)], dim=1)}

    def save(self, path: Path, metadata: Mapping[str, str], dtype: Dtype, form: Form, part: str | None = None) -> None:
        write_safetensors(path, {KEY: self._weights[KEY].detach().cpu().to(DTYPES[dtype])}, {**metadata, "format": "pt"})

    def load(self, path: Path, part: str | None = None) -> None:
        tensors = read_safetensors(path)
        if set(tensors) != {KEY}:
            raise JobError(f"{path.name} is no decorator.", "Choose a file that a run with a decorator has saved.")
        copy_into(self._weights[KEY], tensors[KEY], "The decorator")

    def disabled(self) -> contextlib.AbstractContextManager[None]:
        return self.scaled(0)

    @contextlib.contextmanager
    def scaled(self, multiplier: float) -> Iterator[None]:
        before, self.strength = self.strength, self.strength * multiplier
        try:
            yield
        finally:
            self.strength = before


def text_width(family: ModelFamily) -> int:
    """D, as the denoiser takes it."""
    config: Mapping[str, Any] = family.denoiser.config
    width = next((config[key] for key in ("joint_attention_dim", "cross_attention_dim") if config.get(key)), None)
    assert isinstance(width, int), "a family that is decorated says how wide its text is"
    return width

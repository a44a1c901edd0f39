"""What all guides have in common: they are shown pictures, and add to what the denoiser is called with.

A guide hears each call of the denoiser, whoever makes it: a family in training, or the stock pipeline that draws a sample. So
neither knows of it, and both get the same numbers. B batch, C channels, H W pixels, h w latents.
"""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from diffusers import ModelMixin
from PIL import Image, ImageOps
from torch import Tensor, nn

from ...data.files.pictures import decode
from ...errors import JobError
from ...families.base import ModelFamily
from ...jobs import Dtype
from ...runs.safe import read_safetensors
from ...runtime.saving import save_part
from ..base import Network, Takes, copy_into
from ..formats import Form
from .eyes import Sight
from .opening import opened, plain_denoiser

Keywords = Mapping[str, Any]


class Listener(Network):
    """Hears each call of a denoiser, and adds to it while something is shown."""

    takes: ClassVar[Takes]
    pictures: int = 1
    """How many control pictures go with each picture."""
    sight: ClassVar[Sight] = "clip"
    """Which kind of vision encoder looks, where looks are taken."""
    look: Callable[[Path], Tensor] | None = None
    """What the vision encoder said of a picture: LD."""
    strength: float = 1.0
    _active: bool = True
    _shown: Sequence[Tensor] = ()

    @classmethod
    @abstractmethod
    def attached(cls, settings: Any, family: ModelFamily, device: torch.device, dtype: torch.dtype, seed: int, checkpointing: bool) -> Self:
        """The guide that the settings ask for, beside the family's denoiser, which is held in ``dtype``. The same seed gives the same first weights."""

    def listen(self, denoiser: nn.Module) -> None:
        denoiser.register_forward_pre_hook(self._heard, with_kwargs=True)

    @contextlib.contextmanager
    def shown(self, pictures: Sequence[Tensor]) -> Iterator[None]:
        """Inside, these are the control pictures of the batch."""
        before, self._shown = self._shown, pictures
        try:
            yield
        finally:
            self._shown = before

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        before, self._active = self._active, False
        try:
            yield
        finally:
            self._active = before

    @contextlib.contextmanager
    def scaled(self, multiplier: float) -> Iterator[None]:
        before = self.strength
        self.strength = before * multiplier
        try:
            yield
        finally:
            self.strength = before

    def prepared(self, family: ModelFamily, paths: Sequence[Path], size: tuple[int, int]) -> list[Tensor]:
        """Control pictures of a sample, as they are shown in training: cut to ``size`` and, where latents are taken, encoded."""
        if self.takes == "looks":
            assert self.look is not None
            return [self.look(path)[None].to(family.denoiser.device) for path in paths]
        cut = [ImageOps.fit(decode(path), size, Image.Resampling.LANCZOS) for path in paths]
        pixels = [torch.from_numpy(np.array(one)).permute(2, 0, 1)[None].to(family.denoiser.device).float() / 127.5 - 1 for one in cut]
        return pixels if self.takes == "pixels" else [family.encode_reference(one) for one in pixels]

    def _heard(self, denoiser: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        return self.steered(args, keywords) if self._active and self._shown else None

    @classmethod
    @abstractmethod
    def size(cls, settings: Any, family: type[ModelFamily], denoiser: nn.Module, vae_scale: int) -> int:
        """How many numbers are trained beside this denoiser. Under ``torch.device("meta")``, where neither has memory for its weights."""

    @abstractmethod
    def steered(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the denoiser is called with instead."""


class GuideNetwork(Listener):
    """A guide that is a model of diffusers: all its weights are trained, and its file is its own ``save_pretrained``."""

    is_adapter = True
    kind: ClassVar[type[ModelMixin]]
    part: ClassVar[str] = "controlnet"
    """How stock pipelines call it."""

    @staticmethod
    @abstractmethod
    def new(settings: Any, denoiser: nn.Module, vae_scale: int) -> nn.Module:
        """A fresh one for this denoiser; ``vae_scale`` pixels are a latent."""

    @classmethod
    def size(cls, settings: Any, family: type[ModelFamily], denoiser: nn.Module, vae_scale: int) -> int:
        return sum(weight.numel() for weight in cls.new(settings, denoiser, vae_scale).parameters())

    @classmethod
    def around(cls, model: nn.Module, family: ModelFamily, device: torch.device) -> Self:
        """The guide that a model is, beside the family's denoiser."""
        return cls(model, family.denoiser, device)

    @classmethod
    def attached(cls, settings: Any, family: ModelFamily, device: torch.device, dtype: torch.dtype, seed: int, checkpointing: bool) -> Self:
        if settings.name_or_path:
            model = opened(settings.name_or_path, cls.kind, family)
        else:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                model = cls.new(settings, plain_denoiser(family, dtype), family.pipe.vae_scale_factor)
        if checkpointing and getattr(model, "_supports_gradient_checkpointing", False):
            model.enable_gradient_checkpointing()
        return cls.around(model, family, device)

    def __init__(self, model: nn.Module, denoiser: nn.Module, device: torch.device):
        denoiser.requires_grad_(False)
        self.model = model.to(device).train()
        self.beside = (self.model,)
        super().__init__({f"{self.part}.{name}": weight for name, weight in model.named_parameters()})
        self.listen(denoiser)

    @abstractmethod
    def answer(self, args: tuple[Any, ...], keywords: Keywords) -> dict[str, Any]:
        """Further keywords of the denoiser's call."""

    def steered(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, {**keywords, **self.answer(args, keywords)}

    def save(self, path: Path, metadata: Mapping[str, str], dtype: Dtype, form: Form, part: str | None = None) -> None:
        """A folder that ``from_pretrained`` reads. It has one form and no metadata."""
        save_part(self.model, path, dtype)

    def load(self, path: Path, part: str | None = None) -> None:
        tensors = {name: tensor for file in sorted(path.glob("*.safetensors")) for name, tensor in read_safetensors(file).items()}
        own = dict(self.model.named_parameters())
        if not own.keys() <= tensors.keys():
            raise JobError(
                f"{path} is no {self.kind.__name__} of this model: it has no {sorted(own.keys() - tensors.keys())[0]}.", "Choose another."
            )
        for name, weight in own.items():
            copy_into(weight, tensors[name], name)


def repeated(picture: Tensor, like: Tensor) -> Tensor:
    """For as many as are asked about at once: pipelines ask about the negative prompt and the prompt in one batch."""
    return picture if len(picture) == len(like) else picture.repeat(len(like) // len(picture), *[1] * (picture.ndim - 1))

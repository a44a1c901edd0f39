"""Adapter files: written so that equal tensors give equal bytes, and put into a model to draw with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import JobError
from ..families.base import ModelFamily
from ..jobs import Dtype
from ..runs.safe import write_safetensors
from ..runtime.device import DTYPES
from .beside import Beside
from .formats import ADAPTER_METADATA, Form, adapter_metadata, from_any, to_form
from .layers import split


def write_lora(
    path: Path,
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    dtype: Dtype | torch.dtype,
    form: Form,
    family: str | None,
) -> None:
    """Canonical tensors as a file of this form. ``path`` is written directly: see ``runs.atomic``."""
    named = to_form(tensors, form, family)
    kind = dtype if isinstance(dtype, torch.dtype) else DTYPES[dtype]
    # an alpha is a setting and not a weight: it stays exact
    stored = {name: tensor if name.endswith(".alpha") else tensor.to(kind) for name, tensor in named.items()}
    texts = {key: value for key, value in metadata.items() if key != ADAPTER_METADATA} | {"format": "pt"}
    write_safetensors(path, stored, texts | (adapter_metadata(tensors) if form == "diffusers" else {}))


class LoadedLora:
    """A file of any kind in the denoiser of a family, or the files of both experts in theirs, until ``remove``."""

    def __init__(self, family: ModelFamily, path: Path, part: str | None = None):
        """``part``: the denoiser that the file is for, where its name does not say so; left out: the first.

        The file of one expert brings that of the other along, where it lies beside it.
        """
        self._besides: list[Beside] = []
        self.left_out: list[str] = []
        """Parts of the model that the file changes and this does not: prompts are encoded when pictures are drawn."""
        for one, own in with_its_mates(family, path, part):
            self._put(family, one, own)

    def _put(self, family: ModelFamily, path: Path, part: str) -> None:
        first = family.denoiser_part
        tensors = from_any(path, family.name, _paths(family.denoiser))
        layers = {name: layer for name, layer in split(tensors).items() if not name.startswith("text_encoder")}
        heads = {name.split(".")[0] for name in layers}
        ours = {head: part if head == first else head for head in heads if head.startswith(first)}
        if not ours:
            raise JobError(f"{path.name} has nothing for the {first} of {family.name}.", "It was made for another model family.")
        self.left_out = sorted({*self.left_out, *(name.split(".")[0] for name in tensors)} - ours.keys())
        for head, part_name in ours.items():
            inside = {name.partition(".")[2]: layer for name, layer in layers.items() if name.split(".")[0] == head}
            model = getattr(family.pipe, part_name, None)
            if not isinstance(model, nn.Module):
                raise JobError(f"{path.name} is for a {part_name}, which this model has not.", "It was made for another model family.")
            self._besides.append(Beside(model, inside, path.name))

    @property
    def strength(self) -> float:
        return self._besides[0].strength

    @strength.setter
    def strength(self, value: float) -> None:
        for beside in self._besides:
            beside.strength = value

    def remove(self) -> None:
        """The model is the base model again."""
        for beside in self._besides:
            beside.remove()


def load_lora(family: ModelFamily, path: Path, part: str | None = None) -> LoadedLora:
    """Puts a file of any form and any kind beside the family's denoiser. Nothing of the pipeline itself changes."""
    return LoadedLora(family, path, part)


def _paths(model: nn.Module) -> list[str]:
    return [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def with_its_mates(family: ModelFamily, path: Path, part: str | None = None) -> list[tuple[Path, str]]:
    """The file and the denoiser that it is for; of two experts, both files."""
    own = next((stage for stage in family.stages if stage.title and path.stem.endswith(f"_{stage.title}")), None)
    if part or not own:
        return [(path, part or family.denoiser_part)]
    name = path.stem.removesuffix(own.title)
    pairs = [(path.with_stem(f"{name}{stage.title}"), stage.part) for stage in family.stages]
    return [(file, expert) for file, expert in pairs if file == path or file.is_file()]

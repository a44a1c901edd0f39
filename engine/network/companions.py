"""LoRAs that go with the base model of a job and are not trained: one that is part of it, one for training, one for samples."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import JobError
from ..events import Event, Warned
from ..families.base import ModelFamily
from ..jobs import ModelSection
from ..runtime.places import fetch_lora
from .beside import check_fits
from .files import LoadedLora, load_lora
from .formats import canonical, from_any
from .keys import text_path
from .layers import Layer, Update, split
from .reader import read_lora


class Companions:
    """The assistant and the inference LoRA, frozen, beside the denoiser. While training the first acts, in samples the second."""

    def __init__(self, family: ModelFamily, model: ModelSection, training: bool = True):
        """Without ``training``, the model only ever draws."""
        self._training = _load(family, model.assistant_lora_path, "model.assistant_lora_path") if training else None
        self._sampling = _load(family, model.inference_lora_path, "model.inference_lora_path")
        self._set(sampling=not training)

    def told(self) -> Iterator[Event]:
        """What of the files has no effect."""
        for key, lora in (("assistant_lora_path", self._training), ("inference_lora_path", self._sampling)):
            if lora and lora.left_out:
                yield Warned(message=f"model.{key} changes {' and '.join(lora.left_out)} too, which is left out.")

    @contextlib.contextmanager
    def sampling(self) -> Iterator[None]:
        """Inside, the model draws: without the assistant, with the inference LoRA."""
        self._set(sampling=True)
        try:
            yield
        finally:
            self._set(sampling=False)

    def _set(self, sampling: bool) -> None:
        if self._training:
            self._training.strength = 0.0 if sampling else 1.0
        if self._sampling:
            self._sampling.strength = 1.0 if sampling else 0.0


def _load(family: ModelFamily, name: str | None, key: str) -> LoadedLora | None:
    return load_lora(family, fetch_lora(name, key)) if name else None


@torch.no_grad()
def fuse_lora(model: nn.Module, part: str, path: Path, family: type[ModelFamily]) -> None:
    """Adds a file of any kind to the weights of one part of the pipeline. A part that the file says nothing of stays as it is."""
    denoisers = family.denoiser_parts()
    layers = split(from_any(path, family.name, _paths(model) if part in denoisers else ()))
    ours = {name.removeprefix(f"{part}."): layer for name, layer in layers.items() if name.startswith(f"{part}.")}
    if part in denoisers and not any(name.split(".")[0] in denoisers for name in layers):
        raise _nothing_for(path, part, family)
    _add(model, ours, path.name)


def recovering(model: nn.Module, part: str, path: Path, family: type[ModelFamily]) -> dict[str, Update]:
    """The layers of an accuracy recovery adapter by the names of ``model``, a denoiser of the family.

    As ostris' AI Toolkit writes and reads them: plain LoRAs with a scale of 1, or LoKr under flat names; the layers of two
    experts in one file, under transformer_1 and transformer_2. That is taken from its code; the published files themselves
    were not at hand when this was written.
    """
    tensors, metadata = read_lora(path)
    experts = {name: found for name in tensors if (found := re.fullmatch(r"(\w+)\.transformer_([12])\.(.+)", name))}
    if experts:
        number = str(family.denoiser_parts().index(part) + 1)
        tensors = {f"{found[1]}.{found[3]}": tensors[name] for name, found in experts.items() if found[2] == number}
    layers = split(canonical(tensors, metadata, path.name, family.name, _paths(model)))
    head = family.denoiser_part if experts else part
    ours = {name.partition(".")[2]: layer for name, layer in layers.items() if name.startswith(f"{head}.")}
    if not ours:
        raise _nothing_for(path, part, family)
    modules = dict(model.named_modules())
    for name, layer in ours.items():
        check_fits(modules.get(name), name, layer, path.name)
    return ours


def _paths(model: nn.Module) -> list[str]:
    return [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]


def _nothing_for(path: Path, part: str, family: type[ModelFamily]) -> JobError:
    return JobError(f"{path.name} has nothing for the {part} of {family.name}.", "It was made for another model family.")


def _add(model: nn.Module, layers: Mapping[str, Update], name: str) -> None:
    modules = {text_path(path): module for path, module in model.named_modules()} | dict(model.named_modules())
    for path, layer in layers.items():
        check_fits(modules.get(path), path, layer, name)
    for path, layer in layers.items():
        weight = modules[path].weight
        assert isinstance(weight, nn.Parameter)
        changed = layer.onto(weight.float())
        if isinstance(layer, Layer) and layer.magnitude is not None:
            changed *= _lengths(layer.magnitude.to(changed), changed)
        weight.data.copy_(changed)  # rounded once


def _lengths(magnitude: Tensor, changed: Tensor) -> Tensor:
    """DoRA: what each row, or each column, is multiplied with to have its length."""
    by_row = magnitude.ndim == 1
    rows = changed if by_row else changed.transpose(0, 1)
    factor = magnitude.flatten() / rows.flatten(1).norm(dim=1)
    shape = [1] * changed.ndim
    shape[0 if by_row else 1] = -1
    return factor.reshape(shape)

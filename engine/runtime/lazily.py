"""The weights of a part of a base model, read one by one: two models can be compared without being in memory.

A file in the layout of the original model is mapped into memory and given diffusers' names by diffusers' own converter
(tried with 0.42): what it cuts out of the map is read when it is used. Only text encoders inside a whole checkpoint are loaded at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.loaders import single_file_model
from safetensors import SafetensorError, safe_open
from torch import Size, Tensor

from ..errors import JobError
from ..families.sources import Source
from .parts import PREFIXES, empty_part, read_part, refuse_quantized

Change = Callable[[str], str | None]


@dataclass(frozen=True)
class Weights:
    """Names as the part's class has them. Names that the class does not have may be among them."""

    shapes: Mapping[str, Size]
    read: Callable[[str], Tensor]
    """Name → the tensor, on the CPU, as it is stored."""


def open_weights(kind: Any, source: Source) -> Weights:
    """The weights of a part of this class. Reads the heads of its files; a JobError where they do not fit."""
    files = [source.file] if source.file else _files(source.config)
    own = set(empty_part(kind, source).state_dict())
    opened = {file: _open(file) for file in files}
    places = {name: (file, name) for file, head in opened.items() for name in head.keys()}  # noqa: SIM118
    refuse_quantized(files[0], places)
    change = max(_changes(), key=lambda change: len(own & {change(name) for name in places}))
    named = {ours: place for name, place in places.items() if (ours := change(name)) is not None}
    if source.file and not own <= named.keys():
        if not issubclass(kind, ModelMixin):
            return _held(_text_encoder(kind, source))
        if single_file_model._get_single_file_loadable_mapping_class(kind) is not None:
            return _held(_converted(kind, source))
    if not own & named.keys():
        raise JobError(f"{files[0].name} has no weights of a {kind.__name__}.", "It belongs to another kind of model.")
    shapes = {name: Size(opened[file].get_slice(stored).get_shape()) for name, (file, stored) in named.items()}
    return Weights(shapes, lambda name: opened[named[name][0]].get_tensor(named[name][1]))


def _changes() -> list[Change]:
    """What may have been done to a class's own names: nothing, a prefix of a program, the prefix of older CLIP classes."""

    def without(prefix: str) -> Change:
        return lambda name: name.removeprefix(prefix) if name.startswith(prefix) else None

    return [
        lambda name: name,
        *(without(prefix) for prefix in PREFIXES),
        lambda name: name.removeprefix("text_model."),
        lambda name: f"text_model.{name}",
    ]


def _files(folder: Path) -> list[Path]:
    """The files that ``from_pretrained`` reads: those of an index, else the one of the usual name."""
    for name in ("diffusion_pytorch_model.safetensors", "model.safetensors"):
        if (index := folder / f"{name}.index.json").is_file():
            return [folder / file for file in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))]
        if (folder / name).is_file():
            return [folder / name]
    raise JobError(
        f"{folder} has no .safetensors file with the weights.", "Other files can run code when they are opened. Download the model again."
    )


def _open(file: Path, backend: str = "pread") -> Any:
    try:
        return safe_open(file, framework="pt", backend=backend)
    except (SafetensorError, OSError) as error:
        raise JobError(f"{file} cannot be read: {error}.", "The download or copy did not finish: get the file again.") from error


def _converted(kind: Any, source: Source) -> dict[str, Tensor]:
    """As ``from_single_file`` names them, still in the file."""
    assert source.file
    head = _open(source.file, "mmap")
    stored = {name: head.get_tensor(name) for name in head.keys()}  # noqa: SIM118
    convert = single_file_model.SINGLE_FILE_LOADABLE_CLASSES[single_file_model._get_single_file_loadable_mapping_class(kind)][
        "checkpoint_mapping_fn"
    ]
    try:
        return convert(checkpoint=stored, config=kind.load_config(source.config, local_files_only=True))
    except (KeyError, ValueError, AttributeError, TypeError, IndexError, RuntimeError) as error:
        raise JobError(
            f"The names in {source.file.name} are not those of a {kind.__name__}: {error}.", "It belongs to another kind of model."
        ) from error


def _text_encoder(kind: Any, source: Source) -> dict[str, Tensor]:
    try:
        return read_part(kind, source, torch.float32).state_dict()
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise JobError(
            f"{source.file} has no {kind.__name__} that can be read: {error}.", "It belongs to another kind of model."
        ) from error


def _held(tensors: Mapping[str, Tensor]) -> Weights:
    return Weights({name: tensor.shape for name, tensor in tensors.items()}, tensors.__getitem__)

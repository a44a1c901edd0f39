"""What is in a LoRA file."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from ..errors import JobError

if TYPE_CHECKING:
    from torch import Tensor

    from ..network.layers import Update

_BLOCK = re.compile(r"(.*?(?:blocks?|layers)[._]\d+)[._]")


class LoraReport(BaseModel):
    """A LoRA file, in figures."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: int
    """Bytes."""
    form: str
    """Whose names are in it: diffusers, comfyui, kohya …"""
    family: str | None
    """Model family that its layers belong to, if it is known here."""
    base: str | None
    """Base model that it says it was trained on."""
    kind: str
    """lora, lokr, loha, dora, oft, embedding or decorator; several if the file has several."""
    ranks: list[int]
    """Without the layers that have none: a LoKr of whole matrices."""
    alphas: list[float]
    dtype: str
    layers: int
    """Of an embedding or a decorator, its vectors."""
    trigger: str | None
    steps: int | None
    metadata: dict[str, str]
    blocks: list[tuple[str, float]]
    """How much each block of the model is changed: Frobenius norm of the update, scale included."""


def inspect_lora(path: Path) -> LoraReport:
    """Reads a LoRA file of any form, or the file of an embedding or a decorator. Every other file is an error that says what it is."""
    from ..network.belonging import family_hint, family_in
    from ..network.decorator import read_decorator
    from ..network.embedding import read_embedding
    from ..network.formats import canonical, file_layers, form_of
    from ..network.layers import is_lora, split
    from ..network.reader import read_header, read_lora

    path = Path(path)
    if word := read_embedding(path):
        return _of_vectors(path, "embedding", *word)
    if (vectors := read_decorator(path)) is not None:
        return _of_vectors(path, "decorator", {"decorator": vectors}, read_header(path)[1])
    tensors, metadata = read_lora(path)
    layers = file_layers(tensors, metadata)
    try:
        named = split(canonical(tensors, metadata, path.name, family_hint(metadata)))
    except JobError:
        named = layers  # names that no rule knows: shown as they are
    return LoraReport(
        name=path.name,
        size=path.stat().st_size,
        form=form_of(tensors),
        family=family_in(named, metadata),
        base=metadata.get("ss_sd_model_name")
        or metadata.get("modelspec.architecture", "").removesuffix("/lora")
        or metadata.get("ss_base_model_version"),
        kind=", ".join(sorted({layer.kind for layer in layers.values()})),
        ranks=sorted({layer.rank for layer in layers.values() if layer.rank}),
        alphas=sorted({layer.alpha for layer in layers.values() if layer.rank and layer.alpha}),
        dtype=", ".join(sorted({str(t.dtype).removeprefix("torch.") for name, t in tensors.items() if is_lora(name)})),
        layers=len(layers),
        trigger=metadata.get("modelspec.trigger_phrase") or None,
        steps=_number(metadata.get("ss_steps")),
        metadata=metadata,
        blocks=_norms(named),
    )


def _of_vectors(path: Path, kind: str, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> LoraReport:
    """A learned word, or what goes with every prompt: how long its vectors are, for each text encoder."""
    from ..network.belonging import family_hint

    return LoraReport(
        name=path.name,
        size=path.stat().st_size,
        form=kind,
        family=family_hint(metadata),
        base=metadata.get("ss_sd_model_name"),
        kind=kind,
        ranks=[],
        alphas=[],
        dtype=", ".join(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})),
        layers=max(len(tensor) for tensor in tensors.values()),
        trigger=metadata.get("modelspec.trigger_phrase") or None,
        steps=_number(metadata.get("ss_steps")),
        metadata=metadata,
        blocks=[(name, tensor.double().norm().item()) for name, tensor in tensors.items()],
    )


def _norms(layers: Mapping[str, Update]) -> list[tuple[str, float]]:
    """Block → norm of its layers together, in the order of the model; layers outside blocks stand for themselves."""
    squares: defaultdict[str, float] = defaultdict(float)
    for path, layer in layers.items():
        match = _BLOCK.match(path)
        squares[match[1] if match else path] += layer.norm() ** 2
    order = sorted(squares, key=lambda name: [int(word) if word.isdigit() else word for word in re.split(r"(\d+)", name)])
    return [(name, squares[name] ** 0.5) for name in order]


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None

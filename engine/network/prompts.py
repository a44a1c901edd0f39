"""What an adapter file changes in the text encoders, for as long as prompts are encoded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from ..errors import JobError
from ..families.base import ModelFamily
from .beside import Beside
from .formats import canonical
from .keys import text_path
from .layers import Update, split
from .reader import read_lora


class TextLora:
    """The layers of a file that belong to text encoders; false where there are none."""

    def __init__(self, family: ModelFamily, path: Path):
        self._name = path.name
        tensors, metadata = read_lora(path)
        ours = {name: tensor for name, tensor in tensors.items() if name.startswith(("text_encoder", "lora_te"))}
        self._parts: dict[str, dict[str, Update]] = {}
        for name, layer in split(canonical(ours, metadata, path.name, family.name) if ours else {}).items():
            part, _, inside = name.partition(".")
            self._parts.setdefault(part, {})[inside] = layer
        if odd := sorted(self._parts.keys() - set(family.text_parts)):
            raise JobError(f"{path.name} is for a {odd[0]}, which {family.title} has not.", "It was made for another model family.")

    def __bool__(self) -> bool:
        return bool(self._parts)

    @contextlib.contextmanager
    def acting(self, family: ModelFamily, strength: float) -> Iterator[None]:
        """Inside, the text encoders of ``family``, which are loaded, are changed."""
        besides: list[Beside] = []
        try:
            for part, layers in self._parts.items():
                model = getattr(family.pipe, part)
                own = {text_path(name): name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)}
                besides.append(Beside(model, {own.get(name, name): layer for name, layer in layers.items()}, self._name))
                besides[-1].strength = strength
            yield
        finally:
            for beside in besides:
                beside.remove()

"""What an adapter file changes in the text encoders, for as long as prompts are encoded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from ..errors import JobError
from ..families.base import ModelFamily
from .beside import Beside
from .decorator import read_decorator
from .embedding import EmbeddingNetwork, TextWord, read_embedding
from .formats import canonical
from .keys import text_path
from .layers import Update, split
from .reader import read_lora


class TextChanges:
    """What a file changes in how prompts are read: a LoRA, with the word that was learned beside it, or a word alone; false where nothing."""

    def __init__(self, family: ModelFamily, path: Path):
        mate = path.with_stem(f"{path.stem}_{EmbeddingNetwork.title}")
        self.files = [path, *([mate] if mate.is_file() else [])]
        found = [TextWord(file, *word) if (word := read_embedding(file)) else None for file in self.files]
        self._changes: list[TextLora | TextWord] = [one for one in found if one]
        if found[0] is None and read_decorator(path) is None:
            self._changes.append(TextLora(family, path))

    def __bool__(self) -> bool:
        return any(self._changes)

    @contextlib.contextmanager
    def acting(self, family: ModelFamily, strength: float) -> Iterator[None]:
        """Inside, the text encoders of ``family``, which are loaded, are changed."""
        with contextlib.ExitStack() as inside:
            for one in self._changes:
                inside.enter_context(one.acting(family, strength))
            yield


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

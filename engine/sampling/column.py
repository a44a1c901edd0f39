"""What a file changes while pictures are drawn with it: the denoiser, or what goes with every prompt."""

from __future__ import annotations

from pathlib import Path

import torch

from ..families.base import ModelFamily
from ..network.decorator import DecoratorNetwork, LoadedDecorator, read_decorator
from ..network.embedding import read_embedding
from ..network.files import LoadedLora, load_lora


class Column:
    """A LoRA, a decorator or both, acting until ``remove``. A word alone changes nothing here: see ``network.prompts``."""

    def __init__(self, family: ModelFamily, path: Path, device: torch.device):
        self._loaded: list[LoadedLora | LoadedDecorator] = []
        mate = path.with_stem(f"{path.stem}_{DecoratorNetwork.title}")
        for file in (path, mate) if mate.is_file() else (path,):
            if (vectors := read_decorator(file)) is not None:
                self._loaded.append(LoadedDecorator(family, file, vectors, device))
            elif not read_embedding(file):
                self._loaded.append(load_lora(family, file))

    def act(self, strength: float) -> None:
        """From now on, this strongly."""
        for one in self._loaded:
            one.strength = strength

    def remove(self) -> None:
        """The model is the base model again."""
        for one in self._loaded:
            one.remove()

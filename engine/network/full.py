"""All weights: the model itself is trained."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import nn

from ..errors import JobError
from ..jobs import Dtype
from ..runs.safe import read_safetensors
from ..runtime.saving import save_part
from .base import Network, copy_into
from .choosing import choose
from .formats import Form


class FullNetwork(Network):
    """The model's own weights."""

    is_adapter = False

    def __init__(
        self, modules: Mapping[str, nn.Module], only: Sequence[str] = (), ignore: Sequence[str] = (), dtype: torch.dtype = torch.float32
    ):
        self.modules = dict(modules)
        weights = {f"{part}.{name}": weight for part, module in modules.items() for name, weight in module.named_parameters()}
        chosen = choose(list(weights), only, ignore, "model")
        for module in modules.values():
            module.requires_grad_(False)
        super().__init__({name: weights[name] for name in chosen}, dtype)

    def save(self, path: Path, metadata: Mapping[str, str], dtype: Dtype, form: Form, part: str | None = None) -> None:
        """A folder with a folder for each model, frozen weights included. It has one form and no metadata."""
        path.mkdir()
        for name, module in self._chosen(part).items():
            save_part(module, path / name, dtype)

    def load(self, path: Path, part: str | None = None) -> None:
        for one, module in self._chosen(part).items():
            tensors = {
                name: tensor for file in sorted((path / one).glob("*.safetensors")) for name, tensor in read_safetensors(file).items()
            }
            if not tensors:
                raise JobError(
                    f"{path} has no weights for {one}.",
                    "Choose a folder that a run with network full has saved.",
                )
            own = dict(module.named_parameters())
            if odd := sorted(set(tensors) ^ set(own)):
                raise JobError(
                    f"{path / one} is another model: {odd[0]} is in only one of them.",
                    "Choose the folder of a run with the same base model.",
                )
            for name, weight in own.items():
                copy_into(weight, tensors[name], f"{one}.{name}")

    def _chosen(self, part: str | None) -> dict[str, nn.Module]:
        return self.modules if part is None else {part: self.modules[part]}

    def disabled(self) -> contextlib.AbstractContextManager[None]:
        raise JobError("All weights are trained, so the base model is not there any more.", "Set network.type to lora.")

    def scaled(self, multiplier: float) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

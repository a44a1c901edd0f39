"""A LoRA: small matrices beside frozen weights. Tried with PEFT 0.21."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from peft import LoraConfig
from peft.functional import inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from ..errors import JobError
from ..jobs import Dtype, Lora
from .base import Network, copy_into
from .choosing import choose
from .files import write_lora
from .formats import Form, from_any
from .layers import PEFT, Layer, join, split

ADAPTER = "default"


class LoraNetwork(Network):
    """A PEFT LoRA in each chosen layer."""

    is_adapter = True

    def __init__(
        self,
        settings: Lora,
        modules: Mapping[str, nn.Module],
        targets: str,
        seed: int,
        family: str | None = None,
    ):
        self.settings, self.family = settings, family
        alpha = float(settings.rank if settings.alpha is None else settings.alpha)
        chosen = choose(
            _targets(modules, targets), settings.only_if_contains, settings.ignore_if_contains, "network"
        )
        self._layers: dict[str, LoraLayer] = {}
        for part, module in modules.items():
            module.requires_grad_(False)
            names = [name.removeprefix(f"{part}.") for name in chosen if name.startswith(f"{part}.")]
            if not names:
                continue
            # whole names: PEFT matches a plain list by endings, where "proj_out" is also the model's last layer
            pattern = "|".join(map(re.escape, names))
            config = LoraConfig(
                r=settings.rank, lora_alpha=alpha, lora_dropout=settings.dropout, target_modules=pattern
            )
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)  # PEFT draws on the CPU, whatever the device
                inject_adapter_in_model(config, module, ADAPTER)
            self._layers |= {
                f"{part}.{name}": layer
                for name, layer in module.named_modules()
                if isinstance(layer, LoraLayer)
            }
        super().__init__(
            {
                f"{path}.{end}": weight
                for path, layer in self._layers.items()
                for end, weight in zip(PEFT, _pair(layer), strict=True)
            }
        )

    def save(self, path: Path, metadata: Mapping[str, str], dtype: Dtype, form: Form) -> None:
        write_lora(path, self._canonical(), metadata, dtype, form, self.family)

    def load(self, path: Path) -> None:
        """Layers that the file lacks start fresh; layers that this run lacks are an error."""
        layers = split(from_any(path))
        for name, layer in layers.items():
            if name not in self._layers:
                raise JobError(
                    f"{path.name} has the layer {name}, which this run does not train.",
                    "Train the layers that the file has, or start a new run.",
                )
            if layer.rank != self.settings.rank:
                raise JobError(
                    f"{path.name} has rank {layer.rank}, this run wants {self.settings.rank}.",
                    f"Set network.rank to {layer.rank}, or start a new run.",
                )
        with torch.no_grad():
            for name, own in self._layers.items():
                down, up = _pair(own)
                if name not in layers:
                    up.zero_()
                    continue
                copy_into(down, layers[name].down, name)
                copy_into(up, layers[name].up, name)
                if (ratio := layers[name].scale / own.scaling[ADAPTER]) != 1:
                    up.mul_(ratio)

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        for layer in self._layers.values():
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self._layers.values():
                layer.enable_adapters(True)

    @contextlib.contextmanager
    def scaled(self, multiplier: float) -> Iterator[None]:
        before = {name: layer.scaling[ADAPTER] for name, layer in self._layers.items()}
        for name, layer in self._layers.items():
            layer.scaling[ADAPTER] = before[name] * multiplier
        try:
            yield
        finally:
            for name, layer in self._layers.items():
                layer.scaling[ADAPTER] = before[name]

    def _canonical(self) -> dict[str, Tensor]:
        layers = {}
        for name, layer in self._layers.items():
            down, up = (weight.detach().cpu() for weight in _pair(layer))
            layers[name] = Layer(down, up, float(layer.lora_alpha[ADAPTER]))
        return join(layers)


def _targets(modules: Mapping[str, nn.Module], targets: str) -> list[str]:
    """Names of the layers that can carry a LoRA and whose name matches."""
    kinds = (nn.Linear, nn.Conv2d)  # quantized layers are kinds of nn.Linear
    names = [
        f"{part}.{name}"
        for part, module in modules.items()
        for name, layer in module.named_modules()
        if isinstance(layer, kinds) and re.fullmatch(targets, name)
    ]
    if not names:
        raise JobError(
            "This model has no layer that its family trains.",
            "Check model.arch: the model may belong to another family.",
        )
    return names


def _pair(layer: LoraLayer) -> tuple[nn.Parameter, nn.Parameter]:
    return layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight

"""Finished adapters beside the layers of a model: to draw with, and to train on top of. Every kind, on weights of any precision.

They are hooks on the layers themselves, so that the model keeps its modules, several can act at once, and a network
that is trained can be attached and taken away around them. B batch, D features in, O features out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from itertools import chain
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.integrations import dequantize_module_weight
from torch import Tensor, nn

from ..errors import JobError
from .kinds import Kronecker, product
from .layers import Layer, Update
from .turning import Turn, turned

Kind = TypeVar("Kind", bound=Update)


class Beside:
    """Adapters on some layers of a model, until ``remove``. Their weights are frozen; gradients go through."""

    def __init__(self, model: nn.Module, layers: Mapping[str, Update], name: str = "The file"):
        """``layers`` by the names of the model's modules. A layer that it has not, or of another size, is an error."""
        self.strength = 1.0
        """1 is as trained, 0 is the base model."""
        found = {path: module for path, module in model.named_modules() if path in layers}
        modules = {path: m.get_base_layer() if isinstance(m, BaseTunerLayer) else m for path, m in found.items()}
        for path, layer in layers.items():
            check_fits(modules.get(path), path, layer, name)
        self._hooks = [
            modules[path].register_forward_hook(self._hook(_moved(layer, _device(modules[path])))) for path, layer in layers.items()
        ]

    def remove(self) -> None:
        """The model is as it was before."""
        while self._hooks:
            self._hooks.pop().remove()

    def _hook(self, layer: Update) -> Callable[..., Tensor | None]:
        change = _decomposed if layer.kind == "dora" else _added

        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            return output + change(module, layer, inputs[0], output) * self.strength if self.strength else None

        return hook


def check_fits(module: nn.Module | None, path: str, layer: Update, name: str) -> None:
    """An error where the layer is not there, or has another size."""
    if isinstance(module, nn.Linear):
        size = (module.out_features, module.in_features)
    elif isinstance(module, nn.Conv2d):
        size = (module.out_channels, module.in_channels)
    else:
        raise JobError(f"{name} has the layer {path}, which this model has not.", "It was made for another model family.")
    height, width = layer.size
    large = module.weight[0, 0].numel() if isinstance(module, nn.Conv2d) else 1
    if height != size[0] or width not in (None, size[1], size[1] * large):  # some write the kernel into the width
        raise JobError(
            f"{name} was made for another base model: {path} does not have its size.", "Choose the base model that it was trained on."
        )


def _added(module: nn.Module, layer: Update, inputs: Tensor, output: Tensor) -> Tensor:
    """What an update adds to the output of a layer."""
    linear = isinstance(module, nn.Linear)
    if isinstance(layer, Turn):
        return _turned(module, layer, output)
    layer = _moved(layer, inputs.device, inputs.dtype)
    if isinstance(layer, Layer):
        if linear:
            return F.linear(F.linear(inputs, layer.down.flatten(1)), layer.up.flatten(1)) * layer.scale
        down = layer.down.reshape(layer.rank, -1, *module.weight.shape[2:])
        return F.conv2d(_convolved(module, inputs, down), layer.up.reshape(*layer.up.shape[:2], 1, 1)) * layer.scale
    if linear and isinstance(layer, Kronecker):
        small, large = product(layer.small) * layer.scale, product(layer.large)
        return torch.matmul(small, F.linear(inputs.unflatten(-1, (small.shape[1], large.shape[1])), large)).flatten(-2)
    delta = layer.delta()
    return F.linear(inputs, delta) if linear else _convolved(module, inputs, delta.reshape(module.weight.shape))


def _decomposed(module: nn.Module, layer: Update, inputs: Tensor, output: Tensor) -> Tensor:
    """What DoRA changes in the output of a layer: the rows of the changed weight, or its columns, get their lengths."""
    assert isinstance(layer, Layer) and layer.magnitude is not None
    weight = dequantize_module_weight(module).float()
    changed = layer.onto(weight)
    by_row = layer.magnitude.ndim == 1
    length = changed.flatten(1).norm(dim=1) if by_row else changed.transpose(0, 1).flatten(1).norm(dim=1)
    factor = (layer.magnitude.flatten().to(length) / length).to(inputs.dtype)
    wide = (1, -1, 1, 1) if isinstance(module, nn.Conv2d) else (-1,)
    if not by_row:
        scaled = inputs * factor.reshape(wide)
        return module.forward(scaled) + _added(module, layer, scaled, output) - output
    bias = 0 if module.bias is None else module.bias.to(output.dtype).reshape(wide)
    return (output - bias + _added(module, layer, inputs, output)) * factor.reshape(wide) + bias - output


def _turned(module: nn.Module, layer: Turn, output: Tensor) -> Tensor:
    """What an OFT changes in the output of a layer."""
    change = turned(output, layer.change, module)
    if layer.rescale is None:
        return change
    wide = (1, -1, 1, 1) if isinstance(module, nn.Conv2d) else (-1,)
    bias = 0 if module.bias is None else module.bias.to(output.dtype).reshape(wide)
    return (output - bias + change) * layer.rescale.to(output.dtype).reshape(wide) + bias - output


def _convolved(module: nn.Module, inputs: Tensor, weight: Tensor) -> Tensor:
    return F.conv2d(inputs, weight, None, module.stride, module.padding, module.dilation, module.groups)


def _device(module: nn.Module) -> torch.device:
    return next(chain(module.parameters(), module.buffers())).device  # a packed weight is a buffer


def _moved(layer: Kind, device: torch.device, dtype: torch.dtype | None = None) -> Kind:
    """The same layer with its tensors elsewhere; nothing is copied where they are there already."""

    def move(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.to(device, dtype)
        return tuple(map(move, value)) if isinstance(value, tuple) else value

    return replace(layer, **{field.name: move(getattr(layer, field.name)) for field in fields(layer)})  # type: ignore[type-var, arg-type]

"""Frozen weights that stay in the computer's memory and come to the device when their layer computes.

Of a fraction of the blocks, each linear layer is streamed: its weight is copied host to device for the forward pass, and
once more for the backward pass, and never back, since it does not change. What the device keeps is one layer in use and
the one after it, which is copied meanwhile. B batch, D features in, O features out.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import JobError
from .quantize import is_quantized


def offload(module: nn.Module, fraction: float, device: torch.device) -> list[str]:
    """Streams the linear layers of that share of the blocks to ``device``; names of the blocks. The rest stays where it is.

    Which blocks: the same ones each time, spread evenly, so that there is always something to compute while one is copied.
    """
    chosen = blocks_away(module, fraction)
    conveyor = Conveyor(device)
    for block, part in chosen.items():
        for name, layer in part.named_modules():
            if isinstance(layer, nn.Linear):
                _check(layer, f"{block}.{name}")
                Streamed(layer, conveyor)
    return list(chosen)


def blocks_away(module: nn.Module, fraction: float) -> dict[str, nn.Module]:
    """The blocks whose linear layers are streamed."""
    blocks = blocks_of(module)
    return {name: part for index, (name, part) in enumerate(blocks.items()) if int((index + 1) * fraction) > int(index * fraction)}


def blocks_of(module: nn.Module) -> dict[str, nn.Module]:
    """The blocks that a model repeats: those that diffusers knows as such, else the members of its lists."""
    repeated = getattr(module, "_repeated_blocks", None)
    if repeated and (found := {name: part for name, part in module.named_modules() if type(part).__name__ in repeated}):
        return found
    lists = {name: part for name, part in module.named_children() if isinstance(part, nn.ModuleList)}
    return {f"{name}.{index}": block for name, part in lists.items() for index, block in enumerate(part)}


def _check(layer: nn.Linear, name: str) -> None:
    if is_quantized(layer) and not type(layer).__module__.startswith("optimum."):
        raise JobError(
            f"{name} is quantized in a way that cannot be offloaded.",
            "Set model.qtype to qfloat8, qint8 or qint4, or model.layer_offloading to false.",
        )


class Conveyor:
    """Copies weights to the device, one ahead: after each copy it begins the one that followed last time."""

    def __init__(self, device: torch.device):
        self.device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._after: dict[tuple[int, bool], tuple[Streamed, bool]] = {}
        self._last: tuple[int, bool] | None = None
        self._coming: dict[int, tuple[Tensor, Any]] = {}

    def take(self, streamed: Streamed, backward: bool) -> Tensor:
        """The layer's weight on the device. The passes are told apart, since each has an order of its own."""
        this = (id(streamed), backward)
        if self._last is not None:
            self._after[self._last] = (streamed, backward)
        self._last = this
        weight = self._arrived(streamed)
        if self._stream and (following := self._after.get(this)):
            self._begin(following[0])
        return weight

    def _arrived(self, streamed: Streamed) -> Tensor:
        weight, event = self._coming.pop(id(streamed), (None, None))
        if weight is None:
            return streamed.weight.to(self.device)
        torch.cuda.current_stream(self.device).wait_event(event)
        for tensor in _inside(weight):
            tensor.record_stream(torch.cuda.current_stream(self.device))
        return weight

    def _begin(self, streamed: Streamed) -> None:
        if id(streamed) in self._coming:
            return
        with torch.cuda.stream(self._stream):
            weight = streamed.weight.to(self.device, non_blocking=True)
            event = torch.cuda.Event()
            event.record()
        self._coming[id(streamed)] = (weight, event)


class Streamed:
    """A linear layer, plain or of optimum-quanto, whose weight stays in memory. ``to`` moves its other tensors only."""

    def __init__(self, layer: nn.Linear, conveyor: Conveyor):
        self.layer, self.conveyor = layer, conveyor
        layer.weight = nn.Parameter(layer.weight.detach().to("cpu"), requires_grad=False)
        if conveyor.device.type == "cuda":
            _pin(layer.weight)
        self._move = layer._apply
        setattr(layer, "_apply", self._apply)  # noqa: B010
        setattr(layer, "forward", self.forward)  # noqa: B010

    @property
    def weight(self) -> Tensor:
        return self.layer.weight.detach()

    def forward(self, inputs: Tensor) -> Tensor:
        return _Linear.apply(inputs, self.layer.bias, self)

    def _apply(self, change: Any, recurse: bool = True) -> nn.Module:
        weight = self.layer._parameters.pop("weight")
        try:
            return self._move(change, recurse)
        finally:
            self.layer._parameters["weight"] = weight


class _Linear(torch.autograd.Function):
    """inputs @ weight.T + bias, with gradients for the inputs alone."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, bias: Tensor | None, streamed: Streamed) -> Tensor:
        ctx.streamed, ctx.dtype = streamed, inputs.dtype
        return F.linear(inputs, streamed.conveyor.take(streamed, backward=False), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradients[0]
        weight = ctx.streamed.conveyor.take(ctx.streamed, backward=True)
        if type(weight) is Tensor:
            weight = weight.to(gradient.dtype)  # under autocast
        return torch.matmul(gradient, weight).to(ctx.dtype), None, None


def _inside(tensor: Tensor) -> list[Tensor]:
    """The tensors that a quantized weight is made of; a plain one is made of itself."""
    if not hasattr(tensor, "__tensor_flatten__"):
        return [tensor]
    names, _ = tensor.__tensor_flatten__()
    return [inner for name in names for inner in _inside(getattr(tensor, name))]


def _pin(tensor: Tensor) -> None:
    for inner in _inside(tensor):
        inner.data = inner.data.pin_memory()

"""What is left out of an adapter at random while it learns. Formulas of kohya and LyCORIS; PEFT's own differ in what they scale.

B batch, R rank, O features out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

Hook = Callable[[Any, tuple[Any, ...], Tensor], Tensor | None]


def leave_out(layers: Iterable[nn.Module], share: float) -> None:
    """In training, each of these PEFT layers is its base layer alone, so often. Its gradients are zero then, and not missing."""

    def hook(layer: Any, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        # drawn on the processor, so that nobody waits; checkpointing sets the generator back before it computes again
        if not layer.training or torch.rand(1).item() >= share:
            return None
        return layer.get_base_layer()(*inputs) + 0 * output

    for layer in layers if share else ():
        layer.register_forward_hook(hook)


def drop_ranks(down: nn.Module, share: float) -> None:
    """In training, so many of the ranks of each item of the batch are nothing, and the others count more."""

    def hook(layer: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
        if not layer.training:
            return None
        rank = output.shape[1] if isinstance(layer, nn.Conv2d) else output.shape[-1]
        kept = (torch.rand(len(output), rank, device=output.device) > share).to(output.dtype)
        return output * kept.view(_shape(layer, output, rank)) / (1 - share)

    if share:
        down.register_forward_hook(hook)


def _shape(layer: nn.Module, output: Tensor, rank: int) -> list[int]:
    ones = [1] * (output.ndim - 2)
    return [len(output), rank, *ones] if isinstance(layer, nn.Conv2d) else [len(output), *ones, rank]


class RowDropout:
    """Before a LyCORIS layer of PEFT: in training, so many rows of the update are nothing."""

    dropped_rows = 0.0
    training: bool

    def _get_delta_activations(self, adapter_name: str, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        added: Tensor = super()._get_delta_activations(adapter_name, input, *args, **kwargs)  # type: ignore[misc]
        if not self.training or not self.dropped_rows:
            return added
        linear = isinstance(self.get_base_layer(), nn.Linear)  # type: ignore[attr-defined]
        rows = added.shape[-1 if linear else 1]
        kept = (torch.rand(rows, device=added.device) > self.dropped_rows).to(added.dtype)
        return added * (kept if linear else kept.view(-1, *[1] * (added.ndim - 2)))

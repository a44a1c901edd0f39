"""Weights as integers of 2 to 7 bits: of each 64 in a row there is the step between two integers, and the integer that is zero.

The numbers are those of ``UIntXWeightOnlyConfig`` in torchao 0.10, bit for bit, since adapters were trained to make up for
just these errors: all arithmetic is in the precision that the weights come in, rounded after each operation. Layers whose
rows do not divide by 64 are not quantized there, and not here. The weights stay packed; each pass unpacks a layer's.

O features out, D features in, G groups of a row.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUP = 64
PIECES = (4, 2, 1)
"""Numbers of bits that fill a byte without rest: an integer is stored in such pieces."""


class AffineLinear(nn.Linear):
    """A linear layer with a packed weight, which cannot be trained. Gradients for its inputs go through."""

    def __init__(self, bits: int, in_features: int, packed: Tensor, step: Tensor, zero: Tensor, bias: Tensor | None = None):
        """``packed`` as ``pack`` makes it; ``step`` and ``zero`` [O, G]."""
        nn.Module.__init__(self)  # a linear layer would make a weight
        self.bits, self.in_features, self.out_features = bits, in_features, len(step)
        self.register_buffer("packed", packed)
        self.register_buffer("step", step)
        self.register_buffer("zero", zero)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    @classmethod
    def of(cls, layer: nn.Linear, bits: int) -> AffineLinear:
        """ValueError if its rows cannot be divided into groups."""
        codes, step, zero = quantize_affine(layer.weight.detach(), bits)
        return cls(bits, layer.in_features, pack(codes, bits), step, zero, None if layer.bias is None else layer.bias.detach())

    @property
    def weight(self) -> Tensor:
        """As it counts, [O, D], made anew each time."""
        return dequantize_affine(self.packed, self.step, self.zero, self.bits)

    def forward(self, inputs: Tensor) -> Tensor:
        return _Linear.apply(inputs, self.bias, self.packed, self.step, self.zero, self.bits)


class _Linear(torch.autograd.Function):
    """inputs @ weight.T + bias, with gradients for the inputs alone. Between the passes only the packed weight is kept."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, bias: Tensor | None, packed: Tensor, step: Tensor, zero: Tensor, bits: int) -> Tensor:
        ctx.save_for_backward(packed, step, zero)
        ctx.bits, ctx.dtype = bits, inputs.dtype
        return F.linear(inputs, dequantize_affine(packed, step, zero, bits), bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        packed, step, zero = ctx.saved_tensors
        weight = dequantize_affine(packed, step, zero, ctx.bits).to(gradients[0].dtype)  # another one under autocast
        return torch.matmul(gradients[0], weight).to(ctx.dtype), None, None, None, None, None


def quantize_affine(weight: Tensor, bits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Integers [O, D], steps and zeros [O, G] of a weight; a value is (integer - zero) * step.

    Each group's steps span its smallest to its largest value, and zero in any case, which is kept exactly.
    """
    if weight.shape[1] % GROUP:
        raise ValueError(f"its {weight.shape[1]} inputs do not divide by {GROUP}")
    groups, top = weight.unflatten(1, (-1, GROUP)), 2**bits - 1
    low, high = groups.amin(2).clamp(max=0), groups.amax(2).clamp(min=0)
    step = ((high - low) / top).clamp(min=torch.finfo(torch.float32).eps)
    zero = (0 - (low / step).round()).clamp(0, top)
    codes = ((groups * (1.0 / step)[..., None]).round() + zero[..., None]).clamp(0, top)
    return codes.flatten(1).to(torch.uint8), step, zero.to(torch.uint8)


def dequantize_affine(packed: Tensor, step: Tensor, zero: Tensor, bits: int) -> Tensor:
    """The weight [O, D], in the precision of ``step``."""
    codes = unpack(packed, bits, step.numel() * GROUP).view(*step.shape, GROUP)
    return ((codes.to(step.dtype) - zero.to(step.dtype)[..., None]) * step[..., None]).flatten(1)


def pack(codes: Tensor, bits: int) -> Tensor:
    """Integers below 2**bits as bytes without gaps: first the lowest bits of all, in pieces; then the next."""
    flat, low, parts = codes.flatten(), 0, []
    for width in _pieces(bits):
        piece = ((flat >> low) & (2**width - 1)).view(-1, 8 // width)
        parts.append((piece << _places(width, flat.device)).sum(1, dtype=torch.uint8))
        low += width
    return torch.cat(parts)


def unpack(packed: Tensor, bits: int, count: int) -> Tensor:
    """The first ``count`` integers of ``pack``."""
    codes, low = packed.new_zeros(count), 0
    for width, part in zip(_pieces(bits), packed.split([count * width // 8 for width in _pieces(bits)]), strict=True):
        codes |= ((part[:, None] >> _places(width, packed.device)) & (2**width - 1)).flatten() << low
        low += width
    return codes


def _pieces(bits: int) -> list[int]:
    return [width for width in PIECES if bits & width]


def _places(width: int, device: torch.device) -> Tensor:
    return torch.arange(0, 8, width, dtype=torch.uint8, device=device)

"""What an OFT is, as numbers. O features out = K blocks of N; [K, N, N] are its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ..errors import JobError
from .layers import OFT, RESCALE, Update, _rows, cannot, half


def turning(blocks: Tensor, most: float = 0.0) -> Tensor:
    """How far the blocks' rotations are from none, R - 1, with R = (1 + Q)(1 - Q)^-1 and Q = B - B'. ``most``: the largest norm of all Q; 0 is no limit."""
    with torch.autocast(blocks.device.type, enabled=False):
        skew = blocks.float() - blocks.float().transpose(1, 2)
        if most > 0:
            skew = skew * (most / (skew.norm() + 1e-8)).clamp(max=1)
        one = torch.eye(blocks.shape[-1], device=blocks.device)
        # a skew matrix minus one can always be inverted, so nobody has to wait for the answer whether it could
        return (one + skew) @ torch.linalg.inv_ex(one - skew)[0] - one


def turned(answer: Tensor, change: Tensor, layer: nn.Module) -> Tensor:
    """What is added to the answer of a layer whose weight is turned. A bias is not turned with it."""
    place = 1 if isinstance(layer, nn.Conv2d) else -1
    plain = answer.movedim(place, -1)
    if (bias := getattr(layer, "bias", None)) is not None:
        plain = plain - bias.to(plain.dtype)
    blocks = plain.unflatten(-1, change.shape[:2])
    return torch.einsum("knm,...kn->...km", change.to(plain.dtype), blocks).flatten(-2).movedim(-1, place)


@dataclass(frozen=True)
class Turn(Update):
    """Rows of the weight, turned block by block, and then made longer where ``rescale`` says so."""

    blocks: Tensor
    """[K, N, N]"""
    alpha: float = 0.0
    """Here no scale, but a limit to how far all is turned; 0 is none."""
    rescale: Tensor | None = None
    """[O, 1]"""

    @property
    def kind(self) -> str:
        return "oft"

    @property
    def size(self) -> tuple[int, int | None]:
        return self.blocks.shape[0] * self.blocks.shape[1], None

    @property
    def rank(self) -> int:
        return self.blocks.shape[1]

    @property
    def scale(self) -> float:
        return 1.0

    @property
    def change(self) -> Tensor:
        return turning(self.blocks, self.alpha)

    def delta(self) -> Tensor:
        raise JobError("An OFT turns the weights of a base model, and is no change by itself.", "Give the base model along, or use a LoRA.")

    def onto(self, weight: Tensor) -> Tensor:
        rows = weight.unflatten(0, self.blocks.shape[:2])
        changed = weight + torch.einsum("knm,kn...->km...", self.change.to(weight), rows).flatten(0, 1)
        return changed if self.rescale is None else changed * self.rescale.to(weight).reshape(-1, *[1] * (weight.ndim - 1))

    def norm(self) -> float:
        """Of the rotation's distance from none, whatever the weights are."""
        return self.change.double().norm().item()

    def take(self, name: str, pieces: Sequence[tuple[int, int]]) -> Turn:
        high = self.blocks.shape[1]
        if self.alpha or any(edge % high for piece in pieces for edge in piece):
            raise cannot(name, self.kind)
        blocks = _rows(self.blocks, [(start // high, end // high) for start, end in pieces])
        return replace(self, blocks=blocks, rescale=None if self.rescale is None else _rows(self.rescale, pieces))

    def tensors(self, endings: tuple[str, str]) -> dict[str, Tensor]:
        return {OFT: self.blocks} | ({} if self.rescale is None else {RESCALE: self.rescale})


def turn_of(path: str, parts: Mapping[str, Tensor], alpha: float | None) -> Turn:
    """From tensors by LyCORIS' endings."""
    if OFT not in parts:
        raise half(path)
    blocks = parts[OFT]
    if blocks.ndim != 3 or blocks.shape[1] != blocks.shape[2]:
        raise JobError(f"The layer {path} is a BOFT, which is not supported.", "Files of LoRA, LoKr, LoHa, DoRA and OFT can be read.")
    rescale = parts.get(RESCALE)
    return Turn(blocks, alpha or 0.0, None if rescale is None else rescale.reshape(-1, 1))

"""Several layers as one on top of each other, and back, with exactly the same update.

Heights are counted in widths of the input, so that a table needs no sizes: FLUX's ``qkv`` is (1, 1, 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from ..errors import JobError
from .layers import Layer


def fuse(name: str, parts: Mapping[int, Layer], rows: Sequence[int]) -> Layer:
    """One layer from its parts; parts that are not there change nothing.

    Parts with a down of their own give a block-diagonal up and the sum of their ranks; parts that share one keep
    the rank.
    """
    first = next(iter(parts.values()))
    width = first.down.shape[1]
    for position, part in parts.items():
        if tuple(part.down.shape[1:]) != (width,) or part.up.shape[0] != rows[position] * width:
            raise JobError(
                f"The sizes of the layers in {name} do not fit each other.",
                "The LoRA may belong to another model family.",
            )
    if any(part.scale != first.scale for part in parts.values()):
        parts = {position: part.folded() for position, part in parts.items()}
        first = next(iter(parts.values()))
    shared = all(part.alpha == first.alpha and torch.equal(part.down, first.down) for part in parts.values())
    ups = [
        parts[i].up if i in parts else first.up.new_zeros(height * width, first.rank if shared else 0)
        for i, height in enumerate(rows)
    ]
    if shared:
        return Layer(first.down, torch.cat(ups), first.alpha)
    down = torch.cat([parts[i].down for i in range(len(rows)) if i in parts])
    return Layer(down, torch.block_diag(*ups), first.alpha * down.shape[0] / first.rank)


def cut(name: str, layer: Layer, rows: Sequence[int]) -> dict[int, Layer]:
    """The parts of a fused layer, by place. One that changes nothing is left out, unless none does."""
    width = layer.down.shape[1]
    heights = [height * width for height in rows]
    if layer.down.ndim != 2 or layer.up.shape[0] != sum(heights):
        raise JobError(
            f"{name} has {layer.up.shape[0]} rows where {sum(heights)} belong.",
            "The LoRA may belong to another model family.",
        )
    ups = dict(enumerate(layer.up.split(heights)))
    ups = {i: up for i, up in ups.items() if up.any()} or ups
    each, rest = divmod(layer.rank, len(ups))
    blocks = {i: slice(k * each, (k + 1) * each) for k, i in enumerate(ups)}
    if not rest and torch.equal(
        torch.block_diag(*(up[:, blocks[i]] for i, up in ups.items())), torch.cat(list(ups.values()))
    ):
        alpha = layer.alpha * each / layer.rank
        return {
            i: Layer(layer.down[blocks[i]].contiguous(), up[:, blocks[i]].contiguous(), alpha)
            for i, up in ups.items()
        }
    return {i: Layer(layer.down, up.contiguous(), layer.alpha) for i, up in ups.items()}


def swap_halves(layer: Layer) -> Layer:
    """The update of a weight whose upper and lower half have changed places."""
    upper, lower = layer.up.chunk(2)
    return replace(layer, up=torch.cat([lower, upper]))

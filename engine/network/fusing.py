"""Several layers as one on top of each other, and back, with exactly the same update.

Heights are counted in widths of the input, so that a table needs no sizes: FLUX's ``qkv`` is (1, 1, 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise

import torch

from ..errors import JobError
from .layers import Layer, Update, cannot


def fuse(name: str, parts: Mapping[int, Layer], rows: Sequence[int | Fraction]) -> Layer:
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
        parts[i].up if i in parts else first.up.new_zeros(int(height * width), first.rank if shared else 0) for i, height in enumerate(rows)
    ]
    if shared:
        return Layer(first.down, torch.cat(ups), first.alpha)
    down = torch.cat([parts[i].down for i in range(len(rows)) if i in parts])
    return Layer(down, torch.block_diag(*ups), first.alpha * down.shape[0] / first.rank)


def cut(name: str, layer: Update, rows: Sequence[int | Fraction]) -> dict[int, Update]:
    """The parts of a fused layer, by place. Of a LoRA, one that changes nothing is left out, unless none does."""
    height, width = layer.size
    if width is None:  # how high the parts are is counted in widths
        raise cannot(name, layer.kind)
    heights = [int(part * width) for part in rows]
    if height != sum(heights):
        raise JobError(
            f"{name} has {height} rows where {sum(heights)} belong.",
            "The LoRA may belong to another model family.",
        )
    if layer.kind != "lora" or not isinstance(layer, Layer):
        edges = [0, *accumulate(heights)]
        return {i: layer.take(name, [piece]) for i, piece in enumerate(pairwise(edges))}
    ups = dict(enumerate(layer.up.split(heights)))
    ups = {i: up for i, up in ups.items() if up.any()} or ups
    each, rest = divmod(layer.rank, len(ups))
    blocks = {i: slice(k * each, (k + 1) * each) for k, i in enumerate(ups)}
    if not rest and torch.equal(torch.block_diag(*(up[:, blocks[i]] for i, up in ups.items())), torch.cat(list(ups.values()))):
        alpha = layer.alpha * each / layer.rank
        return {i: Layer(layer.down[blocks[i]].contiguous(), up[:, blocks[i]].contiguous(), alpha) for i, up in ups.items()}
    own = {i: up.flatten(1).any(dim=0) for i, up in ups.items()}
    if all(columns.any() for columns in own.values()) and sum(columns.int() for columns in own.values()).max() <= 1:
        return {i: Layer(layer.down[own[i]], up[:, own[i]], layer.alpha * int(own[i].sum()) / layer.rank) for i, up in ups.items()}
    return {i: Layer(layer.down.clone(), up.contiguous(), layer.alpha) for i, up in ups.items()}  # files hold no tensor twice


def swap_halves(name: str, layer: Update) -> Update:
    """The update of a weight whose upper and lower half have changed places."""
    height = layer.size[0]
    return layer.take(name, [(height // 2, height), (0, height // 2)])

"""LoKr and LoHa: updates that are products of another kind. Formulas and names of LyCORIS, as ComfyUI reads them.

O features out, D features in, R rank. A LoKr cuts them into O = L K and D = M N.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import JobError
from .layers import Update, _rows, cannot, half, unfit

Factor = tuple[Tensor, ...]
"""A whole matrix, or two whose product it is; or those two and the core of a convolution between them."""


def product(factor: Factor) -> Tensor:
    """The matrix that a factor stands for, [out, in] or [out, in, height, width]."""
    if len(factor) == 3:  # both matrices have the rank first, unlike those without a core
        return torch.einsum("i j ..., i p, j r -> p r ...", factor[2], factor[0], factor[1]).contiguous()
    return factor[0] @ factor[1] if len(factor) == 2 else factor[0]


@dataclass(frozen=True)
class Kronecker(Update):
    """LoKr: the Kronecker product of a small and a large factor. Each value of the small one is a block of the update."""

    small: Factor
    """[L, M]"""
    large: Factor
    """[K, N], for a convolution [K, N, height, width] or flat."""
    alpha: float

    @property
    def kind(self) -> str:
        return "lokr"

    @property
    def rank(self) -> int | None:
        return next((factor[1].shape[0] for factor in (self.large, self.small) if len(factor) > 1), None)

    @property
    def size(self) -> tuple[int, int]:
        small, large = product(self.small), product(self.large)
        return small.shape[0] * large.shape[0], small.shape[1] * large.shape[1]

    def delta(self) -> Tensor:
        small, large = product(self.small), product(self.large)
        return torch.kron(small.reshape(*small.shape, *(1 for _ in large.shape[2:])), large) * self.scale

    def norm(self) -> float:
        """Without making it: norms of factors multiply."""
        return product(self.small).double().norm().item() * product(self.large).double().norm().item() * abs(self.scale)

    def take(self, name: str, pieces: Sequence[tuple[int, int]]) -> Kronecker:
        height = product(self.large).shape[0]
        if any(edge % height for piece in pieces for edge in piece):
            raise cannot(name, self.kind)
        blocks = [(start // height, end // height) for start, end in pieces]
        return replace(self, small=(_rows(self.small[0], blocks), *self.small[1:]))

    def tensors(self, endings: tuple[str, str]) -> dict[str, Tensor]:
        return {**_named("lokr_w1", "", self.small), **_named("lokr_w2", "lokr_t2", self.large)}


@dataclass(frozen=True)
class Hadamard(Update):
    """LoHa: the product, value by value, of two matrices of low rank."""

    first: Factor
    """[O, D]"""
    second: Factor
    """[O, D]"""
    alpha: float

    @property
    def kind(self) -> str:
        return "loha"

    @property
    def rank(self) -> int:
        return self.first[1].shape[0]

    @property
    def size(self) -> tuple[int, int]:
        rows = self.first[0].shape[0 if len(self.first) == 2 else 1]
        return rows, self.first[1].shape[1]

    def delta(self) -> Tensor:
        return product(self.first) * product(self.second) * self.scale

    def take(self, name: str, pieces: Sequence[tuple[int, int]]) -> Hadamard:
        if len(self.first) > 2:
            raise cannot(name, self.kind)
        first, second = ((_rows(factor[0], pieces), factor[1]) for factor in (self.first, self.second))
        return replace(self, first=first, second=second)

    def tensors(self, endings: tuple[str, str]) -> dict[str, Tensor]:
        return {**_named("hada_w1", "hada_t1", self.first), **_named("hada_w2", "hada_t2", self.second)}


Kind = TypeVar("Kind", Kronecker, Hadamard)


def kronecker_of(path: str, parts: Mapping[str, Tensor], alpha: float | None) -> Kronecker:
    """From tensors by LyCORIS' endings. Without an alpha the scale is 1."""
    layer = Kronecker(_factor(path, parts, "lokr_w1", ""), _factor(path, parts, "lokr_w2", "lokr_t2"), 1.0)
    return _checked(path, layer, parts, alpha)


def hadamard_of(path: str, parts: Mapping[str, Tensor], alpha: float | None) -> Hadamard:
    """The same for LoHa."""
    layer = Hadamard(_factor(path, parts, "hada_w1", "hada_t1"), _factor(path, parts, "hada_w2", "hada_t2"), 1.0)
    return _checked(path, layer, parts, alpha)


def _factor(path: str, parts: Mapping[str, Tensor], name: str, core: str) -> Factor:
    if name in parts:
        return (parts[name],)
    if f"{name}_a" not in parts or f"{name}_b" not in parts:
        raise half(path)
    return (parts[f"{name}_a"], parts[f"{name}_b"], *([parts[core]] if core in parts else []))


def _checked(path: str, layer: Kind, parts: Mapping[str, Tensor], alpha: float | None) -> Kind:
    if "magnitude" in parts:
        raise JobError(f"The {layer.kind} of {path} also has a DoRA, which is not supported.", "Use it in ComfyUI.")
    layer = replace(layer, alpha=float(layer.rank or 1) if alpha is None else alpha)
    bones: dict[str, Any] = {name: tuple(t.to("meta") for t in value) for name, value in vars(layer).items() if name != "alpha"}
    try:
        replace(layer, **bones).delta()  # of sizes alone
    except (RuntimeError, IndexError) as error:
        raise unfit(path) from error
    return layer


def _named(name: str, core: str, factor: Factor) -> dict[str, Tensor]:
    if len(factor) == 1:
        return {name: factor[0]}
    return {f"{name}_a": factor[0], f"{name}_b": factor[1], **({core: factor[2]} if len(factor) == 3 else {})}

"""A LoRA as layers, and the endings that the world gives their tensors. Knows no family.

D features in, O features out, R rank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..errors import JobError

PEFT = ("lora_A.weight", "lora_B.weight")
KOHYA = ("lora_down.weight", "lora_up.weight")
ENDINGS: tuple[tuple[str, str], ...] = (  # of down and up, the longer before those that they end with
    PEFT,
    KOHYA,
    ("lora_A.default.weight", "lora_B.default.weight"),
    ("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
    ("lora.down.weight", "lora.up.weight"),
    ("down.weight", "up.weight"),
)
OTHER_KINDS = {
    "LoKr": r"\.lokr_",
    "LoHa": r"\.hada_",
    "DoRA": r"\.dora_scale$|lora_magnitude_vector",
    "OFT": r"\.oft_|\.boft_",
    "full difference": r"\.(diff|diff_b|set_weight|w_norm|b_norm)$",
}


@dataclass(frozen=True)
class Layer:
    """An update of one weight: up @ down * scale."""

    down: Tensor
    """[R, D]"""
    up: Tensor
    """[O, R]"""
    alpha: float

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def folded(self) -> Layer:
        """The same update with a scale of 1."""
        return (
            self
            if self.alpha == self.rank
            else replace(self, up=self.up * self.scale, alpha=float(self.rank))
        )

    def norm(self) -> float:
        """Frobenius norm of the update, without making it: |BA|² = <BᵀB, AAᵀ>."""
        down, up = self.down.double().flatten(1), self.up.double().flatten(1)
        return max((up.T @ up).mul(down @ down.T).sum().item(), 0.0) ** 0.5 * abs(self.scale)


def is_lora(name: str) -> bool:
    """Whether a tensor of this name belongs to a LoRA."""
    return any(name.endswith(f".{ending}") for pair in ENDINGS[:-1] for ending in pair) or _is_xlabs(name)


def _is_xlabs(name: str) -> bool:
    return ".processor." in name and name.endswith((".down.weight", ".up.weight"))


def split(tensors: Mapping[str, Tensor]) -> dict[str, Layer]:
    """Layers by path. Without an ``.alpha`` the scale is 1. A tensor that fits nowhere is an error."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        path, role = _role(name)
        found.setdefault(path, {})[role] = tensor
    return {path: _layer(path, parts) for path, parts in sorted(found.items())}


def join(
    layers: Mapping[str, Layer], endings: tuple[str, str] = PEFT, alpha: bool = True
) -> dict[str, Tensor]:
    """Tensors by name; the opposite of ``split``."""
    tensors: dict[str, Tensor] = {}
    for path, layer in layers.items():
        tensors[f"{path}.{endings[0]}"], tensors[f"{path}.{endings[1]}"] = layer.down, layer.up
        if alpha:
            tensors[f"{path}.alpha"] = torch.tensor(layer.alpha, dtype=torch.float32)
    return tensors


def with_unit_scale(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same names and the same updates, with every ``.alpha`` equal to the rank."""
    endings = {_role(name)[0]: name for name in tensors if _role(name)[1] == "up"}
    changed = dict(tensors)
    for path, layer in split(tensors).items():
        changed[endings[path]] = layer.folded().up
        if f"{path}.alpha" in changed:
            changed[f"{path}.alpha"] = torch.tensor(float(layer.rank))
    return changed


def _role(name: str) -> tuple[str, str]:
    if name.endswith(".alpha"):
        return name.removesuffix(".alpha"), "alpha"
    for down, up in ENDINGS:
        for role, ending in (("down", down), ("up", up)):
            if name.endswith(f".{ending}"):
                return name.removesuffix(f".{ending}"), role
    kind = next((kind for kind, pattern in OTHER_KINDS.items() if re.search(pattern, name)), None)
    what = f"belongs to a {kind}" if kind else "is no part of a LoRA that is known here"
    raise JobError(f"The tensor {name} {what}.", "Only plain LoRA files can be read so far.")


def _layer(path: str, parts: Mapping[str, Tensor]) -> Layer:
    if "down" not in parts or "up" not in parts:
        raise JobError(
            f"The layer {path} has only half of its tensors.", "The file is damaged: get it again."
        )
    down, up = parts["down"], parts["up"]
    if down.ndim < 2 or up.ndim < 2 or down.shape[0] != up.shape[1]:
        raise JobError(
            f"The two tensors of the layer {path} do not fit each other.",
            "The file is damaged: get it again.",
        )
    return Layer(down, up, float(parts["alpha"].item()) if "alpha" in parts else float(down.shape[0]))

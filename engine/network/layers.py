"""An adapter as layers, and the endings that the world gives their tensors. Knows no family.

D features in (for a convolution: channels, height and width), O features out, R rank. The kinds beside LoRA are in
``kinds``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
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
MAGNITUDE, DORA_SCALE = "lora_magnitude_vector", "dora_scale"  # PEFT's name, and LyCORIS' and ComfyUI's
MAGNITUDES = (f"{MAGNITUDE}.default.weight", f"{MAGNITUDE}.weight", MAGNITUDE, DORA_SCALE)
LOKR = ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
OFT, RESCALE = "oft_blocks", "rescale"
LOHA = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")
OTHER_KINDS = {
    "LoCon with a core": r"\.lora_mid\.",
    "older OFT": r"\.oft_|\.boft_",
    "GLoRA": r"\.[ab][12]\.weight$",
    "full difference": r"\.(diff|diff_b|set_weight|w_norm|b_norm)$",
}


class Update(ABC):
    """What an adapter does to one weight."""

    alpha: float

    @property
    @abstractmethod
    def kind(self) -> str:
        """As in ``network.type``."""

    @property
    @abstractmethod
    def size(self) -> tuple[int, int | None]:
        """O and D, for a convolution its channels. None where the update fits any D."""

    @property
    @abstractmethod
    def rank(self) -> int | None:
        """None where there is none: the factors are whole matrices."""

    @property
    def scale(self) -> float:
        """What the update is multiplied by. A file without ranks has a scale of 1, whatever its alpha says."""
        return self.alpha / self.rank if self.rank else 1.0

    @abstractmethod
    def delta(self) -> Tensor:
        """The update itself, [O, D] or as the factors give it, scale included."""

    def onto(self, weight: Tensor) -> Tensor:
        """The weight with the update; lengths of a DoRA are not given yet."""
        return weight + self.delta().to(weight).reshape(weight.shape)

    def norm(self) -> float:
        """Frobenius norm of the update."""
        return self.delta().double().norm().item()

    @abstractmethod
    def take(self, name: str, pieces: Sequence[tuple[int, int]]) -> Update:
        """These rows of the update, from and to, one piece after the other. Not every kind has every piece."""

    @abstractmethod
    def tensors(self, endings: tuple[str, str]) -> dict[str, Tensor]:
        """By ending; alpha is not among them."""


@dataclass(frozen=True)
class Layer(Update):
    """LoRA: up @ down * scale. With a magnitude it is DoRA."""

    down: Tensor
    """[R, D]"""
    up: Tensor
    """[O, R]"""
    alpha: float
    magnitude: Tensor | None = None
    """DoRA: the length that each row of the changed weight gets, [O]; of each column where it is [1, D]."""

    @property
    def kind(self) -> str:
        return "lora" if self.magnitude is None else "dora"

    @property
    def size(self) -> tuple[int, int]:
        return self.up.shape[0], self.down.shape[1]

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    def folded(self) -> Layer:
        """The same update with a scale of 1."""
        return self if self.alpha == self.rank else replace(self, up=self.up * self.scale, alpha=float(self.rank))

    def delta(self) -> Tensor:
        return (self.up.flatten(1) @ self.down.flatten(1) * self.scale).reshape(-1, *self.down.shape[1:])

    def norm(self) -> float:
        """Without making it: |BA|² = <BᵀB, AAᵀ>."""
        down, up = self.down.double().flatten(1), self.up.double().flatten(1)
        return max((up.T @ up).mul(down @ down.T).sum().item(), 0.0) ** 0.5 * abs(self.scale)

    def take(self, name: str, pieces: Sequence[tuple[int, int]]) -> Layer:
        rows = self.magnitude is not None and self.magnitude.ndim == 1
        if self.magnitude is not None and not rows:
            raise cannot(name, self.kind)
        return replace(
            self, up=_rows(self.up, pieces), magnitude=_rows(self.magnitude, pieces) if rows and self.magnitude is not None else None
        )

    def tensors(self, endings: tuple[str, str]) -> dict[str, Tensor]:
        found = {endings[0]: self.down, endings[1]: self.up}
        if self.magnitude is None:
            return found
        by_row = self.magnitude.ndim == 1
        if endings != PEFT:
            size = (-1, *(1 for _ in self.down.shape[1:])) if by_row else self.magnitude.shape
            return found | {DORA_SCALE: self.magnitude.reshape(size)}
        if not by_row:
            raise JobError(
                "This DoRA gives its columns a length, which diffusers' names have no place for.", "Save it in the comfyui form."
            )
        return found | {MAGNITUDE: self.magnitude if self.up.ndim == 2 else self.magnitude.reshape(1, -1, 1, 1)}


def cannot(name: str, kind: str) -> JobError:
    names = {"lokr": "LoKr", "loha": "LoHa", "dora": "DoRA", "oft": "OFT"}
    return JobError(
        f"The {names.get(kind, kind)} of the layer {name} is made for several layers in one, and cannot be taken apart.",
        "Use it in the tool that it was made for.",
    )


def _rows(tensor: Tensor, pieces: Sequence[tuple[int, int]]) -> Tensor:
    return torch.cat([tensor[start:end] for start, end in pieces])


def is_lora(name: str) -> bool:
    """Whether a tensor of this name belongs to an adapter that is known here."""
    pairs = (ending for pair in ENDINGS[:-1] for ending in pair)
    return any(name.endswith(f".{ending}") for ending in (*pairs, *LOKR, *LOHA, OFT, *MAGNITUDES)) or _is_xlabs(name)


def _is_xlabs(name: str) -> bool:
    return ".processor." in name and name.endswith((".down.weight", ".up.weight"))


def split(tensors: Mapping[str, Tensor]) -> dict[str, Update]:
    """Layers by path. Without an ``.alpha`` the scale is 1. A tensor that fits nowhere is an error."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        path, role = _role(name)
        found.setdefault(path, {})[role] = tensor
    return {path: _layer(path, parts) for path, parts in sorted(found.items())}


def join(layers: Mapping[str, Update], endings: tuple[str, str] = PEFT, alpha: bool = True) -> dict[str, Tensor]:
    """Tensors by name; the opposite of ``split``. Without alphas those of LoRAs are left out: fold them before."""
    tensors: dict[str, Tensor] = {}
    for path, layer in layers.items():
        tensors |= {f"{path}.{ending}": tensor for ending, tensor in layer.tensors(endings).items()}
        if (alpha or not isinstance(layer, Layer)) and (layer.alpha or layer.kind != "oft"):
            tensors[f"{path}.alpha"] = torch.tensor(layer.alpha, dtype=torch.float32)
    return tensors


def with_unit_scale(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same names and the same updates, with every ``.alpha`` of a LoRA equal to the rank."""
    endings = {_role(name)[0]: name for name in tensors if _role(name)[1] == "up"}
    changed = dict(tensors)
    for path, layer in split(tensors).items():
        if not isinstance(layer, Layer):
            continue
        changed[endings[path]] = layer.folded().up
        if f"{path}.alpha" in changed:
            changed[f"{path}.alpha"] = torch.tensor(float(layer.rank))
    return changed


def _role(name: str) -> tuple[str, str]:
    for ending in ("alpha", *LOKR, *LOHA, OFT, RESCALE):
        if name.endswith(f".{ending}"):
            return name.removesuffix(f".{ending}"), ending
    for ending in MAGNITUDES:
        if name.endswith(f".{ending}"):
            return name.removesuffix(f".{ending}"), "magnitude"
    for down, up in ENDINGS:
        for role, ending in (("down", down), ("up", up)):
            if name.endswith(f".{ending}"):
                return name.removesuffix(f".{ending}"), role
    kind = next((kind for kind, pattern in OTHER_KINDS.items() if re.search(pattern, name)), None)
    what = f"belongs to a {kind}" if kind else "is no part of a LoRA that is known here"
    raise JobError(f"The tensor {name} {what}.", "Files of LoRA, LoKr, LoHa, DoRA and OFT can be read.")


def _layer(path: str, parts: Mapping[str, Tensor]) -> Update:
    from .kinds import hadamard_of, kronecker_of
    from .turning import turn_of

    alpha = float(parts["alpha"].item()) if "alpha" in parts else None
    if any(name in parts for name in LOKR):
        return kronecker_of(path, parts, alpha)
    if any(name in parts for name in LOHA):
        return hadamard_of(path, parts, alpha)
    if OFT in parts or RESCALE in parts:
        return turn_of(path, parts, alpha)
    if "down" not in parts or "up" not in parts:
        raise half(path)
    down, up = parts["down"], parts["up"]
    if down.ndim < 2 or up.ndim < 2 or down.shape[0] != up.shape[1]:
        raise unfit(path)
    magnitude = parts.get("magnitude")
    if magnitude is not None and magnitude.numel() == up.shape[0]:
        magnitude = magnitude.flatten()
    elif magnitude is not None and (magnitude.ndim < 2 or magnitude.numel() != down.shape[1]):
        raise unfit(path)
    return Layer(down, up, float(down.shape[0]) if alpha is None else alpha, magnitude)


def half(path: str) -> JobError:
    return JobError(f"The layer {path} has only half of its tensors.", "The file is damaged: get it again.")


def unfit(path: str) -> JobError:
    return JobError(f"The two tensors of the layer {path} do not fit each other.", "The file is damaged: get it again.")

"""Where a part of a pipeline comes from and how its weights are held, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PICKLES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl"})
"""Ends of files that can run code when they are opened, and never are."""


@dataclass(frozen=True)
class Quantization:
    """How the weights of linear layers are held in few bits."""

    kind: str
    """A name of ``jobs.base.QuantizedType``."""
    include: tuple[str, ...] = ()
    """Patterns of layers' names; none: all of them."""
    exclude: tuple[str, ...] = ()
    low_vram: bool = False
    """Layer by layer: the whole part is never on the device unquantized."""


@dataclass(frozen=True)
class Source:
    """One part: a folder with its config and weights, or a single file beside a folder with the config."""

    config: Path
    """Folder with config.json."""
    file: Path | None = None
    """A .safetensors with the weights, in the layout of diffusers or of the original model. None: they are in ``config``."""
    quantization: Quantization | None = None
    lora: Path | None = None
    """File that is added to the weights when they are loaded."""
    recovery: Path | None = None
    """Adapter that makes up for what quantization costs: only its layers are quantized, and it acts on them always."""
    offload: float = 0.0
    """Share of the blocks whose weights stay in the computer's memory."""

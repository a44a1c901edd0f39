"""torch.compile for the blocks that a model repeats: one compilation serves all of them."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator

import torch
from torch import nn

from ..events import Event, Warned


def compile_blocks(module: nn.Module, device: torch.device, backend: str = "inductor") -> Iterator[Event]:
    """Compiles at the first step; where that cannot be done, a Warned says why and nothing changes."""
    if missing := _missing(device):
        yield Warned(message=f"model.compile has no effect: it needs {missing}, which is not installed.")
        return
    try:
        module.compile_repeated_blocks(backend=backend)
    except (ValueError, AttributeError):
        yield Warned(message=f"model.compile has no effect: {type(module).__name__} names no blocks that it repeats.")


def _missing(device: torch.device) -> str | None:
    if device.type == "cuda":
        return None if importlib.util.find_spec("triton") else "the package triton"
    return None if any(shutil.which(name) for name in ("g++", "clang++", "cl")) else "a C++ compiler"

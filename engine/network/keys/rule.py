"""One line of a table of names."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """A layer of the original model, and the diffusers layers that together are the same."""

    native: str
    parts: tuple[str, ...]
    """More than one: the native layer holds them on top of each other, in this order."""
    rows: tuple[int, ...] = (1,)
    """Height of each part, in widths of its input. Read only where there are several parts."""
    swapped: bool = False
    """Upper and lower half of the output change places between the two."""

"""Names of layers, as tables: diffusers' on one side, the original model's ("native", read by ComfyUI) on the other.

A family without a table has no native form yet; SAME says that its native names are diffusers' own. ``{}`` stands for
the number of a block.
"""

from __future__ import annotations

from collections.abc import Iterable

from .dialect import Dialect, dialect_of
from .flux import FLUX
from .rule import SAME, Rule, fill, match
from .text import TEXT, text_path
from .unet import SD, SDXL

__all__ = [
    "SAME", "TABLES", "TEXT", "Dialect", "Rule", "dialect_of", "family_of", "fill", "find_diffusers", "find_native", "text_path",
]  # fmt: skip

TABLES: dict[str, tuple[Rule, ...]] = {
    "flux": FLUX,
    "sd15": SD,
    "sd21": SD,
    "sdxl": SDXL,
}


def find_diffusers(table: Iterable[Rule], path: str, flat: bool = False) -> tuple[Rule, int, tuple[str, ...]] | None:
    """The rule of a diffusers path, its place among the rule's parts, and the block numbers in it."""
    for rule in table:
        for position, part in enumerate(rule.parts):
            if (groups := match(part, path, flat)) is not None:
                return rule, position, groups
    return None


def find_native(table: Iterable[Rule], path: str, flat: bool = False) -> tuple[Rule, tuple[str, ...]] | None:
    """The rule of a native path, and the block numbers in it."""
    for rule in table:
        if (groups := match(rule.native, path, flat)) is not None:
            return rule, groups
    return None


def family_of(paths: Iterable[str], hint: str | None = None, flat: Iterable[str] = ()) -> str | None:
    """The family whose table has every one of these paths, in diffusers' names or in native ones.

    ``flat`` are paths with underscores for dots. Several families may share their names: ``hint`` is taken if it is
    one of them, else the first. A table that takes any name is chosen by ``hint`` alone.
    """
    names = [*((path, False) for path in paths), *((path, True) for path in flat)]

    def knows(table: tuple[Rule, ...]) -> bool:
        return all(find_native(table, *name) or find_diffusers(table, *name) for name in names)

    if not names:
        return None
    if hint in TABLES and knows(TABLES[hint]):
        return hint
    return next((family for family, table in TABLES.items() if not _takes_any(table) and knows(table)), None)


def _takes_any(table: tuple[Rule, ...]) -> bool:
    return any(rule.native == "*" for rule in table)

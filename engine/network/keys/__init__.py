"""Names of layers, as tables: diffusers' on one side, the original model's ("native", read by ComfyUI) on the other.

A family without a table has no native form yet. ``{}`` stands for the number of a block.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .flux import FLUX
from .rule import Rule

TABLES: dict[str, tuple[Rule, ...]] = {"flux": FLUX}


def find_diffusers(table: Iterable[Rule], path: str) -> tuple[Rule, int, tuple[str, ...]] | None:
    """The rule of a diffusers path, its place among the rule's parts, and the block numbers in it."""
    for rule in table:
        for position, part in enumerate(rule.parts):
            if (numbers := _numbers(part, path)) is not None:
                return rule, position, numbers
    return None


def find_native(table: Iterable[Rule], path: str) -> tuple[Rule, tuple[str, ...]] | None:
    """The rule of a native path, and the block numbers in it."""
    for rule in table:
        if (numbers := _numbers(rule.native, path)) is not None:
            return rule, numbers
    return None


def family_of(paths: Iterable[str]) -> str | None:
    """The family whose table has every one of these paths, in diffusers' names or in native ones."""
    paths = list(paths)
    for family, table in TABLES.items():
        if paths and all(find_diffusers(table, path) or find_native(table, path) for path in paths):
            return family
    return None


def _numbers(pattern: str, path: str) -> tuple[str, ...] | None:
    match = re.fullmatch(re.escape(pattern).replace(r"\{\}", r"(\d+)"), path)
    return match.groups() if match else None

"""One line of a table of names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache


@dataclass(frozen=True)
class Rule:
    """A layer of the original model, and the diffusers layers that together are the same.

    In names, ``{}`` stands for the number of a block and ``*`` for anything; both sides have them in the same order.
    """

    native: str
    parts: tuple[str, ...]
    """More than one: the native layer holds them on top of each other, in this order."""
    rows: tuple[int | Fraction, ...] = (1,)
    """Height of each part, in widths of its input. Read only where there are several parts."""
    swapped: bool = False
    """Upper and lower half of the output change places between the two."""


SAME: tuple[Rule, ...] = (Rule("*", ("*",)),)
"""The table of a family whose native names are diffusers' own."""


def match(pattern: str, name: str, flat: bool = False) -> tuple[str, ...] | None:
    """What stands for the ``{}`` and ``*`` of a pattern; None if the name is another.

    ``flat``: the name has underscores for dots, so that only numbers can be found in it.
    """
    found = _compiled(pattern, flat).fullmatch(name)
    return found.groups() if found else None


def fill(pattern: str, groups: Sequence[str]) -> str:
    """The opposite of ``match``."""
    values = iter(groups)
    return re.sub(r"\{\}|\*", lambda _: next(values), pattern)


@cache
def _compiled(pattern: str, flat: bool) -> re.Pattern[str]:
    if flat:  # what an underscore in anything stood for is not known any more
        pattern = "(?!)" if "*" in pattern else re.escape(pattern.replace(".", "_"))
    else:
        pattern = re.escape(pattern).replace(r"\*", "(.+)")
    return re.compile(pattern.replace(r"\{\}", r"(\d+)"))

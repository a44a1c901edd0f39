"""Which layers an adapter is put beside, and how large each is: rank and alpha, for all alike or by patterns of their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeVar

from ..errors import JobError
from ..jobs import Adapter
from .choosing import choose, near

Value = TypeVar("Value", int, float)


class Size(NamedTuple):
    rank: int
    alpha: float


def choose_layers(settings: Adapter, kernels: Mapping[str, bool]) -> list[str]:
    """Of layers that could have one, by name with whether it is a large convolution, those that get one."""
    names = [name for name, is_large in kernels.items() if not is_large or settings.conv is not None]
    return choose(names, settings.only_if_contains, settings.ignore_if_contains, "network")


def sizes_of(settings: Adapter, kernels: Mapping[str, bool]) -> dict[str, Size]:
    """The size of each layer. A pattern that fits none is an error that helps."""
    for key in ("rank_pattern", "alpha_pattern"):
        for one in getattr(settings, key):
            if not any(_fits(one, name, key) for name in kernels):
                raise JobError(f"network.{key}: {one!r} fits none of the layers that are trained.", near(one, kernels))
    return {name: _size(settings, name, is_large) for name, is_large in kernels.items()}


def _size(settings: Adapter, name: str, is_large: bool) -> Size:
    usual, scale = (settings.conv or settings.rank, settings.conv_alpha) if is_large else (settings.rank, settings.alpha)
    rank = _first(settings.rank_pattern, name, "rank_pattern", usual)
    return Size(rank, _first(settings.alpha_pattern, name, "alpha_pattern", float(rank if scale is None else scale)))


def _first(patterns: Mapping[str, Value], name: str, key: str, usual: Value) -> Value:
    return next((value for one, value in patterns.items() if _fits(one, name, key)), usual)


def _fits(one: str, name: str, key: str) -> bool:
    """As PEFT reads its rank_pattern: whole words at the end of the name."""
    try:
        return re.match(rf"(.*\.)?({one})$", name) is not None
    except re.error as error:
        raise JobError(
            f"network.{key}: {one!r} is no regular expression: {error}.", "Write the end of a layer's name, for example attn.to_q."
        ) from None


def pattern(names: Iterable[str]) -> str:
    """A regular expression of whole names: PEFT matches a plain list by endings, where "proj_out" is also the model's last layer."""
    return "|".join(map(re.escape, names))


def patterns(values: Mapping[str, Value], usual: Value) -> dict[str, Value]:
    """What PEFT is told of layers that differ from the usual, one pattern for each value."""
    by_value: dict[Value, list[str]] = {}
    for name, value in values.items():
        if value != usual:
            by_value.setdefault(value, []).append(name)
    return {f"^(?:{pattern(names)})": value for value, names in by_value.items()}

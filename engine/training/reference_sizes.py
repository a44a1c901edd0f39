"""The sizes of reference pictures that a family is shown."""

from __future__ import annotations

from collections.abc import Sequence

from ..data.scan import Item
from ..data.sizes import references
from ..data.sizes.buckets import Placed
from ..families.base import ModelFamily


def with_own_sizes(family: ModelFamily, items: Sequence[Item], placed: Sequence[Placed], last_fits: bool = False) -> list[Placed]:
    """Each with the sizes of its reference pictures, where the family keeps them. ``last_fits``: not that of the last one."""
    return references.with_own_sizes(family.reference_size if family.keeps_reference_sizes else None, items, placed, last_fits)

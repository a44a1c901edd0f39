"""The sizes of reference pictures beside those that are learned: their own, for a model that is shown them so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..data.buckets import Placed
from ..data.heads import Head, read_heads
from ..data.listing import stamped
from ..data.scan import Item
from ..families.base import ModelFamily


def with_own_sizes(family: ModelFamily, items: Sequence[Item], placed: Sequence[Placed]) -> list[Placed]:
    """Each with the sizes of its reference pictures, where the family keeps them; batches have then equal ones."""
    if not family.keeps_reference_sizes:
        return list(placed)
    files = stamped({str(path) for item in items for path in item.controls})
    heads = {path: head for (path, _), head in zip(files, read_heads(files, several=False), strict=True)}

    def sized(one: Placed) -> Placed:
        shown = tuple(_size(family, heads[str(path)], one) for path in items[one.item].controls)
        return replace(one, shown=shown, alike=(*one.alike, *(side for size in shown for side in size)))

    return [sized(one) for one in placed]


def _size(family: ModelFamily, head: Head, beside: Placed) -> tuple[int, int]:
    # one that cannot be read is said to be so where it is encoded
    return family.reference_size(head.width, head.height, beside.bucket) if head.width and head.height else beside.bucket

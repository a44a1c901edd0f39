"""The sizes of reference pictures beside those that are learned: their own, for a model that is shown them so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..files.heads import Head, read_heads
from ..files.listing import stamped
from ..scan import Item
from .buckets import Bucket, Placed

SizeOf = Callable[[int, int, Bucket], Bucket]
"""Width and height of a reference picture, and the size of the picture that it is shown beside → the size at which it is shown."""


def with_own_sizes(size_of: SizeOf | None, items: Sequence[Item], placed: Sequence[Placed], last_fits: bool = False) -> list[Placed]:
    """Each with the sizes of its reference pictures; batches have then equal ones. None: they have the size of their picture.

    ``last_fits``: the last one has it always, as the other half of a pair.
    """
    if size_of is None:
        return list(placed)
    files = stamped({str(path) for item in items for path in item.controls})
    heads = {path: head for (path, _), head in zip(files, read_heads(files, several=False), strict=True)}

    def shown(head: Head, beside: Bucket) -> Bucket:
        # one that cannot be read is said to be so where it is encoded
        return size_of(head.width, head.height, beside) if head.width and head.height else beside

    def sized(one: Placed) -> Placed:
        sizes = [shown(heads[str(path)], one.bucket) for path in items[one.item].controls]
        if last_fits:
            sizes[-1] = one.bucket
        return replace(one, shown=tuple(sizes), alike=(*one.alike, *(side for size in sizes for side in size)))

    return [sized(one) for one in placed]

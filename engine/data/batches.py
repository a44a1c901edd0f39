"""The order of a run: which pictures each batch holds. Arithmetic on (seed, step, rank, world), with no state to save."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .buckets import Bucket, Placed
from .chance import number


class Batches:
    """Batches of one bucket each, epoch after epoch; each placement comes ``repeats`` times an epoch, in a new order.

    The last batch of a bucket is filled up from the front of the bucket's order, so that all batches are of one size.
    """

    def __init__(self, placements: Sequence[Placed], batch_size: int, seed: int):
        if not placements:
            raise ValueError("There is nothing to make batches of.")
        members: dict[Bucket, list[int]] = {}
        for index, placed in enumerate(placements):
            members.setdefault(placed.bucket, []).extend([index] * placed.repeats)
        self._buckets = [np.array(members[bucket]) for bucket in sorted(members)]
        self._batch_size, self._seed = batch_size, seed
        self._epochs: dict[int, list[list[int]]] = {}
        self._length = sum(-(-len(bucket) // batch_size) for bucket in self._buckets)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch. With several workers a step takes one batch for each of them."""
        return self._length

    def at(self, step: int, rank: int = 0, world: int = 1) -> list[int]:
        """Indexes of the placements in the batch of ``step``, counted from 0, for worker ``rank`` of ``world``.

        The workers deal out one and the same sequence of batches: worker r takes number ``step * world + r`` of it.
        """
        epoch, index = divmod(step * world + rank, self._length)
        if epoch not in self._epochs:
            for old in [known for known in self._epochs if abs(known - epoch) > 1]:
                del self._epochs[old]  # workers may stand on both sides of an epoch's end
            self._epochs[epoch] = self._order(epoch)
        return list(self._epochs[epoch][index])

    def _order(self, epoch: int) -> list[list[int]]:
        batches: list[list[int]] = []
        for place, bucket in enumerate(self._buckets):
            shuffled = bucket[_permutation(len(bucket), number("pictures", self._seed, epoch, place))]
            full = -(-len(bucket) // self._batch_size) * self._batch_size
            batches += np.resize(shuffled, full).reshape(-1, self._batch_size).tolist()
        return [batches[k] for k in _permutation(len(batches), number("batches", self._seed, epoch))]


def _permutation(length: int, key: int) -> NDArray[np.int64]:
    """An order of ``length`` things that follows from ``key``: NumPy's own generators may change with its version."""
    with np.errstate(over="ignore"):  # splitmix64, whose sums are meant to wrap
        x = np.uint64(key) + np.arange(1, length + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.argsort(x ^ (x >> np.uint64(31)), kind="stable")

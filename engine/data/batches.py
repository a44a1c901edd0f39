"""The order of a run: which pictures each batch holds. Arithmetic on (seed, step, rank, world), with no state to save."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .chance import number
from .sizes.buckets import Placed

LONGEST_CYCLE = 1000
"""Batches after which the weights have come out exactly; weights that would need more are rounded to thousandths of all."""


class Batches:
    """Batches of one bucket and one pool each, epoch after epoch; each placement comes ``repeats`` times an epoch, in a new order.

    The last batch of a bucket is filled up from the front of the bucket's order, so that all batches are of one size.
    With ``weights``, one for each pool, each pool has epochs of its own, and so large a share of the batches.
    """

    def __init__(self, placements: Sequence[Placed], batch_size: int, seed: int, weights: Sequence[float | Fraction] | None = None):
        if not placements:
            raise ValueError("There is nothing to make batches of.")
        if weights is None:
            self._pools = [_Pool(placements, range(len(placements)), batch_size, seed)]
        else:
            members: list[list[int]] = [[] for _ in weights]
            for index, placed in enumerate(placements):
                members[placed.pool].append(index)
            self._pools = [_Pool(placements, some, batch_size, seed, pool) for pool, some in enumerate(members)]
        self._shares = _cycle(weights or [1])
        self._seed = seed
        self._orders: dict[int, list[tuple[int, int]]] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch, with weights in the cycles after which all have come. With several workers a step takes one for each of them."""
        if len(self._pools) == 1:
            return self._pools[0].length
        cycles = max(-(-pool.length // share) for pool, share in zip(self._pools, self._shares, strict=True))
        return cycles * sum(self._shares)

    @property
    def filled(self) -> int:
        """Showings in an epoch that are there only to fill up the last batches of buckets."""
        return sum(pool.filled for pool in self._pools)

    def at(self, step: int, rank: int = 0, world: int = 1) -> list[int]:
        """Indexes of the placements in the batch of ``step``, counted from 0, for worker ``rank`` of ``world``.

        The workers deal out one and the same sequence of batches: worker r takes number ``step * world + r`` of it.
        """
        position = step * world + rank
        if len(self._pools) == 1:
            return self._pools[0].at(position)
        cycle, place = divmod(position, sum(self._shares))
        pool, turn = _kept(self._orders, cycle, self._cycle_order)[place]
        return self._pools[pool].at(cycle * self._shares[pool] + turn)

    def _cycle_order(self, cycle: int) -> list[tuple[int, int]]:
        """Pool, and which of its batches in this cycle, for each place in it: those of a pool are spread evenly, a little by chance."""
        turns = [(pool, turn) for pool, share in enumerate(self._shares) for turn in range(share)]
        chance = _scramble(number("pools", self._seed, cycle), len(turns)).astype(np.float64) / 2.0**64
        when = [(turn + shift) / self._shares[pool] for (pool, turn), shift in zip(turns, chance, strict=True)]
        return [turns[k] for k in np.argsort(np.array(when), kind="stable")]


class _Pool:
    """Batches that are drawn without regard to other pools. ``salt`` tells its order from that of other pools."""

    def __init__(self, placements: Sequence[Placed], indexes: Sequence[int], batch_size: int, seed: int, *salt: int):
        if not indexes:
            raise ValueError("A pool with a weight has no pictures.")
        members: dict[tuple[Any, ...], list[int]] = {}
        for index in indexes:
            members.setdefault(_likeness(placements[index]), []).extend([index] * placements[index].repeats)
        self._buckets = [np.array(members[likeness], dtype=np.int32) for likeness in sorted(members)]
        self._batch_size, self._seed, self._salt = batch_size, seed, salt
        self._epochs: dict[int, NDArray[np.int32]] = {}
        self.length = sum(-(-len(bucket) // batch_size) for bucket in self._buckets)
        self.filled = self.length * batch_size - sum(map(len, self._buckets))

    def at(self, position: int) -> list[int]:
        epoch, index = divmod(position, self.length)
        return _kept(self._epochs, epoch, self._order)[index].tolist()

    def _order(self, epoch: int) -> NDArray[np.int32]:
        """The epoch's batches, one a row."""
        batches: list[NDArray[np.int32]] = []
        for place, bucket in enumerate(self._buckets):
            if len(bucket) > 1:
                bucket = bucket[_permutation(len(bucket), number("pictures", self._seed, epoch, place, *self._salt))]
            full = -(-len(bucket) // self._batch_size) * self._batch_size
            batches.append(np.resize(bucket, full).reshape(-1, self._batch_size))
        return np.concatenate(batches)[_permutation(self.length, number("batches", self._seed, epoch, *self._salt))]


def _likeness(placed: Placed) -> tuple[Any, ...]:
    """What the members of a batch have in common."""
    return placed.bucket, placed.pool, placed.alike


def _kept(known: dict[int, Any], key: int, make: Any) -> Any:
    """``make(key)``, once; its neighbours are kept too, for workers may stand on both sides of an end."""
    if key not in known:
        made = make(key)
        for old in [other for other in list(known) if abs(other - key) > 1]:
            known.pop(old, None)
        known[key] = made
        return made
    return known[key]


def _cycle(weights: Sequence[float | Fraction]) -> list[int]:
    """How many batches of each pool there are in the shortest cycle that has the weights' shares."""
    exact = [Fraction(str(weight)) for weight in weights]
    whole = math.lcm(*(weight.denominator for weight in exact))
    counts = [int(weight * whole) for weight in exact]
    counts = [each // math.gcd(*counts) for each in counts]
    if sum(counts) <= LONGEST_CYCLE:
        return counts
    shares = [weight * LONGEST_CYCLE / sum(exact) for weight in exact]
    counts = [max(1, int(share)) for share in shares]
    left = max(0, LONGEST_CYCLE - sum(counts))
    for index in sorted(range(len(shares)), key=lambda k: (int(shares[k]) - shares[k], k))[:left]:
        counts[index] += 1
    return counts


def _permutation(length: int, key: int) -> NDArray[np.int64]:
    """An order of ``length`` things that follows from ``key``: NumPy's own generators may change with its version."""
    return np.argsort(_scramble(key, length), kind="stable")


def _scramble(key: int, length: int) -> NDArray[np.uint64]:
    """``length`` numbers of 64 bits that follow from ``key``."""
    with np.errstate(over="ignore"):  # splitmix64, whose sums are meant to wrap
        x = np.uint64(key) + np.arange(1, length + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))

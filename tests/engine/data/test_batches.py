from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from properties import held

from engine.data.batches import Batches
from engine.data.sizes.buckets import Placed

SQUARE, WIDE, TALL = (64, 64), (96, 48), (48, 96)


def placements(square: int = 7, wide: int = 5, tall: int = 1, repeats: int = 1) -> list[Placed]:
    buckets = [SQUARE] * square + [WIDE] * wide + [TALL] * tall
    return [Placed(index, bucket, repeats) for index, bucket in enumerate(buckets)]


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


def epoch(batches: Batches, number: int = 0) -> list[list[int]]:
    length = batches.steps_per_epoch
    return [batches.at(step) for step in range(number * length, (number + 1) * length)]


def test_a_batch_is_full_and_of_one_bucket():
    placed = placements()
    for batch in epoch(Batches(placed, 4, seed=1)):
        assert len(batch) == 4
        assert len({placed[index].bucket for index in batch}) == 1


def test_every_placement_comes_in_every_epoch_as_often_as_it_repeats():
    placed = [Placed(0, SQUARE, 3), Placed(1, SQUARE, 1), Placed(2, SQUARE, 2), Placed(3, WIDE, 4)]
    exact = Batches(placed, 2, seed=1)
    assert exact.steps_per_epoch == 5
    for number in range(5):
        assert Counter(flat(epoch(exact, number))) == {0: 3, 1: 1, 2: 2, 3: 4}
    for batch_size in (1, 3, 4, 100):
        batches = Batches(placed, batch_size, seed=1)
        for number in range(5):
            seen = Counter(flat(epoch(batches, number)))
            assert all(seen[index] >= placed[index].repeats for index in range(4))


def test_filling_up_takes_pictures_that_are_not_yet_in_the_batch():
    batches = Batches(placements(square=5, wide=0, tall=0), 3, seed=1)
    for number in range(20):
        assert all(len(set(batch)) == 3 for batch in epoch(batches, number))


def test_the_order_follows_from_seed_and_step_alone():
    first, second = Batches(placements(), 2, seed=5), Batches(placements(), 2, seed=5)
    forwards = [first.at(step) for step in range(60)]
    backwards = [second.at(step) for step in reversed(range(60))][::-1]
    assert forwards == backwards
    assert forwards != [Batches(placements(), 2, seed=6).at(step) for step in range(60)]


def test_the_order_is_the_same_in_every_version():
    """These figures may not change: a run that was begun with an older version is gone on with."""
    assert [Batches(placements(4, 2, 0), 2, seed=42).at(step) for step in range(6)] == [
        [0, 1], [4, 5], [2, 3], [5, 4], [2, 1], [0, 3],
    ]  # fmt: skip


def test_each_epoch_has_an_order_of_its_own():
    batches = Batches(placements(square=30, wide=0, tall=0), 1, seed=1)
    orders = [tuple(flat(epoch(batches, number))) for number in range(10)]
    assert len(set(orders)) == 10
    assert all(sorted(order) == list(range(30)) for order in orders)
    assert len({order[0] for order in orders}) > 4


def test_batches_of_all_buckets_are_mixed():
    placed = placements(square=50, wide=50, tall=0)
    buckets = [placed[batch[0]].bucket for batch in epoch(Batches(placed, 2, seed=1))]
    changes = sum(a != b for a, b in pairwise(buckets))
    assert changes > 10


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_any_number_of_workers_deals_out_the_same_batches(world):
    alone, shared = Batches(placements(), 2, seed=3), Batches(placements(), 2, seed=3)
    dealt = [shared.at(step, rank, world) for step in range(20) for rank in range(world)]
    assert dealt == [alone.at(step) for step in range(20 * world)]


def test_workers_of_a_step_have_different_pictures():
    batches = Batches(placements(square=16, wide=0, tall=0), 2, seed=3)
    for step in range(2):
        seen = [index for rank in range(4) for index in batches.at(step, rank, 4)]
        assert len(set(seen)) == 8


def test_what_a_caller_does_to_a_batch_changes_nothing():
    batches = Batches(placements(), 2, seed=3)
    batches.at(0).clear()
    assert len(batches.at(0)) == 2


@st.composite
def some_placements(draw):
    buckets = st.sampled_from([SQUARE, WIDE, TALL])
    count = draw(st.integers(1, 30))
    return [Placed(index, draw(buckets), draw(st.integers(1, 4)), pool=draw(st.integers(0, 2))) for index in range(count)]


def covering(placed: list[Placed]) -> list[Placed]:
    """With at least one placement in each of three pools."""
    return [*placed, *(Placed(len(placed) + pool, SQUARE, 1, pool=pool) for pool in range(3))]


seeds = st.integers(0, 2**63)
weights = st.none() | st.tuples(*[st.sampled_from([0.5, 1, 2, 3, 0.25, 10])] * 3)


@held
@given(some_placements(), st.integers(1, 9), seeds, st.integers(0, 3))
def test_each_comes_once_an_epoch_and_repeat_and_what_comes_again_is_counted(placed, batch_size, seed, number):
    batches = Batches(placed, batch_size, seed)
    seen = Counter(flat(epoch(batches, number)))
    assert all(seen[one.item] >= one.repeats for one in placed)
    assert sum(seen.values()) - sum(one.repeats for one in placed) == batches.filled < batch_size * 9
    if batch_size == 1:
        assert batches.filled == 0 and seen == {one.item: one.repeats for one in placed}


@held
@given(some_placements(), st.integers(1, 5), seeds, weights, st.integers(1, 7), st.lists(st.integers(0, 500), min_size=1, max_size=20))
def test_the_order_is_the_same_for_any_workers_and_any_history(placed, batch_size, seed, shares, world, steps):
    placed = covering(placed)
    alone, shared = Batches(placed, batch_size, seed, shares), Batches(placed, batch_size, seed, shares)
    for step in steps:
        dealt = [shared.at(step, rank, world) for rank in range(world)]
        assert dealt == [Batches(placed, batch_size, seed, shares).at(step * world + rank) for rank in range(world)]
        assert dealt == [alone.at(step * world + rank) for rank in reversed(range(world))][::-1]


@held
@given(some_placements(), st.integers(1, 5), seeds, weights)
def test_a_batch_is_of_one_bucket_and_one_pool(placed, batch_size, seed, shares):
    placed = covering(placed)
    batches = Batches(placed, batch_size, seed, shares)
    for step in range(40):
        batch = batches.at(step)
        assert len(batch) == batch_size
        assert len({(placed[index].bucket, placed[index].pool) for index in batch}) == 1


def pools(*sizes: int) -> list[Placed]:
    return [Placed(0, SQUARE, pool=pool) for pool, size in enumerate(sizes) for _ in range(size)]


@pytest.mark.parametrize(
    ("given", "cycle"),
    [
        ((1, 1), (1, 1)),
        ((1, 2, 1), (1, 2, 1)),
        ((0.3, 0.7), (3, 7)),
        ((50, 50), (1, 1)),
        ((0.05, 0.1, 0.85), (1, 2, 17)),
        ((1000, 1), (999, 1)),
    ],
)
def test_each_cycle_has_the_shares_of_the_weights_exactly(given, cycle):
    placed = pools(*[5] * len(given))
    batches = Batches(placed, 2, 1, given)
    for start in range(3):
        steps = range(start * sum(cycle), (start + 1) * sum(cycle))
        seen = Counter(placed[batches.at(step)[0]].pool for step in steps)
        assert seen == dict(enumerate(cycle))


def test_within_a_cycle_the_pools_alternate():
    placed = pools(5, 5)
    batches = Batches(placed, 1, 1, (30, 70))
    seen = [placed[batches.at(step)[0]].pool for step in range(1000)]
    for start in range(0, 990, 10):
        assert 1 <= seen[start : start + 10].count(0) <= 5
    assert len({tuple(seen[start : start + 10]) for start in range(0, 1000, 10)}) > 5, "each cycle is the same"


@held
@given(st.lists(st.integers(1, 12), min_size=2, max_size=4), st.integers(1, 4), seeds, st.data())
def test_a_pool_of_any_share_shows_each_of_its_pictures_as_often(sizes, batch_size, seed, data):
    shares = data.draw(st.lists(st.sampled_from([1, 2, 5]), min_size=len(sizes), max_size=len(sizes)))
    placed = pools(*sizes)
    batches = Batches(placed, batch_size, seed, shares)
    assert set(flat(epoch(batches))) == set(range(len(placed))), "an epoch misses a picture"
    if batch_size == 1:
        seen = Counter(flat([batches.at(step) for step in range(300)]))
        for pool in range(len(sizes)):
            counts = [seen[index] for index, one in enumerate(placed) if one.pool == pool]
            assert max(counts) - min(counts) <= 1


def test_pools_without_weights_are_only_kept_apart():
    placed = [Placed(index, SQUARE, pool=index % 2) for index in range(10)]
    batches = Batches(placed, 5, 1)
    assert sorted(sorted(batch) for batch in epoch(batches)) == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]


def test_filling_up_is_counted():
    assert Batches(placements(5, 3, 0), 4, 1).filled == 3 + 1
    assert Batches(placements(4, 0, 0), 4, 1).filled == 0
    assert Batches(pools(5, 3), 4, 1, (1, 1)).filled == 3 + 1


def test_a_hundred_thousand_pictures_take_little_memory_however_long_it_runs():
    batches = Batches(placements(60000, 40000, 0), 4, seed=1)
    for number in range(6):
        batches.at(number * batches.steps_per_epoch)
    assert len(batches._pools[0]._epochs) <= 3
    assert sum(order.nbytes for order in batches._pools[0]._epochs.values()) <= 3 * 4 * 100_000


def test_the_order_with_weights_is_the_same_in_every_version():
    """These figures may not change: a run that was begun with an older version is gone on with."""
    batches = Batches(pools(3, 2), 1, 42, (2, 1))
    assert flat([batches.at(step) for step in range(12)]) == [1, 2, 4, 0, 2, 3, 1, 4, 0, 1, 2, 3]


def test_what_concerns_a_batch_as_a_whole_is_the_same_in_all_of_it():
    placed = [Placed(index, SQUARE, alike=(index % 2,)) for index in range(10)]
    assert sorted(sorted(batch) for batch in epoch(Batches(placed, 5, 1))) == [[0, 2, 4, 6, 8], [1, 3, 5, 7, 9]]

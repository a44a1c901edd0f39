from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from properties import held

from engine.data.scan import Item
from engine.data.sizes.buckets import MAX_ASPECT, Placed, bucket_of, nearest, place, pools_of, sizing_notes
from engine.errors import JobError
from engine.jobs import Dataset


@pytest.mark.parametrize(
    ("size", "resolution", "multiple", "bucket"),
    [
        ((4000, 4000), 1024, 16, (1024, 1024)),
        ((4000, 3000), 1024, 16, (1152, 896)),
        ((3000, 4000), 1024, 16, (896, 1152)),
        ((6000, 4000), 1024, 16, (1216, 832)),
        ((1920, 1080), 1024, 16, (1344, 768)),
        ((4000, 3000), 512, 16, (576, 448)),
        ((512, 512), 512, 16, (512, 512)),
        ((128, 96), 64, 16, (80, 48)),
        ((128, 128), 64, 16, (64, 64)),
        ((96, 48), 32, 16, (48, 16)),
        # longer than MAX_ASPECT: its middle
        ((20000, 2000), 1024, 16, (2048, 512)),
        ((2000, 20000), 1024, 16, (512, 2048)),
        ((400, 40), 512, 16, (160, 32)),
        # smaller than the resolution: its own size, down to the multiple
        ((300, 200), 512, 16, (288, 192)),
        ((511, 511), 512, 16, (496, 496)),
        ((16, 16), 1024, 16, (16, 16)),
        ((40, 31), 1024, 16, (32, 16)),
        # larger in area, though a side is only just
        ((1040, 1020), 1024, 16, (1024, 960)),
        # a resolution below the multiple
        ((100, 100), 16, 32, (32, 32)),
    ],
)
def test_a_picture_gets_the_nearest_sane_size(size, resolution, multiple, bucket):
    assert bucket_of(*size, resolution, multiple) == bucket


@pytest.mark.parametrize("multiple", [8, 16, 32])
@pytest.mark.parametrize("resolution", [64, 256, 512, 768, 1000, 1024, 1536])
def test_every_bucket_keeps_the_rules(resolution, multiple):
    for width in range(multiple, 4000, 173):
        for height in range(multiple, 4000, 131):
            wide, high = bucket_of(width, height, resolution, multiple)
            assert wide % multiple == 0 and high % multiple == 0 and min(wide, high) >= multiple
            assert wide <= width and high <= height, "a picture was enlarged"
            assert wide * high <= resolution**2, "more memory than the resolution says"
            assert bucket_of(height, width, resolution, multiple) == (high, wide), "portrait is not landscape turned"
            shape = max(width / height, height / width)
            if width * height > resolution**2 and shape < MAX_ASPECT and resolution >= 16 * multiple:
                assert wide * high > 0.84 * resolution**2
                assert 0.85 < wide / high / (width / height) < 1.18


def test_upscale_gives_a_small_picture_the_size_of_a_large_one():
    assert bucket_of(30, 20, 512, 16, upscale=True) == bucket_of(3000, 2000, 512, 16)
    assert bucket_of(3, 2, 512, 16, upscale=True) == bucket_of(3000, 2000, 512, 16)


def test_photos_of_many_shapes_share_few_buckets():
    buckets = {bucket_of(4000, height, 1024, 16) for height in range(1000, 4000)}
    assert len(buckets) <= 20


def test_a_picture_smaller_than_the_multiple_is_an_error():
    with pytest.raises(JobError, match="8 × 300"):
        bucket_of(8, 300, 512, 16)


def item(name: str, width: int, height: int, dataset: int = 0) -> Item:
    return Item(Path("cats", name), width, height, "", dataset)


def test_each_resolution_of_its_data_set_places_an_item_once():
    datasets = [
        Dataset(path="a", resolution=[64, 128], num_repeats=3),
        Dataset(path="b", resolution=32),
        Dataset(path="c"),
    ]
    items = [item("a", 200, 200, 0), item("b", 200, 200, 1), item("c", 200, 200, 2)]

    def found(*given) -> list[Placed]:
        return [Placed(one.item, one.bucket, one.repeats) for one in place(*given)]

    assert found(datasets, items, [96, 48], 16) == [
        Placed(0, (64, 64), 3),
        Placed(0, (128, 128), 3),
        Placed(1, (32, 32), 1),
        Placed(2, (96, 96), 1),
        Placed(2, (48, 48), 1),
    ]
    assert found(datasets[2:], [item("c", 200, 200)], 64, 16) == [Placed(0, (64, 64), 1)]


def test_pictures_that_are_too_small_are_named():
    items = [item("fine.png", 64, 64), item("thin.png", 200, 9), item("dot.png", 1, 1)]
    with pytest.raises(JobError, match=r"2 pictures are too small .*cats/thin.png \(200 × 9\), cats/dot.png") as caught:
        place([Dataset(path="cats")], items, 512, 16)
    assert "16 pixels" in caught.value.hint
    assert [placed.bucket for placed in place([Dataset(path="cats", upscale=True)], items, 64, 16)][2] == (
        64,
        64,
    )


sides = st.integers(1, 6000)
multiples = st.sampled_from([8, 16, 32, 64])


@held
@given(sides, sides, st.integers(16, 2048), multiples, st.booleans())
def test_sides_are_multiples_and_the_area_is_bounded_and_nothing_is_enlarged(width, height, resolution, multiple, upscale):
    assume(upscale or min(width, height) >= multiple)
    wide, high = bucket_of(width, height, resolution, multiple, upscale)
    assert wide % multiple == 0 and high % multiple == 0 and min(wide, high) >= multiple
    assert wide * high <= max(resolution, multiple) ** 2
    assert upscale or (wide <= width and high <= height)


@held
@given(st.floats(1.05, 8.0), st.floats(-0.99, 0.99), st.integers(16, 64), multiples)
def test_the_shape_is_kept_to_within_half_a_step_of_a_side(larger, tilt, steps, multiple):
    """Of a picture that is large enough, and of whose sides none is longer than MAX_ASPECT times the other."""
    resolution = steps * multiple
    slant = MAX_ASPECT ** (tilt / 2)
    width, height = round(resolution * larger * slant), round(resolution * larger / slant)
    wide, high = bucket_of(width, height, resolution, multiple)
    step = multiple * max(1, resolution // (16 * multiple))
    assert abs(math.log(wide / high * height / width)) <= 1.2 * step / min(wide, high)


@held
@given(sides, sides, st.integers(16, 2048), multiples, st.booleans())
def test_a_picture_that_has_its_buckets_size_already_keeps_it(width, height, resolution, multiple, upscale):
    assume(upscale or min(width, height) >= multiple)
    bucket = bucket_of(width, height, resolution, multiple, upscale)
    assume(max(bucket) <= MAX_ASPECT * min(bucket))
    assert bucket_of(*bucket, resolution, multiple) == bucket


@held
@given(sides, sides, st.lists(st.tuples(sides, sides), min_size=1, max_size=8), st.booleans())
def test_of_given_buckets_it_is_the_nearest_by_shape_that_enlarges_nothing(width, height, buckets, upscale):
    chosen = nearest(width, height, tuple(buckets), upscale)
    allowed = [one for one in buckets if upscale or (one[0] <= width and one[1] <= height)]
    if chosen is None:
        assert not allowed
        return
    assert chosen in allowed

    def off(bucket):
        return abs(math.log(bucket[0] / bucket[1]) - math.log(width / height))

    assert off(chosen) <= min(map(off, allowed)) + 1e-9
    assert all(one[0] * one[1] <= chosen[0] * chosen[1] for one in allowed if one[0] * chosen[1] == one[1] * chosen[0])


def placed_at(width: int, height: int, multiple: int = 16, **settings) -> list[tuple[int, int]]:
    return [one.bucket for one in place([Dataset(path="cats", **settings)], [item("a.png", width, height)], 512, multiple)]


LIST = [[512, 512], [256, 256], [640, 384], [384, 640]]


def test_each_picture_goes_to_the_nearest_of_the_given_sizes():
    assert placed_at(2000, 2100, buckets=LIST) == [(512, 512)]
    assert placed_at(1600, 900, buckets=LIST) == [(640, 384)]
    assert placed_at(300, 280, buckets=LIST) == [(256, 256)]
    assert placed_at(440, 640, buckets=LIST) == [(384, 640)]
    assert placed_at(100, 90, buckets=LIST, upscale=True) == [(512, 512)]
    assert placed_at(2000, 2000, buckets=[256, 128]) == [(256, 128)], "one size needs no list of lists"


def test_pictures_smaller_than_every_given_size_are_named():
    with pytest.raises(
        JobError, match=r"1 picture is smaller than every size in datasets\[0\].buckets: cats/a.png \(255 × 600\)"
    ) as caught:
        placed_at(255, 600, buckets=LIST)
    assert "upscale" in caught.value.hint


def test_given_sizes_that_the_model_cannot_have_are_named():
    with pytest.raises(JobError, match=r"buckets has sizes that this model cannot have: 640 × 384, 384 × 640") as caught:
        placed_at(2000, 2000, multiple=256, buckets=LIST)
    assert "256" in caught.value.hint


def test_squares_are_cut_from_what_is_there():
    assert placed_at(2000, 1000, square_crop=True) == [(512, 512)]
    assert placed_at(2000, 300, square_crop=True) == [(288, 288)]
    assert placed_at(2000, 300, square_crop=True, upscale=True) == [(512, 512)]


def test_scale_changes_the_size_that_a_picture_is_taken_for():
    assert placed_at(600, 600) == [(512, 512)]
    assert placed_at(600, 600, scale=0.5) == [(288, 288)]
    assert placed_at(300, 300, scale=2) == [(512, 512)]
    assert placed_at(1000, 300, scale=0.5, square_crop=True) == [(144, 144)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"buckets": LIST, "resolution": 512}, "buckets.*resolution is given too"),
        ({"buckets": LIST, "square_crop": True}, "square_crop.*buckets is given too"),
        ({"buckets": False}, "square_crop"),
        ({"buckets": [[512]]}, "at least 2 items"),
        ({"buckets": [[512, 512, 1]]}, "at most 2 items"),
        ({"buckets": [[512, 0]]}, "greater than or equal to 16"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        Dataset(path="cats", **settings)


def test_true_buckets_are_what_is_done_anyway():
    assert Dataset(path="cats", buckets=True) == Dataset(path="cats", buckets=None) == Dataset(path="cats")


def data(*weights: float | None, reg: int = 0) -> list[Dataset]:
    return [Dataset(path="cats", weight=weight, is_reg=index < reg) for index, weight in enumerate(weights)]


@pytest.mark.parametrize(
    ("datasets", "pools", "weights"),
    [
        (data(None, None), [0, 0], None),
        (data(2), [0], None),
        (data(0.3, 0.6), [0, 1], [Fraction(1, 3), Fraction(2, 3)]),
        (data(None, None, None, reg=1), [1, 0, 0], [1, 1]),
        (data(None, 1, 3, reg=1), [2, 0, 1], [Fraction(1, 4), Fraction(3, 4), 1]),
        (data(None, None, reg=2), [0, 0], None),
    ],
)
def test_sets_with_weights_and_those_for_regularisation_have_pools_of_their_own(datasets, pools, weights):
    assert pools_of(datasets) == (pools, weights)
    items = [item("a", 64, 64, index) for index in range(len(datasets))]
    assert [one.pool for one in place(datasets, items, 64, 16)] == pools


def test_some_weights_are_refused():
    with pytest.raises(JobError, match=r"datasets\[1\] has no weight"):
        pools_of(data(1, None))


def test_what_has_no_effect_is_said():
    assert not list(sizing_notes(data(1, 2))) and not list(sizing_notes(data(None)))
    told = [
        Dataset(path="cats", weight=1, num_repeats=2, random_crop=True, crop="top", num_controls_from_same_folder=2),
    ]
    notes = " ".join(note.message for note in sizing_notes(told))
    assert all(f"datasets[0].{key} has no effect" in notes for key in ("weight", "num_repeats", "crop", "num_controls_from_same_folder"))


def test_only_sets_of_the_same_strength_aim_and_references_share_a_batch():
    datasets = [Dataset(path="cats", **settings) for settings in ({}, {"loss_multiplier": 2}, {"network_weight": -1}, {"prior_reg": True})]
    items = [*(item("a", 64, 64, index) for index in range(4)), Item(Path("b"), 64, 64, "", 0, controls=(Path("c"),))]
    plain, weighed, strong, prior, pair = (one.alike for one in place(datasets, items, 64, 16))
    assert plain == weighed and len({plain, strong, prior, pair}) == 4

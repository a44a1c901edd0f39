"""Which part of a picture is shown: of the bucket's shape, inside the picture, about what is to stay, or by chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from properties import held

from engine.data.sizes.crops import CENTRE, TOP, Draw, crop_box, draw_crop

sides = st.integers(1, 5000)
buckets = st.tuples(st.integers(1, 64), st.integers(1, 64)).map(lambda pair: (16 * pair[0], 16 * pair[1]))
shares = st.floats(0, 1)
focuses = st.tuples(shares, shares, shares, shares).map(lambda f: (*map(min, f[:2], f[2:]), *map(max, f[:2], f[2:])))
draws = st.none() | st.builds(Draw, st.none() | st.tuples(shares, shares), st.floats(1, 8))


def size(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]


@held
@given(sides, sides, buckets, focuses, draws)
def test_the_box_is_inside_the_picture_and_has_the_buckets_shape(width, height, bucket, focus, draw):
    left, top, right, bottom = box = crop_box(width, height, bucket, focus, draw)
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    wide, high = size(box)
    assert math.isclose(wide / high, bucket[0] / bucket[1], rel_tol=1e-6)
    zoom = draw.zoom if draw else 1
    assert math.isclose(max(wide / width, high / height), 1 / zoom, rel_tol=1e-6), "it is not as large as can be"


@held
@given(sides, sides, buckets)
def test_about_the_middle_it_is_pillows_fit_to_the_bit(width, height, bucket):
    class Sized(Image.Image):
        """Only ``size`` is asked, and which box is resized."""

        size = (width, height)

        def resize(self, size, method, box):  # type: ignore[override]
            self.box = (size, box)
            return self

    picture = Sized()
    ImageOps.fit(picture, bucket)
    assert picture.box == (bucket, crop_box(width, height, bucket))


def test_pixels_of_the_box_are_those_of_fit():
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (71, 93, 3), dtype=np.uint8))
    ours = picture.resize((48, 32), Image.Resampling.LANCZOS, box=crop_box(93, 71, (48, 32)))
    assert ours.tobytes() == ImageOps.fit(picture, (48, 32), Image.Resampling.LANCZOS).tobytes()


@held
@given(st.integers(16, 2000), st.integers(16, 2000), st.integers(2, 5), buckets, focuses, draws)
def test_a_mate_of_another_size_shows_the_same_part(width, height, times, bucket, focus, draw):
    small, large = crop_box(width, height, bucket, focus, draw), crop_box(width * times, height * times, bucket, focus, draw)
    assert np.allclose([side * times for side in small], large, rtol=1e-9, atol=1e-6)


def test_top_keeps_heads_and_the_middle_of_what_is_wide():
    assert crop_box(100, 300, (100, 100), TOP) == (0, 0, 100, 100)
    assert crop_box(300, 100, (100, 100), TOP) == (100, 0, 200, 100)
    assert crop_box(100, 300, (100, 100), CENTRE) == (0, 100, 100, 200)


@pytest.mark.parametrize(
    ("focus", "box"),
    [
        ((0.8, 0.2, 1.0, 0.4), (200, 0, 300, 100)),  # at the edge: as far as the picture goes
        ((0.0, 0.0, 0.1, 0.1), (0, 0, 100, 100)),
        ((0.4, 0.5, 0.6, 0.9), (100, 0, 200, 100)),
        ((0.1, 0.0, 0.5, 1.0), (40, 0, 140, 100)),  # wider than what is shown: its middle
    ],
)
def test_a_subject_is_in_the_middle_as_far_as_the_picture_goes(focus, box):
    assert crop_box(300, 100, (64, 64), focus) == pytest.approx(box)


def test_of_a_subject_that_is_too_tall_the_top_is_shown():
    assert crop_box(100, 400, (64, 64), (0.2, 0.25, 0.8, 0.95)) == pytest.approx((0, 100, 100, 200))


@held
@given(st.integers(16, 4000), st.integers(16, 4000), buckets, focuses, st.booleans(), st.booleans(), st.integers(0, 2**63))
def test_a_draw_keeps_a_subject_whole_and_enlarges_nothing(width, height, bucket, focus, random_crop, random_scale, key):
    draw = draw_crop(width, height, bucket, focus, random_crop, random_scale, key)
    assert (draw is None) == (not random_crop and not random_scale)
    plain, box = crop_box(width, height, bucket), crop_box(width, height, bucket, focus, draw)
    if random_scale:
        assert size(box)[0] >= min(bucket[0], size(plain)[0]) * (1 - 1e-9), "a pixel of the picture became several"
    else:
        assert size(box) == pytest.approx(size(plain))
    subject = [share * side for share, side in zip(focus, (width, height, width, height))]
    wide, high = subject[2] - subject[0], subject[3] - subject[1]
    if 1e-6 < wide <= size(plain)[0] and 1e-6 < high <= size(plain)[1]:
        assert box[0] <= subject[0] + 1e-6 and subject[2] <= box[2] + 1e-6
        assert box[1] <= subject[1] + 1e-6 and subject[3] <= box[3] + 1e-6


def test_draws_follow_from_their_key_and_spread_over_all_that_can_be_shown():
    drawn = [draw_crop(3000, 1000, (64, 64), CENTRE, True, True, 42, step, 0) for step in range(400)]
    assert drawn == [draw_crop(3000, 1000, (64, 64), CENTRE, True, True, 42, step, 0) for step in range(400)]
    assert len(set(drawn)) == 400
    zooms = [draw.zoom for draw in drawn]
    assert 1 <= min(zooms) < 1.5 and 15 < max(zooms) <= 1000 / 64
    boxes = [crop_box(3000, 1000, (64, 64), CENTRE, draw) for draw in drawn]
    assert min(box[0] for box in boxes) < 100 and max(box[2] for box in boxes) > 2900
    assert {draw.place is None for draw in drawn} == {False}
    assert draw_crop(3000, 1000, (64, 64), CENTRE, False, True, 1).place is None
    assert draw_crop(3000, 1000, (64, 64), CENTRE, True, False, 1).zoom == 1


def test_the_zoom_stops_where_the_subject_would_be_cut():
    focus = (0.1, 0.2, 0.5, 0.7)
    drawn = [draw_crop(2000, 2000, (64, 64), focus, True, True, step) for step in range(200)]
    assert 1.9 < max(draw.zoom for draw in drawn) <= 2
    for draw in drawn:
        left, top, right, bottom = crop_box(2000, 2000, (64, 64), focus, draw)
        assert left <= 200 and right >= 1000 and top <= 400 and bottom >= 1400

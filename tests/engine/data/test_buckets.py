from __future__ import annotations

from pathlib import Path

import pytest

from engine.data.buckets import MAX_ASPECT, Placed, bucket_of, place
from engine.data.scan import Item
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
            assert bucket_of(height, width, resolution, multiple) == (high, wide), (
                "portrait is not landscape turned"
            )
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
    assert place(datasets, items, [96, 48], 16) == [
        Placed(0, (64, 64), 3),
        Placed(0, (128, 128), 3),
        Placed(1, (32, 32), 1),
        Placed(2, (96, 96), 1),
        Placed(2, (48, 48), 1),
    ]
    assert place(datasets[2:], [item("c", 200, 200)], 64, 16) == [Placed(0, (64, 64), 1)]


def test_pictures_that_are_too_small_are_named():
    items = [item("fine.png", 64, 64), item("thin.png", 200, 9), item("dot.png", 1, 1)]
    with pytest.raises(
        JobError, match=r"2 pictures are too small .*cats/thin.png \(200 × 9\), cats/dot.png"
    ) as caught:
        place([Dataset(path="cats")], items, 512, 16)
    assert "16 pixels" in caught.value.hint
    assert [placed.bucket for placed in place([Dataset(path="cats", upscale=True)], items, 64, 16)][2] == (
        64,
        64,
    )

"""What of a picture is learned."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import draw
from PIL import Image

from engine.control import Control
from engine.data.caches.cache import MaskCache
from engine.data.scan import scan
from engine.data.sizes.buckets import Placed
from engine.data.sizes.pixels import load_mask, load_pixels
from engine.errors import JobError
from engine.jobs import Dataset
from engine.training.loader import erased_copy


@pytest.fixture
def folders(tmp_path):
    """Two pictures, one in a folder of its own; the masks are white on the left, and of other sizes and endings."""
    for name, ending in (("a", "png"), ("deep/b", "webp")):
        draw(tmp_path / "data" / f"{name}.png", (64, 32), "red", caption="x")
        half = Image.new("L", (128, 64), 0)
        half.paste(255, (0, 0, 64, 64))
        (tmp_path / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        half.save(tmp_path / "masks" / f"{name}.{ending}", lossless=True)
    return tmp_path


def dataset(folders, **more) -> Dataset:
    return Dataset(path=str(folders / "data"), mask_path=str(folders / "masks"), **more)


def test_masks_are_found_by_the_path_within_their_folder(folders):
    items = scan(dataset(folders))
    assert [item.mask.relative_to(folders).as_posix() for item in items] == ["masks/a.png", "masks/deep/b.webp"]
    for item in items:
        mask = load_mask(item, (32, 16))
        assert mask.shape == (1, 16, 32) and mask[0, :, :15].eq(255).all() and mask[0, :, 17:].eq(0).all()


def test_a_missing_mask_is_an_error_that_names_the_picture_or_learns_it_whole(folders):
    draw(folders / "data" / "c.png", (64, 32), "red", caption="x")
    with pytest.raises(JobError, match=r"no mask .*data/c\.png"):
        scan(dataset(folders))
    item = next(item for item in scan(dataset(folders, allow_missing=True)) if item.path.stem == "c")
    assert item.mask is None and load_mask(item, (32, 16)).eq(255).all()


def test_one_file_can_be_a_mask_by_its_greys_and_by_its_transparency(folders, tmp_path):
    both = np.zeros((32, 64, 4), np.uint8)
    both[:, :32, :3], both[:16, :, 3] = 255, 255  # light on the left, opaque above
    Image.fromarray(both).save(folders / "masks" / "a.png")
    items = scan(dataset(folders, inpaint_path=str(folders / "masks"), allow_missing=True))[:1]
    copy = erased_copy(items[0])
    masks = MaskCache(tmp_path / "cache")
    list(masks.fill([items[0], copy], [Placed(0, (32, 16)), Placed(1, (32, 16))], Control()))
    assert masks.get(items[0], (32, 16))[0, 3, [5, 25]].tolist() == [255, 0] and masks.get(copy, (32, 16))[0, 3, [5, 25]].tolist() == [
        255,
        255,
    ]
    assert masks.get(copy, (32, 16))[0, 12].eq(0).all()


def test_a_picture_without_an_erased_copy_is_an_error_or_drawn_as_a_whole(folders):
    draw(folders / "data" / "c.png", (64, 32), "red", caption="x")
    data = Dataset(path=str(folders / "data"), inpaint_path=str(folders / "masks"))
    with pytest.raises(JobError, match=r"no inpainting picture .*data/c\.png"):
        scan(data)
    assert [item.erased and item.erased.name for item in scan(data.model_copy(update={"allow_missing": True}))] == ["a.png", None, "b.webp"]


def test_a_mask_is_mirrored_turned_and_cropped_with_its_picture(folders):
    Image.fromarray(np.tile(np.arange(0, 240, 5, dtype=np.uint8), (32, 1))).convert("RGB").save(folders / "data" / "a.png")
    Image.open(folders / "data" / "a.png").convert("L").save(folders / "masks" / "a.png")
    for item in scan(dataset(folders, flip_x=True, flip_y=True))[:4]:
        for bucket in ((32, 16), (16, 16), (32, 64)):
            shown = (load_pixels(item, bucket)[:1] + 1) * 127.5
            assert (shown - load_mask(item, bucket)).abs().max() < 6  # of 240: at the border the two filters differ
    assert [(item.flip, item.flip_y) for item in scan(dataset(folders, flip_x=True, flip_y=True))[:4]] == [
        (False, False), (True, False), (False, True), (True, True)
    ]  # fmt: skip


def test_a_picture_can_be_its_own_mask(folders):
    see_through = Image.new("RGBA", (64, 32), (255, 0, 0, 0))
    see_through.paste((0, 255, 0, 255), (0, 0, 32, 32))
    see_through.save(folders / "data" / "a.png")
    first, second = scan(Dataset(path=str(folders / "data"), alpha_mask=True, alpha_color="#0000ff"))
    assert load_mask(first, (64, 32))[0, :, :32].eq(255).all() and load_mask(first, (64, 32))[0, :, 32:].eq(0).all()
    assert load_mask(second, (64, 32)).eq(255).all()  # nothing in it is transparent
    assert load_pixels(first, (64, 32))[:, 0, 60].tolist() == [-1, -1, 1]  # what lies behind
    with pytest.raises(JobError, match="both alpha_mask and mask_path"):
        scan(dataset(folders, alpha_mask=True))


def test_a_colour_that_is_none_is_an_error():
    with pytest.raises(ValueError, match="unknown color specifier"):
        Dataset(path="x", alpha_color="redd")


def test_masks_are_kept_and_read_again_only_when_they_change(folders, tmp_path):
    items = scan(dataset(folders))
    placed = [Placed(0, (32, 16)), Placed(1, (64, 32)), Placed(0, (64, 32))]

    def filled() -> tuple[MaskCache, int]:
        masks, made = MaskCache(tmp_path / "cache"), 0
        for event in masks.fill(items, placed, Control()):
            made = event.total if event.kind == "progress" and event.what == "masks" else made
        return masks, made

    masks, made = filled()
    assert made == 3 and masks.get(items[0], (32, 16)).equal(load_mask(items[0], (32, 16)))
    assert filled()[1] == 0
    Image.new("L", (128, 64), 255).save(folders / "masks" / "a.png")
    masks, made = filled()
    assert made == 2 and masks.get(items[0], (64, 32)).eq(255).all() and not masks.get(items[1], (64, 32)).eq(255).all()

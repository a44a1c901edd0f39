from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import draw
from PIL import Image

from engine.data.files.pictures import PictureError, decode
from engine.data.scan import Item
from engine.data.sizes.crops import Draw, crop_box
from engine.data.sizes.pixels import load_pixels


def item(path: Path, flip: bool = False) -> Item:
    return Item(path, 0, 0, "", 0, flip)


def test_pixels_are_rgb_from_minus_one_to_one_at_the_size_of_the_bucket(tmp_path):
    pixels = load_pixels(item(draw(tmp_path / "a.png", (100, 70), (255, 0, 127))), (48, 32))
    assert pixels.shape == (3, 32, 48) and pixels.dtype == torch.float32 and pixels.is_contiguous()
    assert pixels[0].eq(1).all() and pixels[1].eq(-1).all()
    assert torch.allclose(pixels[2], torch.tensor(127 / 127.5 - 1))


def test_the_middle_of_the_picture_is_kept(tmp_path):
    wide = Image.new("RGB", (300, 100), "black")
    wide.paste("white", (100, 0, 200, 100))
    wide.save(tmp_path / "wide.png")
    wide.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "tall.png")
    for name in ("wide.png", "tall.png"):
        assert load_pixels(item(tmp_path / name), (32, 32))[:, 2:-2, 2:-2].gt(0.99).all()


def test_a_small_picture_is_enlarged_to_cover_the_bucket(tmp_path):
    assert load_pixels(item(draw(tmp_path / "a.png", (5, 3), "white")), (64, 48)).eq(1).all()


def test_a_picture_of_the_buckets_size_is_left_as_it_is(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    pixels = load_pixels(item(tmp_path / "a.png"), (48, 32))
    assert np.array_equal(((pixels + 1) * 127.5).round().byte().permute(1, 2, 0).numpy(), values)


@pytest.mark.parametrize("orientation", (1, 6))
def test_a_large_jpeg_is_decoded_at_a_half_and_looks_as_the_whole_one_made_smaller(tmp_path, monkeypatch, orientation):
    rough = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).resize(
        (800, 600), Image.Resampling.BICUBIC
    )
    exif = Image.Exif()
    exif[0x0112] = orientation
    rough.save(tmp_path / "a.jpg", quality=95, exif=exif)
    whole = decode(tmp_path / "a.jpg")
    decoded, bucket = [], (208, 160) if orientation == 1 else (160, 208)

    def spied(*args) -> Image.Image:
        decoded.append(decode(*args))
        return decoded[-1]

    monkeypatch.setattr("engine.data.sizes.pixels.decode", spied)
    pixels = load_pixels(item(tmp_path / "a.jpg"), bucket)
    assert decoded[0].size == (whole.width // 2, whole.height // 2)
    wanted = whole.resize(bucket, Image.Resampling.LANCZOS, box=crop_box(*whole.size, bucket))
    off = (pixels.permute(1, 2, 0) + 1).mul(127.5).numpy() - np.asarray(wanted, np.float32)
    assert np.abs(off).mean() < 2, "moved by a pixel it would be off by 20"
    load_pixels(item(tmp_path / "a.jpg"), (whole.width // 2, whole.height // 2))
    load_pixels(item(tmp_path / "a.jpg"), bucket, Draw(zoom=1.5))
    assert [one.size for one in decoded[1:]] == [whole.size] * 2, "no coarser than half as fine again as what is wanted"


def test_a_mirrored_item_is_the_mirror_of_the_picture_to_the_bit(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (71, 93, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    plain, mirrored = (load_pixels(item(tmp_path / "a.png", flip), (48, 32)) for flip in (False, True))
    assert torch.equal(mirrored, plain.flip(2)) and not torch.equal(mirrored, plain)


def test_a_picture_that_is_cut_off_is_named(tmp_path):
    Image.effect_noise((100, 100), 90).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:3000])
    with pytest.raises(PictureError, match="a.png cannot be read"):
        load_pixels(item(tmp_path / "a.png"), (32, 32))

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import draw
from PIL import Image, ImageCms, PngImagePlugin

import engine
from engine.data.files.listing import find_pictures
from engine.data.files.pictures import PictureError, decode, measure
from engine.errors import JobError


def corner(path: Path, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    return decode(path).getpixel(at)


def near(colour: tuple[int, ...], wanted: tuple[int, ...], by: int = 3) -> bool:
    return len(colour) == len(wanted) and all(abs(a - b) <= by for a, b in zip(colour, wanted))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
def test_a_picture_that_was_held_sideways_is_turned(tmp_path, orientation, suffix):
    upright = Image.new("RGB", (48, 32), "blue")
    upright.paste("red", (0, 0, 16, 16))
    turns = {
        1: [],
        2: [0],
        3: [3],
        4: [1],
        5: [5],
        6: [2],
        7: [6],
        8: [4],
    }  # Pillow's numbers of what undoes each
    stored = upright
    for turn in turns[orientation]:
        stored = stored.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a{suffix}", exif=exif, quality=95)
    assert measure(tmp_path / f"a{suffix}") == (48, 32)
    assert decode(tmp_path / f"a{suffix}").size == (48, 32)
    assert near(corner(tmp_path / f"a{suffix}", (4, 4)), (254, 0, 0), by=12)
    assert near(corner(tmp_path / f"a{suffix}", (40, 28)), (0, 0, 254), by=12)


def test_what_is_transparent_is_white(tmp_path):
    clear = draw(tmp_path / "rgba.png", colour=(255, 0, 0, 0), mode="RGBA")
    half = draw(tmp_path / "half.webp", colour=(0, 0, 0, 128), mode="RGBA", lossless=True)
    grey = draw(tmp_path / "la.png", colour=(0, 0), mode="LA")
    keyed = draw(tmp_path / "key.png", colour=(9, 8, 7), transparency=(9, 8, 7))
    palette = Image.new("P", (48, 32), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(0, (0, 0, 8, 8))
    palette.save(tmp_path / "p.png", transparency=bytes([0, 255]))
    palette.save(tmp_path / "p.gif", transparency=0)
    assert corner(clear) == corner(grey) == corner(keyed) == (255, 255, 255)
    assert near(corner(half), (127, 127, 127))
    for name in ("p.png", "p.gif"):
        assert corner(tmp_path / name) == (255, 255, 255)
        assert corner(tmp_path / name, (20, 20)) == (0, 0, 255)


def test_every_kind_of_pixel_becomes_8_bit_rgb(tmp_path):
    assert near(corner(draw(tmp_path / "cmyk.jpg", colour=(0, 255, 255, 0), mode="CMYK")), (254, 0, 0), by=30)
    assert near(corner(draw(tmp_path / "l.jpg", colour=100, mode="L")), (100, 100, 100))
    assert corner(draw(tmp_path / "one.png", colour=1, mode="1")) == (255, 255, 255)
    assert near(corner(draw(tmp_path / "ycc.jpg", colour="red", mode="RGB")), (254, 0, 0), by=3)
    assert near(corner(draw(tmp_path / "a.avif", colour="red")), (254, 0, 0), by=6)
    assert near(corner(draw(tmp_path / "a.bmp", colour="red")), (255, 0, 0))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_grey_of_16_bits_keeps_its_shades(tmp_path, suffix):
    shades = np.linspace(0, 65535, 256).astype(np.uint16).reshape(1, 256).repeat(4, 0)
    Image.fromarray(shades).save(tmp_path / f"a{suffix}")
    values = np.asarray(decode(tmp_path / f"a{suffix}"))[0, :, 0]
    assert np.abs(values.astype(int) - np.arange(256)).max() <= 1


def test_colour_of_16_bits_is_read(tmp_path):
    row = b"\0" + struct.pack(">3H", 65535, 32768, 0) * 20
    chunks = [
        (b"IHDR", struct.pack(">2I5B", 20, 20, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * 20)),
        (b"IEND", b""),
    ]
    body = b"".join(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    assert near(corner(tmp_path / "a.png"), (255, 128, 0), by=1)


def test_colours_are_those_of_the_profile(tmp_path):
    """A LAB to sRGB transform stands in for a wide camera profile: what matters is that the profile is applied."""
    narrow = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    plain = draw(tmp_path / "plain.png", colour=(200, 100, 50))
    srgb = draw(tmp_path / "srgb.png", colour=(200, 100, 50), icc_profile=narrow.tobytes())
    swapped = draw(tmp_path / "swapped.png", colour=(200, 100, 50), icc_profile=swapped_profile(narrow.tobytes()))
    broken = draw(tmp_path / "broken.png", colour=(200, 100, 50), icc_profile=b"no profile at all")
    clear = draw(
        tmp_path / "clear.png",
        colour=(200, 100, 50, 0),
        mode="RGBA",
        icc_profile=swapped_profile(narrow.tobytes()),
    )
    assert corner(plain) == corner(srgb) == corner(broken) == (200, 100, 50)
    red, green, blue = corner(swapped)
    assert blue > red, "the profile says that the first channel is blue"
    assert corner(clear) == (255, 255, 255)


def swapped_profile(profile: bytes) -> bytes:
    """The profile with red's and blue's places changed."""
    at, count = {}, struct.unpack(">I", profile[128:132])[0]
    for index in range(count):
        tag = profile[132 + 12 * index : 144 + 12 * index]
        at[tag[:4]] = 132 + 12 * index
    data = bytearray(profile)
    data[at[b"rXYZ"] : at[b"rXYZ"] + 4], data[at[b"bXYZ"] : at[b"bXYZ"] + 4] = b"bXYZ", b"rXYZ"
    words = bytes(data).replace("sRGB".encode("utf-16-be"), "BGRs".encode("utf-16-be"))
    return words.replace(b"sRGB", b"BGRs")


HEIC = """
import io
from PIL import Image

def register_heif_opener():
    Image.register_open("HEIF", lambda file, name: Image.open(io.BytesIO(file.read()[12:])), lambda head: head[4:12] == b"ftypheic")
"""
"""Stands for the package that reads HEIC: what it reads is a PNG behind such a head."""


def test_photos_of_phones_are_read_where_the_package_for_them_is_installed(tmp_path):
    picture = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(picture, "PNG")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + picture.getvalue())
    (tmp_path / "with").mkdir()
    (tmp_path / "with" / "pillow_heif.py").write_text(HEIC)
    code = """
from pathlib import Path
from engine.data.files.listing import list_files
from engine.data.files.pictures import decode, measure
found = list_files(Path("data"))
print(len(found.pictures), len(found.foreign), *(f"{measure(Path(path))} {decode(Path(path)).getpixel((5, 5))}" for path, _ in found.pictures))
"""
    for package, told in (("with", "1 0 (40, 30) (255, 0, 0)"), ("without", "0 1")):
        (tmp_path / "without").mkdir(exist_ok=True)
        if package == "without":  # as if it could not be imported, installed or not
            (tmp_path / "without" / "pillow_heif.py").write_text("raise ImportError")
        where = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / package), str(Path(engine.__file__).parents[1])])}
        answer = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=where, capture_output=True, text=True, check=True)
        assert answer.stdout.strip() == told


def test_of_a_moving_picture_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
    for name in ("a.gif", "a.webp", "a.png"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        assert near(corner(tmp_path / name), (255, 0, 0))


def test_what_is_wrong_with_a_picture_is_said(tmp_path):
    good = draw(tmp_path / "good.jpg", size=(200, 200))
    noise = Image.effect_noise((200, 200), 90)
    noise.save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:3000])
    noise.save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:3000])
    (tmp_path / "head.png").write_bytes(b"\x89PNG\r\n\x1a\n\0\0\0")
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.jpg").write_text("I am not a picture")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "folder.png").mkdir()
    reasons = {
        "cut.jpg": "damaged", "cut.png": "damaged", "head.png": "badly damaged", "empty.png": "it is empty",
        "text.jpg": "not a picture", "gone.png": "a link to a file that is gone", "folder.png": "it is a folder",
    }  # fmt: skip
    for name, reason in reasons.items():
        with pytest.raises(PictureError, match=f"{tmp_path.name}/{name} cannot be read: .*{reason}") as caught:
            decode(tmp_path / name)
        assert caught.value.hint
    assert decode(good).size == (200, 200)


def test_a_picture_of_too_many_pixels_is_refused_by_name(tmp_path, monkeypatch):
    draw(tmp_path / "vast.png", size=(60, 60))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for read in (measure, decode):
        with pytest.raises(PictureError, match=r"vast.png cannot be read: it has more than .* million pixels"):
            read(tmp_path / "vast.png")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_does_not_cost_the_picture(tmp_path):
    draw(tmp_path / "a.jpg", size=(40, 20), exif=b"Exif\0\0II*\0\xff\xff\xff\xffnonsense")
    words = struct.pack("<2sHLHHHL4sL", b"II", 42, 8, 1, 0x0112, 2, 4, b"top", 0)  # an orientation in letters
    draw(tmp_path / "b.jpg", size=(40, 20), exif=b"Exif\0\0" + words)
    for name in ("a.jpg", "b.jpg"):
        assert measure(tmp_path / name) == decode(tmp_path / name).size == (40, 20)


def test_measuring_reads_only_the_head(tmp_path, monkeypatch):
    decoded = []
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", lambda self: decoded.append(self))
    Image.effect_noise((300, 200), 90).save(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes((tmp_path / "a.png").read_bytes()[:500])
    assert measure(tmp_path / "a.png") == (300, 200)
    assert not decoded


def test_pictures_are_found_in_folders_within_and_come_by_name(tmp_path):
    for name in ("b.PNG", "a.jpg", "é/日本 1.webp", "A/z.JPEG", "A/b/c.gif"):
        draw(tmp_path / name)
    for name in (".hidden.png", ".folder/a.png", "_controls/a.png", "__MACOSX/a.png"):
        draw(tmp_path / name)
    (tmp_path / "a.txt").write_text("no picture")
    found = [path.relative_to(tmp_path).as_posix() for path in find_pictures(tmp_path)]
    assert found == ["A/b/c.gif", "A/z.JPEG", "a.jpg", "b.PNG", "é/日本 1.webp"]


def test_a_name_that_is_no_unicode_is_told_as_unicode(tmp_path):
    path = Path(str(tmp_path / "bad") + "\udcff.png")
    try:
        path.write_bytes(b"")
    except OSError:
        pytest.skip("this disk refuses such names")
    with pytest.raises(PictureError) as caught:
        measure(find_pictures(tmp_path)[0])
    assert caught.value.message.encode("utf-8")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(JobError, match="There is no folder .*nowhere"):
        find_pictures(tmp_path / "nowhere")
    with pytest.raises(JobError, match="There is no folder .*a.png"):
        find_pictures(draw(tmp_path / "a.png"))


@pytest.mark.filterwarnings("ignore")  # Pillow tells of what it finds on its way
def test_bytes_of_any_kind_never_escape_as_another_error(tmp_path):
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"):
        buffer.seek(0)
        buffer.truncate()
        Image.effect_noise((32, 32), 50).save(buffer, kind)
        for _ in range(60):
            data = bytearray(buffer.getvalue())
            for position in rng.integers(0, len(data), 8):
                data[position] = rng.integers(0, 256)
            (tmp_path / "a.png").write_bytes(data[: rng.integers(1, len(data) + 1)])
            try:
                assert decode(tmp_path / "a.png").mode == "RGB"
            except PictureError:
                pass

"""Whatever a person may have in a folder: it is told by name, nothing crashes, and nothing in the folder changes."""

from __future__ import annotations

import os
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import draw
from PIL import Image

from engine.data.files.facts import look_at
from engine.data.report import Finding, report
from engine.jobs import Dataset

sys.path.insert(0, str(Path(__file__).parent))
from conftest import photo, snapshot  # noqa: E402

NAMES = ["a b", "🎞 film", 'it\'s "quoted"', "two\nlines", "-rf", "%2e%2e", "$(id)", "a|b", "ünï 日本", "tab\there", "x" * 200]


def looked_at(folder: Path, **keys) -> dict[str, Finding]:
    """The findings, twice the same, of a folder that stays as it is."""
    before = snapshot(folder)
    first, second = (report(Dataset(path=str(folder), **keys), "ohwx").findings for _ in range(2))
    assert first == second and snapshot(folder) == before
    return {one.kind: one for one in first}


def monster(path: Path, width: int, height: int) -> Path:
    """A picture of one colour and 1 bit a pixel, put together without holding it."""

    def part(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    press, row = zlib.compressobj(1), bytes(1 + -(-width // 8))
    body = b"".join(press.compress(row) for _ in range(height)) + press.flush()
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", body) + part(b"IEND", b""))
    return path


def empty(folder: Path) -> None:
    (folder / "bad.png").touch()


def truncated(folder: Path) -> None:
    data = photo(folder / "bad.jpg", (400, 300), seed=9, caption="x").read_bytes()
    (folder / "bad.jpg").write_bytes(data[: len(data) // 2])


def large(folder: Path) -> None:
    monster(folder / "bad.png", 20_000, 10_000)


def no_picture(folder: Path) -> None:
    (folder / "bad.webp").write_text("<html>")


def gone(folder: Path) -> None:
    (folder / "bad.png").symlink_to(folder / "nothing.png")


def scrambled(folder: Path) -> None:
    data = bytearray(photo(folder / "bad.png", seed=9, caption="x").read_bytes())
    data[300:340] = bytes(40)
    (folder / "bad.png").write_bytes(data)


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        (empty, "unreadable", "it is empty"),
        (truncated, "cut", "its end is missing"),
        (large, "large", "million pixels"),
        (no_picture, "unreadable", "not a picture"),
        (gone, "unreadable", "a link to a file that is gone"),
        (scrambled, "unreadable", "damaged"),
    ],
)
def test_a_bad_file_is_named_and_the_good_ones_are_looked_at(tmp_path: Path, make: Callable[[Path], None], kind: str, words: str):
    photo(tmp_path / "good.png")
    make(tmp_path)
    found = looked_at(tmp_path, default_caption="")
    finding = found[kind]
    assert finding.level == "look" and [path.stem for path in finding.files] == ["bad"]
    assert "bad." in finding.message and words in finding.message
    assert report(Dataset(path=str(tmp_path), default_caption="")).counts.sizes == [("160 × 120", 1)]


def test_a_locked_file_is_named(tmp_path, monkeypatch):
    photo(tmp_path / "good.png", caption=None)
    photo(tmp_path / "bad.png", seed=1, caption=None)
    if os.geteuid():
        (tmp_path / "bad.png").chmod(0)
    else:  # nothing is locked to root
        real = Image.open

        def refuse(path, *more, **named):
            if str(path).endswith("bad.png"):
                raise PermissionError(13, "Permission denied")
            return real(path, *more, **named)

        monkeypatch.setattr(Image, "open", refuse)
    found = looked_at(tmp_path, default_caption="")
    assert [path.name for path in found["locked"].files] == ["bad.png"] and "may not read it" in found["locked"].message


def test_names_of_any_kind_are_looked_at_and_told_in_print(tmp_path):
    for number, name in enumerate(NAMES):
        draw(tmp_path / f"{name}.png", (64, 64 + number), caption="a")
        (tmp_path / f"{name}!.png").touch()
    raw = os.fsencode(tmp_path) + b"/latin \xe9.png"
    with open(raw, "wb"):
        pass
    found = looked_at(tmp_path)
    assert len(found["unreadable"].files) == len(NAMES) + 1
    assert report(Dataset(path=str(tmp_path))).counts.captions == len(NAMES)
    str(report(Dataset(path=str(tmp_path))).data()).encode()


def test_a_path_of_260_letters_is_read(tmp_path):
    deep = tmp_path.joinpath(*["d" * 60] * 4)
    draw(deep / "a.png", caption="a")
    assert len(str(deep / "a.png")) > 260
    assert {one.level for one in looked_at(tmp_path).values() if one.kind in ("caption", "unreadable")} == {"ok"}


def test_captions_of_100_kb_and_in_latin_1_are_told(tmp_path):
    draw(tmp_path / "long.png", caption="ohwx words without end " * 4400)
    draw(tmp_path / "odd.png", (65, 64)).with_suffix(".txt").write_bytes("ohwx, un café".encode("latin-1"))
    draw(tmp_path / "bytes.png", (66, 64)).with_suffix(".txt").write_bytes(b"ohwx \x00\xff\xfe\x81")
    found = looked_at(tmp_path)
    assert [path.name for path in found["long"].files] == ["long.png"]
    assert [path.name for path in found["encoding"].files] == ["bytes.png", "odd.png"]


def test_a_caption_that_is_a_folder_or_a_table_that_is_broken_is_told(tmp_path):
    draw(tmp_path / "a.png")
    (tmp_path / "a.txt").mkdir()
    assert looked_at(tmp_path)["caption"].level == "problem"
    draw(tmp_path / "b.png").with_suffix(".json").write_text("{broken")
    found = looked_at(tmp_path)
    assert [path.name for path in found["caption_locked"].files] == ["b.png"]


def test_an_animated_picture_counts_by_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    for suffix in ("gif", "webp", "png"):
        frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    found = looked_at(tmp_path, default_caption="")
    assert len(found["moving"].files) == 3 and look_at(tmp_path / "a.gif").width == 64


@pytest.mark.parametrize("number", [0, 1, 1500])
def test_folders_of_no_one_and_very_many_pictures(tmp_path, number):
    data = draw(tmp_path / "one.png", (16, 16)).read_bytes()
    (tmp_path / "one.png").unlink()
    for index in range(number):
        (tmp_path / f"{index}.png").write_bytes(data + b"%d" % index)
    found = looked_at(tmp_path, default_caption="")
    assert ("empty" in found) == (number == 0)
    assert number == 0 or found["unreadable"].level == "ok"


def test_every_kind_of_pixels_gives_facts(tmp_path):
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"):
        draw(tmp_path / f"{mode.replace(';', '')}.png", (90, 60), 1, mode) if mode not in ("LA", "RGB", "RGBA") else draw(
            tmp_path / f"{mode}.png", (90, 60), "red" if mode != "LA" else (9, 9), mode
        )
    for mode, suffix in (("CMYK", "jpg"), ("F", "tif"), ("I", "tif"), ("YCbCr", "jpg"), ("PA", "webp")):
        Image.new("RGB", (90, 60), "teal").convert("L" if mode in "FI" else "RGB").convert(mode if mode != "PA" else "RGBA").save(
            tmp_path / f"{mode}.{suffix}"
        )
    found = looked_at(tmp_path, default_caption="")
    assert found["unreadable"].level == "ok" and "large" not in found


def test_a_turned_photo_is_measured_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (80, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert (look_at(tmp_path / "a.jpg").width, look_at(tmp_path / "a.jpg").height) == (40, 80)

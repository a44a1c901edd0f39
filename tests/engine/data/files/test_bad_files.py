"""Whatever a person may have in a folder, trained on from start to end: what is good is learned, the rest is told by name, nothing in the folder changes."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import draw
from PIL import Image

from engine.training.loader import Loader

NAMES = ["a b", "🎞 film", 'it\'s "quoted"', "two\nlines", "-rf", "$(id)", "a|b;c", "ünï 日本", "tab\there", "x" * 200]
LONG = "zzz " + "words without end " * 5700


def everything(folder: Path) -> dict[str, tuple[object, ...]]:
    """Kind, time of the last change and bytes of all that is in a folder, and where links lead."""
    seen: dict[str, tuple[object, ...]] = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        facts = path.lstat()
        content = str(path.readlink()) if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        seen[str(path.relative_to(folder))] = facts.st_mode, facts.st_mtime_ns, facts.st_size, content
    return seen


def vast(path: Path, width: int = 20_000, height: int = 10_000) -> Path:
    """A PNG of 200 million black pixels, 1 bit each, put together without holding it."""

    def part(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([1, 0, 0, 0, 0])
    press, row = zlib.compressobj(1), bytes(1 + width // 8)
    body = b"".join(press.compress(row) for _ in range(height)) + press.flush()
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", body) + part(b"IEND", b""))
    return path


def good(folder: Path) -> None:
    draw(folder / "good.png", caption="a field")


def too_large(folder: Path) -> None:
    good(folder)
    vast(folder / "vast.png").with_suffix(".txt").write_text("black")


def only_too_large(folder: Path) -> None:
    vast(folder / "vast.png").with_suffix(".txt").write_text("black")


def no_picture(folder: Path) -> None:
    good(folder)
    (folder / "page.webp").write_text("<html>")


def only_no_pictures(folder: Path) -> None:
    (folder / "page.webp").write_text("<html>")
    (folder / "empty.jpg").touch()


def another_kind(folder: Path) -> None:
    """A PNG that is called JPEG."""
    Image.new("RGB", (48, 32), "red").save(folder / "a.jpg", "PNG")
    (folder / "a.txt").write_text("a field")


def moving(folder: Path) -> None:
    first, *rest = [Image.new("RGB", (48, 32), colour) for colour in ("red", "lime", "blue")]
    first.save(folder / "a.gif", save_all=True, append_images=rest)
    (folder / "a.txt").write_text("a field")


def odd_names(folder: Path) -> None:
    for name in NAMES:
        draw(folder / f"{name}.png", caption=name.strip())


def broken_with_odd_names(folder: Path) -> None:
    good(folder)
    for name in ("two\nlines", 'it\'s "quoted"', "🎞 film"):
        (folder / f"{name}.png").touch()


def deep(folder: Path) -> None:
    path = draw(folder.joinpath(*["d" * 60] * 4, "a.png"), caption="a field")
    assert len(str(path)) > 260


def linked(folder: Path) -> None:
    """To a picture elsewhere, to a whole folder elsewhere, to nothing, and in a circle."""
    good(folder)
    elsewhere = draw(folder.parent / "elsewhere" / "one.png", colour="blue")
    (folder / "link.png").symlink_to(elsewhere)
    (folder / "link.txt").write_text("a link")
    (folder / "folder").symlink_to(elsewhere.parent)
    (folder / "circle").symlink_to(folder)
    (folder / "gone.png").symlink_to(folder / "nowhere.png")


def long_caption(folder: Path) -> None:
    draw(folder / "long.png", caption=LONG)


def old_captions(folder: Path) -> None:
    draw(folder / "old.png").with_suffix(".txt").write_bytes("un café".encode("latin-1"))
    draw(folder / "bytes.png").with_suffix(".txt").write_bytes(b"zzz \x00\xff\xfe\x81")


def nothing(folder: Path) -> None:
    pass


def nothing_readable(folder: Path) -> None:
    (folder / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "notes.txt").write_text("words")


def no_captions(folder: Path) -> None:
    draw(folder / "bare.png")


LEARNED = [
    (good, {"good.png": "a field"}, []),
    (too_large, {"good.png": "a field"}, ["data/vast.png (it has more than", "million pixels; save a smaller copy)"]),
    (no_picture, {"good.png": "a field"}, ["data/page.webp (it is not a picture"]),
    (another_kind, {"a.jpg": "a field"}, []),
    (moving, {"a.gif": "a field"}, []),
    (odd_names, {f"{name}.png": name.strip() for name in NAMES}, []),
    (
        broken_with_odd_names,
        {"good.png": "a field"},
        ["3 files cannot be read", "data/two\nlines.png (it is empty)", 'data/it\'s "quoted".png', "data/🎞 film.png"],
    ),
    (deep, {"a.png": "a field"}, []),
    (linked, {"good.png": "a field", "link.png": "a link"}, ["data/gone.png (it is a link to a file that is gone)"]),
    (long_caption, {"long.png": LONG.strip()}, []),
    (old_captions, {"old.png": "un café", "bytes.png": "zzz \x00ÿþ�"}, ["data/old.txt", "data/bytes.txt"]),
]
"""A folder, the pictures that are learned with their captions, and what is said of the others."""

REFUSED = [
    (nothing, "There are no pictures in"),
    (nothing_readable, "1 file is of a kind that cannot be read (HEIC)"),
    (only_too_large, "data/vast.png cannot be read: it has more than"),
    (only_no_pictures, "None of the 2 pictures can be read"),
    (no_captions, "bare.png"),
]
"""A folder that nothing can be learned from, and what is said of it."""


@pytest.fixture
def folder(tmp_path) -> Path:
    place = tmp_path / "person" / "data"
    place.mkdir(parents=True)
    return place


@pytest.fixture
def learned(monkeypatch) -> dict[str, str]:
    """The pictures of a run with their captions, once it has batches."""
    found: dict[str, str] = {}
    begin = Loader.__post_init__

    def told(loader: Loader) -> None:
        begin(loader)
        found.update({item.path.name: item.caption for item in loader.items})

    monkeypatch.setattr(Loader, "__post_init__", told)
    return found


@pytest.mark.parametrize(("make", "pictures", "told"), LEARNED, ids=lambda one: getattr(one, "__name__", ""))
def test_what_is_good_is_learned_and_the_rest_is_named(make: Callable[[Path], None], pictures, told, folder, learned, make_job, run):
    make(folder)
    before = everything(folder.parent)
    events = run(make_job(datasets=[{"path": str(folder)}], sample__sample_every=None, train__steps=1))
    warned = [event.message for event in events if event.kind == "warned"]
    assert events[-1].kind == "finished", events[-1]
    assert learned == pictures
    assert all(any(words in message for message in warned) for words in told), warned
    assert bool(warned) == bool(told), warned
    assert everything(folder.parent) == before


@pytest.mark.parametrize(("make", "told"), REFUSED, ids=lambda one: getattr(one, "__name__", ""))
def test_where_nothing_can_be_learned_one_sentence_says_why(make: Callable[[Path], None], told, folder, learned, make_job, run):
    make(folder)
    before = everything(folder.parent)
    failed = run(make_job(datasets=[{"path": str(folder)}], sample__sample_every=None, train__steps=1))[-1]
    assert failed.kind == "failed" and told in f"{failed.message} {failed.hint}"
    assert not failed.detail and failed.hint
    assert not learned and everything(folder.parent) == before


def test_a_folder_that_is_not_there_is_named(folder, make_job, run):
    failed = run(make_job(datasets=[{"path": str(folder / "lost")}]))[-1]
    assert failed.kind == "failed" and "There is no folder" in failed.message and "lost" in failed.message and not failed.detail

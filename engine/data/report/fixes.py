"""What can be done about a finding, as a list of changes: nothing is changed here.

Paths in a change are relative to the data set, so that it can be made in the set or in a copy.
"""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
from PIL import Image, ImageOps

from ...errors import JobError
from ..captions.text import TRIGGER, caption_file, decode_text
from ..files.facts import look_at
from ..files.pictures import HEIC_SUFFIXES, IMAGE_SUFFIXES, PictureError, opened
from ..words import printable
from .album import ENDINGS
from .finding import Fix

MOST_PIXELS = 1_000_000_000
"""No picture with more is opened, whatever its file says."""
SHRUNK = 32_000_000
"""Pixels of a picture that was made smaller; training takes half of that at most."""
TEMPLATE = "{name}"
ENDING_OF = {kind: min(endings, key=lambda ending: (ending not in (".jpg", ".tif"), ending)) for kind, endings in ENDINGS.items()}


@dataclass(frozen=True)
class Options:
    """What fixes need to be told."""

    caption_ext: str = ".txt"
    template: str = TEMPLATE
    """Caption of a picture without one; {name} is what its file is called, in words."""


@dataclass(frozen=True)
class Change:
    """One thing that is done: files that go, and one that comes."""

    sentence: str
    gone: tuple[Path, ...] = ()
    new: Path | None = None
    write: Callable[[Path], object] | None = field(default=None, compare=False, repr=False)
    """Writes the new file at the path that it is given. JobError if that cannot be done."""


@dataclass(frozen=True)
class Left:
    """A file that is left as it is, and why."""

    file: Path
    reason: str


Step = Change | Left


def changes_of(fix: Fix, files: Iterable[Path], folder: Path, options: Options) -> Iterator[Step]:
    """What would be done about ``files``, which lie in ``folder``."""
    taken: set[Path] = set()
    for step in _FIXES[fix](list(files), folder, options):
        if isinstance(step, Change) and step.new is not None:
            if step.new in taken:
                continue  # pictures that share a caption
            taken.add(step.new)
        yield step


def words_of(name: str) -> str:
    """What a file is called, in words: ``red_car-02.final`` is "red car 02 final"; a counter in brackets goes."""
    words = re.sub(r"[_\-.+\s]+", " ", re.sub(r"\(\d+\)\s*$", "", name)).strip()
    return words or name


def _take_out(files: list[Path], folder: Path, options: Options) -> Iterator[Step]:
    going = set(files)
    for file in files:
        caption = caption_file(file, options.caption_ext)
        others = (file.with_name(file.stem + ending) for ending in IMAGE_SUFFIXES)
        shared = any(other not in going and other.exists() for other in others)
        gone = (file, caption) if caption.is_file() and not shared else (file,)
        names = " and ".join(printable(one.name) for one in gone)
        yield Change(f"{names} {'go' if len(gone) > 1 else 'goes'}.", tuple(one.relative_to(folder) for one in gone))


def _write_captions(files: list[Path], folder: Path, options: Options) -> Iterator[Step]:
    if unknown := set(re.findall(r"\{(\w*)\}", options.template)) - {"name", "folder"}:
        raise JobError(f"The template names {{{min(unknown)}}}.", "It may name {name}, the file, and {folder}, its folder.")
    for file in files:
        caption = caption_file(file, options.caption_ext)
        text = options.template.replace("{name}", words_of(printable(file.stem))).replace("{folder}", words_of(printable(file.parent.name)))
        place = caption.relative_to(folder)
        if caption.is_dir():
            yield Left(place, "a folder has the name of the caption")
        else:
            yield Change(f"{printable(file.name)} is called {text!r}.", (place,) if caption.exists() else (), place, partial(_write, text))


def _add_trigger(files: list[Path], folder: Path, options: Options) -> Iterator[Step]:
    for file, caption, data in _caption_files(files, options):
        if data is None:
            yield Left(file.relative_to(folder), "its caption does not stand in a text file beside it")
            continue
        text = f"{TRIGGER}, {decode_text(data)[0].strip()}"
        place = caption.relative_to(folder)
        yield Change(f"{printable(caption.name)} begins with {TRIGGER}.", (place,), place, partial(_write, text))


def _to_utf8(files: list[Path], folder: Path, options: Options) -> Iterator[Step]:
    for file, caption, data in _caption_files(files, options):
        if data is None:
            yield Left(file.relative_to(folder), "its caption does not stand in a text file beside it")
            continue
        text = decode_text(data)[0]
        place = caption.relative_to(folder)
        short = text.strip() if len(text.strip()) <= 60 else f"{text.strip()[:60]}…"
        yield Change(f"{printable(caption.name)} is saved as UTF-8: {short!r}.", (place,), place, partial(_write_exactly, text))


def _caption_files(files: list[Path], options: Options) -> Iterator[tuple[Path, Path, bytes | None]]:
    for file in files:
        caption = caption_file(file, options.caption_ext)
        try:
            yield file, caption, caption.read_bytes()
        except OSError:
            yield file, caption, None


def _convert(files: list[Path], folder: Path, options: Options) -> Iterator[Step]:
    for file in files:
        place = file.relative_to(folder)
        if file.suffix.lower() in IMAGE_SUFFIXES:
            facts = look_at(file)
            if facts.fault:
                yield Left(place, facts.reason)
                continue
            named_wrong = file.suffix.lower() not in ENDINGS.get(facts.kind, ())
            ending = ".png" if facts.moving and facts.kind != "MPO" else ENDING_OF.get(facts.kind, ".png")
            write = partial(shutil.copyfile, file) if named_wrong and ending != ".png" else partial(_save, file)
            if named_wrong and facts.kind == "PNG" and not facts.moving:
                write = partial(shutil.copyfile, file)
        elif (reason := _cannot_open(file)) is not None:
            yield Left(place, reason)
            continue
        else:
            ending, write = ".jpg", partial(_save, file)
        new = file.with_suffix(ending)
        if new != file and os.path.lexists(new):
            yield Left(place, f"{printable(new.name)} is there already")
        else:
            yield Change(f"{printable(file.name)} becomes {printable(new.name)}.", (place,), new.relative_to(folder), write)


def _shrink(files: list[Path], folder: Path, options: Options) -> Iterator[Step]:
    for file in files:
        place = file.relative_to(folder)
        try:
            with _open_large(file) as image:
                width, height = image.size
                kind = str(image.format)
        except JobError as error:
            yield Left(place, str(error))
            continue
        scale = math.sqrt(SHRUNK / (width * height))
        new = file if kind == "JPEG" and file.suffix.lower() in ENDINGS["JPEG"] else file.with_suffix(".png")
        if new != file and os.path.lexists(new):
            yield Left(place, f"{printable(new.name)} is there already")
            continue
        size = f"{width * scale:,.0f} × {height * scale:,.0f}"
        sentence = f"{printable(file.name)} becomes {printable(new.name)} with {size} pixels, instead of {width:,} × {height:,}."
        yield Change(sentence, (place,), new.relative_to(folder), partial(_save_smaller, file))


def _write(text: str, target: Path) -> None:
    target.write_text(f"{text}\n", encoding="utf-8", newline="\n")


def _write_exactly(text: str, target: Path) -> None:
    target.write_bytes(text.encode("utf-8", "replace"))


def _save(source: Path, target: Path) -> None:
    """The picture, a moving one's first frame, upright, as a PNG or a JPEG; its colours stay as they are."""
    with opened(source) as image:
        picture = ImageOps.exif_transpose(image)
        _store(picture, target, image.info.get("icc_profile"))


def _save_smaller(source: Path, target: Path) -> None:
    with _open_large(source) as image:
        profile = image.info.get("icc_profile")
        scale = math.sqrt(SHRUNK / (image.width * image.height))
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image.draft(None, size)
        small = image.convert("L") if image.mode == "1" else image
        small = small.resize(size, Image.Resampling.BOX if small.mode != "P" else Image.Resampling.NEAREST, reducing_gap=None)
        small.info.update({key: value for key, value in image.info.items() if key == "exif"})
        _store(ImageOps.exif_transpose(small), target, profile)


def _store(picture: Image.Image, target: Path, profile: bytes | None) -> None:
    options = {"icc_profile": profile} if profile else {}
    if target.suffix.lower() == ".png":
        plain = (
            picture
            if picture.mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
            else picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        )
        plain.save(target, "PNG", **({} if picture.mode == "CMYK" else options))
    else:
        plain = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
        plain.save(target, "JPEG", quality=95, subsampling=0, **options)


def _cannot_open(path: Path) -> str | None:
    """Why a picture of a foreign kind cannot be converted; None if it can."""
    if path.suffix.lower() in HEIC_SUFFIXES:  # foreign only where the package is not here
        return "HEIC is read with the package pillow-heif, which is not installed"
    try:
        with opened(path):
            return None
    except PictureError:
        return f"pictures of this kind ({path.suffix[1:].upper()}) cannot be opened here"


def _open_large(path: Path) -> Image.Image:
    """The picture, opened without Pillow's limit of pixels, which stays as it is for everyone else: its formats are asked one by one.

    JobError where it has more than ``MOST_PIXELS``, or more than fit into half of the free memory.
    """
    Image.init()
    with path.open("rb") as file:
        head = file.read(16)
    for kind in Image.ID:
        factory, accepts = Image.OPEN[kind]
        if kind not in ENDINGS or (accepts and (not (fits := accepts(head)) or isinstance(fits, str))):
            continue
        try:
            image = factory(path, "")  # type: ignore[arg-type]
        except Exception:  # another kind: damaged bytes raise anything at all
            continue
        pixels = image.width * image.height
        room = psutil.virtual_memory().available / 2
        if pixels > MOST_PIXELS or pixels * 2 * (4 if image.mode not in ("1", "L", "P") else 1) > room:
            image.close()
            raise JobError(f"It has {pixels / 1e6:,.0f} million pixels, more than can be opened here.", "Save a smaller copy.")
        return image
    raise JobError("It cannot be opened.", "Save a smaller copy.")


_FIXES: dict[Fix, Callable[[list[Path], Path, Options], Iterator[Step]]] = {
    "take_out": _take_out, "write_captions": _write_captions, "add_trigger": _add_trigger, "to_utf8": _to_utf8,
    "convert": _convert, "shrink": _shrink,
}  # fmt: skip

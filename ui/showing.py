"""What the base model that is chosen makes of a data set: the part of a picture that it is shown, and the tables of all of them. No Gradio."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engine.data.files.clips import VIDEO_SUFFIXES, probe
from engine.data.files.pictures import measure
from engine.data.preview import preview
from engine.data.report import report
from engine.data.report.counts import Counts
from engine.data.scan import Item
from engine.data.sizes.crops import Box
from engine.data.words import count
from engine.errors import JobError
from engine.families.catalog import BASES, BaseInfo, base_of, defaults_of, multiple_of
from engine.jobs import Dataset, ModelSection

from . import form, pieces
from .library import Library
from .memory import Memory


@dataclass(frozen=True)
class Base:
    """The model that is trained on, as far as sizes go."""

    title: str
    name_or_path: str
    resolution: tuple[int, ...]
    multiple: int
    videos: bool = False
    """Whether the job asks for videos; else they are left aside."""


@dataclass(frozen=True)
class Shown:
    """What is trained of one picture."""

    size: tuple[int, int]
    """Width and height of the picture, in pixels."""
    box: Box | None
    """The part that is shown, in pixels of it; None if it cannot be told."""
    words: str


def base_now(memory: Memory) -> Base:
    """The base model of the job that lies on the desk, and the sizes that it is trained at."""
    draft = memory.get("draft") or {}
    name = str(form.get(draft, "model.name_or_path", None) or BASES[0].name_or_path)
    known: BaseInfo | None = base_of(name)
    place = known.name_or_path if known else name
    wanted = form.get(draft, "datasets.0.resolution", None)
    videos = any(form.get(draft, f"datasets.0.{key}", None) for key in ("num_frames", "auto_frame_count"))
    try:
        sizes = wanted or defaults_of(place).resolution
        multiple = multiple_of(place)
    except JobError:  # a model of which nothing is known before it is there
        sizes, multiple = wanted or [1024], 16
    return Base(known.title if known else name, name, tuple(sizes if isinstance(sizes, list | tuple) else [int(sizes)]), multiple, videos)


def shown(library: Library, picture: Path, base: Base) -> Shown | None:
    """What is trained of a picture; None for one that cannot be read."""
    facts = picture.stat()
    return _shown(picture, facts.st_mtime_ns, facts.st_size, base, library.root)


@lru_cache(maxsize=4096)
def _shown(picture: Path, time: int, bytes_: int, base: Base, root: Path) -> Shown | None:
    """``time`` and ``bytes_`` say which picture it is: one that is exchanged is looked at again."""
    try:
        clip = probe(picture) if picture.suffix.lower() in VIDEO_SUFFIXES else None
        size = (clip.width, clip.height) if clip else measure(picture)
    except (JobError, OSError):
        return None
    if clip and not base.videos:
        return Shown(size, None, "left aside: the job asks for no frames of videos")
    try:
        placed = preview([Dataset(path=str(root))], [Item(picture, *size, "")], list(base.resolution), base.multiple)
    except JobError:
        return Shown(size, None, f"{size[0]} × {size[1]} pixels: too small for {base.title}")
    largest = max(placed, key=lambda one: one.bucket[0] * one.bucket[1])
    *others, last = dict.fromkeys(f"{one.bucket[0]} × {one.bucket[1]}" for one in placed)
    return Shown(size, largest.box, f"trained at {', '.join(others)}{' and ' if others else ''}{last}")


def tables(library: Library, name: str, base: Base) -> str:
    """The tables of a data set for a base model, as a piece."""
    section = library.dataset(name).model_copy(update={"resolution": list(base.resolution)})
    model = ModelSection(name_or_path=base.name_or_path)
    try:
        counts = report(section, None, model, likeness=False, multiple=base.multiple).counts
    except JobError:  # a model of which nothing is known before it is there
        counts = report(section, likeness=False, multiple=base.multiple).counts
    return _drawn(counts, base)


def _drawn(counts: Counts, base: Base) -> str:
    facts = [("pictures", f"{counts.pictures:,}"), ("captions", f"{counts.captions:,}")]
    facts += [("cannot be used", f"{counts.unusable:,}")] if counts.unusable else []
    drawn = "".join(
        [
            pieces.bars("Shapes, width to height", counts.shapes, "No picture can be read."),
            pieces.bars(f"Trained at, with {base.title}", counts.buckets, "None is large enough."),
            pieces.bars("Area", counts.megapixels, "No picture can be read."),
            pieces.bars("Words in a caption", counts.lengths, "No captions yet."),
            pieces.bars("Most frequent words", counts.words, "No captions yet."),
            pieces.bars("Most frequent sizes", counts.sizes[:10], "No picture can be read."),
        ]
    )
    return f'{pieces.facts(facts, "")}<div class="tables">{drawn}</div>'


def clip_words(picture: Path) -> str:
    """Length of a video, in a line; "" for a picture, and for one that cannot be read."""
    if picture.suffix.lower() not in VIDEO_SUFFIXES:
        return ""
    try:
        clip = probe(picture)
    except (JobError, OSError):
        return ""
    return f"video, {clip.seconds:.1f} s, {count(clip.frames, 'frame')}"

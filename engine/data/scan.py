"""From a data set's settings to its items: what there is, how large, and what the captions say. Reads heads of files only."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import JobError
from ..events import Warned
from ..jobs import Dataset
from .captions.options import wording_notes, wording_of
from .captions.sources import find_captions, read_listing
from .captions.text import apply_trigger
from .files.clips import VIDEO_SUFFIXES, Clip, Cut
from .files.heads import Head, read_heads
from .files.listing import Stamped, list_files, stamped
from .files.pictures import PictureError
from .gather import folder_of
from .mates.controls import find_controls, without_mates
from .mates.masks import find_erased, find_masks
from .mates.subjects import find_focuses
from .sizes.crops import CENTRE, Focus
from .words import count, listed, name_of, printable


@dataclass(frozen=True, slots=True)
class Item:
    """A picture to learn from."""

    path: Path
    width: int
    """Pixels, as a person sees the picture."""
    height: int
    caption: str
    """With the trigger words in place."""
    dataset: int = 0
    """Index of its data set in the job."""
    flip: bool = False
    """Shown mirrored."""
    controls: tuple[Path, ...] = ()
    """Reference pictures, one of each control folder."""
    flip_y: bool = False
    """Shown upside down."""
    mask: Path | None = None
    """What is learned of it: a picture, or its own file, whose alpha it is then."""
    erased: Path | None = None
    """A copy of it whose transparency says what is drawn anew."""
    background: str = "white"
    """Colour behind what is transparent."""
    focus: Focus = CENTRE
    """What is kept of it where it is cropped."""
    short: str | None = None
    """Its short caption, if it has one."""
    repeats: int = 1
    """How often the name of its folder wants it, besides what the data set says."""
    clip: Clip | None = None
    """The video that it is."""
    cut: Cut | None = None
    """Which frames of it are learned: known once the model is."""
    shown_for: int = 0
    """It is not learned, but shown to the model: a reference for so many frames."""

    @property
    def frames(self) -> int:
        """That are learned."""
        return self.cut.frames if self.cut else 1

    @property
    def shown_cut(self) -> Cut | None:
        """Its cut, where its own first frame is its reference picture."""
        return self.cut if self.path in self.controls else None


@contextmanager
def _keeping_all() -> Iterator[None]:
    """Nobody looks for garbage in circles meanwhile: there is none among 100,000 new items, and each look goes through all of them."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@_keeping_all()
def scan(dataset: Dataset, trigger: str | None = None, index: int = 0, notes: list[Warned] | None = None) -> list[Item]:
    """The items of a data set, in the order of their names; each twice, the second mirrored, with flip_x.

    Files that cannot be read are left out. That, and what a person should know about the captions, is added to ``notes``. Raises
    JobError where a person has to do something first.
    """
    given = folder_of(dataset)
    listing = read_listing(given) if given.suffix.lower() == ".json" and given.is_file() else None
    folder = listing.folder if listing else given
    files, foreign = (stamped(listing.paths), []) if listing else _found_in(given, dataset)
    if not wants_videos(dataset):
        files, videos = _apart(files)
        if videos and not files:
            raise JobError(
                f"There are only videos in {printable(folder)}, and no pictures.",
                "Set num_frames to how many frames of each are to be learned, with a base model that makes videos; 1 takes the first of each as a picture.",
            )
        if videos and notes is not None:
            told = f"{count(len(videos), 'video is', 'videos are')} left aside: {listed([name_of(Path(path)) for path in videos])}."
            notes.append(Warned(message=told, hint="Set num_frames of the data set to learn from them."))
    if not files:
        raise JobError(f"There are no pictures in {printable(folder)}.", foreign_hint(foreign) or "Add .jpg, .png or .webp files.")
    if foreign and notes is not None:
        left = count(len(foreign), "picture is left out", "pictures are left out")
        notes.append(Warned(message=f"{left}: {listed([name_of(Path(path)) for path in foreign])}.", hint=foreign_hint(foreign)))
    several = dataset.auto_frame_count or (dataset.num_frames or 1) > 1
    names, heads, broken = _apart_broken([name for name, _ in files], read_heads(files, several))
    del files
    if notes is not None:
        notes += left_out(broken)
    captions, known = find_captions(names, folder, dataset, listing)
    paths = [Path(name) for name in names]
    wording_of(dataset)  # raises where the file of random triggers is not there
    if notes is not None:
        notes += [*known, *wording_notes(dataset, [apply_trigger(caption.text, trigger) for caption in captions])]
    controls = find_controls(paths, folder, dataset)
    masks = find_masks(paths, folder, dataset)
    erased = find_erased(paths, folder, dataset)
    focuses = find_focuses(paths, [(head.width, head.height) for head in heads], folder, dataset.crop)
    return [
        Item(
            path,
            head.width,
            head.height,
            apply_trigger(caption.text, trigger),
            index,
            flip,
            mates,
            upside_down,
            mask,
            copy,
            dataset.alpha_color,
            focus,
            short=None if caption.short is None else apply_trigger(caption.short, trigger),
            repeats=caption.repeats,
            clip=head.clip,
        )
        for path, head, caption, mates, mask, copy, focus in zip(paths, heads, captions, controls, masks, erased, focuses, strict=True)
        for upside_down in ((False, True) if dataset.flip_y else (False,))
        for flip in ((False, True) if dataset.flip_x else (False,))
    ]


def find_media(folder: Path) -> list[Path]:
    """The pictures and videos of a folder and of the folders in it, in the order of their names."""
    return [Path(path) for path, _ in list_files(folder).media()]


def _found_in(folder: Path, dataset: Dataset) -> tuple[list[Stamped], list[str]]:
    """Pictures and videos that are to be learned, and pictures of kinds that cannot be read."""
    found = list_files(folder)
    return without_mates(found.media(), folder, dataset), found.foreign


def wants_videos(dataset: Dataset) -> bool:
    return dataset.num_frames is not None or dataset.auto_frame_count


def _apart(files: list[Stamped]) -> tuple[list[Stamped], list[str]]:
    """Pictures, and the paths of videos."""
    videos = [path for path, _ in files if os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES]
    aside = set(videos)
    return [file for file in files if file[0] not in aside] if videos else files, videos


def foreign_hint(paths: list[str]) -> str:
    """What to do about pictures that cannot be read here; empty if there are none."""
    kinds = sorted({Path(path).suffix[1:].upper() for path in paths})
    return (
        f"{count(len(paths), 'file is', 'files are')} of a kind that cannot be read ({', '.join(kinds)}). Save as JPEG or PNG."
        if paths
        else ""
    )


def _apart_broken(paths: list[str], heads: list[Head]) -> tuple[list[str], list[Head], list[PictureError]]:
    """The paths and heads of what can be read, and what is wrong with the others. Raises JobError where all are broken."""
    broken = [PictureError(Path(path), head.reason) for path, head in zip(paths, heads, strict=True) if head.reason]
    if not broken:
        return paths, heads, []
    if len(broken) == len(paths) == 1:
        raise broken[0]
    if len(broken) == len(paths):
        raise JobError(f"None of the {count(len(paths), 'picture')} can be read: {broken_list(broken)}.", "Replace the files.")
    whole = [(path, head) for path, head in zip(paths, heads, strict=True) if not head.reason]
    return [path for path, _ in whole], [head for _, head in whole], broken


def left_out(broken: list[PictureError]) -> list[Warned]:
    """What a person should know about files that are left out; empty if there are none."""
    if not broken:
        return []
    one = len(broken) == 1
    told = f"{count(len(broken), 'file')} cannot be read, and {'is' if one else 'are'} left out: {broken_list(broken)}."
    return [Warned(message=told, hint=f"Replace the file{'' if one else 's'}, or take {'it' if one else 'them'} out of the folder.")]


def broken_list(broken: list[PictureError]) -> str:
    """Their names, each with what is wrong."""
    return listed([f"{name_of(error.path)} ({error.reason})" for error in broken])

"""What a person should know about a folder of pictures before training on it, in plain words. For the app and for `check`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..errors import JobError
from ..settings import load_settings
from .captions import read_text
from .notes import Notes
from .pictures import PictureError, digest, find_foreign, find_pictures, measure, opened
from .scan import foreign_hint
from .words import count, listed

Kind = Literal["empty", "foreign", "unreadable", "small", "caption", "encoding", "duplicate"]


@dataclass(frozen=True)
class Finding:
    """One thing found. ``look`` wants a look, ``ok`` is as it should be."""

    level: Literal["look", "ok"]
    kind: Kind
    message: str
    files: list[Path] = field(default_factory=list)


def findings(
    folder: Path, caption_ext: str = ".txt", resolution: int | None = None, multiple: int = 16
) -> list[Finding]:
    """All that can be told about a folder. Each picture is decoded once, and again only when it changes.

    Raises JobError for a folder that is not there or is locked, never for what is in it.
    """
    paths, foreign = find_pictures(folder), find_foreign(folder)
    found = [Finding("look", "foreign", foreign_hint(foreign), foreign)] if foreign else []
    if not paths:
        return [*found, Finding("look", "empty", "There are no pictures yet.")]
    notes = Notes(load_settings().folder("cache"))
    problems = {path: problem for path, problem in notes.about("problem", paths, find_problem) if problem}
    good = [path for path in paths if path not in problems]
    found += _unreadable(paths, problems)
    found += _small(good, resolution, multiple)
    found += _captions(paths, caption_ext)
    found += _duplicates(dict(notes.about("digest", good, digest)))
    return found


def find_problem(path: Path) -> str:
    """Why a picture cannot be decoded; empty if it can."""
    try:
        with opened(path) as image:
            image.draft(None, (64, 64))  # reads every byte of a JPEG, and skips most of the arithmetic
            image.load()
    except PictureError as error:
        return error.reason
    return ""


def _look(kind: Kind, files: list[Path], one: str, many: str) -> Iterator[Finding]:
    """What is said of these pictures, if there are any."""
    if files:
        yield Finding("look", kind, f"{count(len(files), f'picture {one}', f'pictures {many}')}.", files)


def _ok(kind: Kind, files: list[Path], one: str, many: str) -> Iterator[Finding]:
    """What is said of all pictures, if there are any."""
    if files:
        said = f"The picture {one}." if len(files) == 1 else f"All {len(files):,} pictures {many}."
        yield Finding("ok", kind, said, files)


def _unreadable(paths: list[Path], problems: dict[Path, str]) -> Iterator[Finding]:
    if not problems:
        yield from _ok("unreadable", paths, "can be read", "can be read")
    told = f"cannot be read: {listed([f'{path.name} ({problem})' for path, problem in problems.items()])}"
    yield from _look("unreadable", list(problems), told, told)


def _small(paths: list[Path], resolution: int | None, multiple: int) -> Iterator[Finding]:
    sizes = {path: measure(path) for path in paths}
    area = (resolution or 0) ** 2
    tiny = [path for path in paths if min(sizes[path]) < multiple]
    small = [
        path for path in paths if sizes[path][0] * sizes[path][1] < area and min(sizes[path]) >= multiple
    ]
    why = f"too small to train on: a side has under {multiple} pixels"
    yield from _look("small", tiny, f"is {why}", f"are {why}")
    size = f"{resolution} × {resolution} pixels"
    smaller = f"smaller than {size} and"
    yield from _look(
        "small",
        small,
        f"is {smaller} is trained at its own size",
        f"are {smaller} are trained at their own size",
    )
    if resolution and not tiny and not small:
        yield from _ok("small", paths, f"is large enough for {size}", f"are large enough for {size}")


def _captions(paths: list[Path], caption_ext: str) -> Iterator[Finding]:
    missing, odd, locked = [], [], []
    for path in paths:
        try:
            text, unicode = read_text(path, caption_ext)
        except JobError:
            locked.append(path)
        else:
            missing += [path] if text is None else []
            odd += [] if unicode else [path]
    yield from _look("caption", missing, "has no caption", "have no caption")
    yield from _look("caption", locked, "has a caption that is locked", "have captions that are locked")
    if not missing and not locked:
        yield from _ok("caption", paths, "has a caption", "have captions")
    told = "not saved as UTF-8; look whether its accents are right"
    yield from _look(
        "encoding", odd, f"has a caption {told}", f"have captions {told.replace('its', 'their')}"
    )


def _duplicates(digests: dict[Path, str]) -> Iterator[Finding]:
    first: dict[str, Path] = {}
    copies = [path for path, known in digests.items() if first.setdefault(known, path) != path]
    told = listed([f"{path.name} is {first[digests[path]].name} again" for path in copies], 3)
    yield from _look("duplicate", copies, f"comes twice: {told}", f"come more than once: {told}")
    if len(digests) > 1 and not copies:
        yield Finding("ok", "duplicate", "No picture comes twice.", list(digests))

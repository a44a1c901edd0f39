"""How large each picture and video is: read from the head of its file once, and recalled until the file changes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ...settings import load_settings
from .clips import MOVING_SUFFIXES, VIDEO_SUFFIXES, Clip, probe
from .facts import is_whole, look_at_head, parse_head
from .listing import Stamped
from .notes import Notes
from .pictures import PictureError


class Head(NamedTuple):
    """What the head of a file says."""

    width: int
    """Pixels, as a person sees it."""
    height: int
    clip: Clip | None = None
    """The video that it is."""
    reason: str = ""
    """Why it cannot be read, if it cannot: goes on after its name."""
    moving: bool = False
    """A picture with several frames."""


def read_heads(files: Sequence[Stamped], several: bool) -> list[Head]:
    """Of each of the files. With ``several`` frames wanted, a GIF or WebP that moves is a video."""
    notes = Notes(load_settings().folder("cache"))
    endings = [_ending(name) for name, _ in files]
    stills = [file for file, ending in zip(files, endings, strict=True) if ending not in VIDEO_SUFFIXES]
    facts = [_head(line) for _, line in notes.of_files("head", stills, lambda path: look_at_head(path).dump(), is_whole)]
    may_move = bool(several and MOVING_SUFFIXES.intersection(endings))
    if len(stills) == len(files) and not may_move:
        return facts
    heads = {name: found for (name, _), found in zip(stills, facts, strict=True)}
    videos = [
        file
        for file, ending in zip(files, endings, strict=True)
        if ending in VIDEO_SUFFIXES or (several and ending in MOVING_SUFFIXES and heads[file[0]].moving)
    ]
    clips = dict(notes.of_files("clip", videos, _probed, lambda line: not line.startswith(_FAULT)))
    return [_of_clip(clips[name]) if name in clips else heads[name] for name, _ in files]


def _ending(name: str) -> str:
    return name[name.rfind(".") :].lower()


def _head(line: str) -> Head:
    width, height, moving, reason = parse_head(line)
    return Head(width, height, None, reason, moving)


_FAULT = "!"


def _probed(path: Path) -> str:
    try:
        clip = probe(path)
    except PictureError as error:
        return f"{_FAULT}{error.reason}"
    return f"{clip.width}|{clip.height}|{clip.frames}|{clip.seconds!r}"


def _of_clip(line: str) -> Head:
    if line.startswith(_FAULT):
        return Head(0, 0, reason=line[1:])
    width, height, frames, seconds = line.split("|")
    clip = Clip(int(width), int(height), int(frames), float(seconds))
    return Head(clip.width, clip.height, clip)

"""How large each picture and video is: read from the head of its file once, and recalled until the file changes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..settings import load_settings
from .clips import MOVING_SUFFIXES, VIDEO_SUFFIXES, Clip, probe
from .facts import Facts, is_whole, look_at_head, parse_facts
from .notes import Notes, stamp_of
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


def read_heads(paths: Sequence[Path], several: bool) -> list[Head]:
    """Of each of ``paths``. With ``several`` frames wanted, a GIF or WebP that moves is a video."""
    notes = Notes(load_settings().folder("cache"))
    names = {path: os.fspath(path) for path in paths}
    ending = {path: path.suffix.lower() for path in paths}
    stills = [name for path, name in names.items() if ending[path] not in VIDEO_SUFFIXES]
    heads = {name: _head(line) for name, line in notes.of_files("head", stamped(stills), lambda path: look_at_head(path).dump(), is_whole)}
    videos = [name for path, name in names.items() if ending[path] in VIDEO_SUFFIXES or (several and ending[path] in MOVING_SUFFIXES and heads[name][1])]
    clips = dict(notes.of_files("clip", stamped(videos), _probed, lambda line: not line.startswith(_FAULT)))
    return [_of_clip(clips[name]) if name in clips else heads[name][0] for name in names.values()]


def stamped(names: list[str]) -> list[tuple[str, str]]:
    """Paths with the stamps that tell whether their files changed, in order."""
    return [(name, _stamp(name)) for name in sorted(names)]


def _stamp(name: str) -> str:
    try:
        return stamp_of(os.stat(name))
    except OSError:
        return ""  # a link to nothing


def _head(line: str) -> tuple[Head, bool]:
    """The head, and whether it moves."""
    facts = parse_facts(line) or Facts("broken")
    return Head(facts.width, facts.height, reason=facts.reason), facts.moving


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

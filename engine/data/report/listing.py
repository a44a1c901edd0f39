"""The files of a data set, listed in one walk with the stamps that tell whether they changed. No file is opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..clips import VIDEO_SUFFIXES
from ..notes import stamp_of
from ..pictures import FOREIGN_SUFFIXES, IMAGE_SUFFIXES, NOT_DATA, find_pictures


@dataclass(slots=True)
class Listing:
    """What lies in a folder and in the folders in it. Paths are text: there may be very many."""

    folder: str
    pictures: list[tuple[str, str]] = field(default_factory=list)
    """Path and stamp, in the order of the paths; an empty stamp where the file cannot be looked up."""
    foreign: list[str] = field(default_factory=list)
    """Pictures of kinds that cannot be read."""
    videos: list[str] = field(default_factory=list)
    """Only their captions are looked at."""
    linked_folders: list[str] = field(default_factory=list)
    """Links to folders, which are not looked into: they may lead in a circle."""
    linked_out: list[str] = field(default_factory=list)
    """Pictures that are links to files outside the folder; they are read like any other."""


def list_files(folder: Path) -> Listing:
    """The same files that training finds. Raises JobError for a folder that is not there or is locked."""
    found = Listing(os.path.realpath(folder))
    root = str(folder)
    try:
        for entry, path in _walk(root, found):
            suffix = entry.name[entry.name.rfind(".") :].lower()
            if suffix in IMAGE_SUFFIXES:
                found.pictures.append((path, _stamp(entry)))
                if entry.is_symlink() and not os.path.realpath(path).startswith(found.folder + os.sep):
                    found.linked_out.append(path)
            elif suffix in VIDEO_SUFFIXES:
                found.videos.append(path)
            elif suffix in FOREIGN_SUFFIXES:
                found.foreign.append(path)
    except OSError:
        find_pictures(folder)  # has the sentences for it
        raise
    found.folder = root
    found.pictures.sort()
    found.foreign.sort()
    found.videos.sort()
    return found


def _walk(folder: str, found: Listing) -> Iterator[tuple[os.DirEntry[str], str]]:
    inner: list[str] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if not entry.is_dir():
                yield entry, entry.path
            elif entry.name not in NOT_DATA:
                (found.linked_folders if entry.is_symlink() else inner).append(entry.path)
    for path in sorted(inner):
        yield from _walk(path, found)


def _stamp(entry: os.DirEntry[str]) -> str:
    try:
        return stamp_of(entry.stat())
    except OSError:
        return ""  # a link to nothing

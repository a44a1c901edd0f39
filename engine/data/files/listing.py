"""The files of a data set, found in one walk, with the stamps that tell whether they changed. No file is opened."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import JobError
from ..words import printable
from .clips import VIDEO_SUFFIXES
from .notes import stamp_of
from .pictures import FOREIGN_SUFFIXES, IMAGE_SUFFIXES

NOT_DATA = frozenset({"_controls", "__MACOSX"})
"""Folders whose pictures are not for training."""

Stamped = tuple[str, str]
"""Path and stamp of a file; an empty stamp where it cannot be looked up. Paths are text: there may be very many."""


@dataclass(slots=True)
class Listing:
    """What lies in a folder and in the folders in it, each kind in the order of the names. Hidden files and folders are left out."""

    folder: str
    pictures: list[Stamped] = field(default_factory=list)
    videos: list[Stamped] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    """Pictures of kinds that cannot be read here; a person should hear of them."""
    linked_folders: list[str] = field(default_factory=list)
    """Links to folders, which are not looked into: they may lead in a circle."""
    linked_out: list[str] = field(default_factory=list)
    """Pictures that are links to files outside the folder; they are read like any other."""

    def media(self) -> list[Stamped]:
        """Pictures and videos."""
        return sorted(self.pictures + self.videos, key=lambda one: in_order(one[0])) if self.videos else self.pictures


def list_files(folder: Path) -> Listing:
    """What lies there. Raises JobError for a folder, or one in it, that is not there or cannot be read."""
    found, home = Listing(str(folder)), os.path.realpath(folder) + os.sep
    for entry in _walk(found.folder, found):
        suffix = entry.name[entry.name.rfind(".") :].lower()
        if suffix in IMAGE_SUFFIXES:
            found.pictures.append((entry.path, _stamp(entry)))
            if entry.is_symlink() and not os.path.realpath(entry.path).startswith(home):
                found.linked_out.append(entry.path)
        elif suffix in VIDEO_SUFFIXES:
            found.videos.append((entry.path, _stamp(entry)))
        elif suffix in FOREIGN_SUFFIXES:
            found.foreign.append(entry.path)
    found.pictures.sort(key=lambda one: in_order(one[0]))
    found.videos.sort(key=lambda one: in_order(one[0]))
    found.foreign.sort(key=in_order)
    return found


def find_pictures(folder: Path) -> list[Path]:
    """The pictures of a folder and of the folders in it, in the order of their names. JobError as from ``list_files``."""
    return [Path(path) for path, _ in list_files(folder).pictures]


def stamped(names: Iterable[str]) -> list[Stamped]:
    """Files with their stamps, in the order of their names."""
    return [(name, _stamp(name)) for name in sorted(names, key=in_order)]


def folders_of(paths: Iterable[str]) -> set[str]:
    """The folders that files lie in."""
    return {path[: path.rfind(os.sep)] or os.sep for path in paths}


def in_order(path: str) -> str:
    """By this, paths are in the order of their folders' names, and then of their own."""
    return path.replace(os.sep, "\0")


def _walk(folder: str, found: Listing) -> Iterator[os.DirEntry[str]]:
    """The files."""
    inner: list[str] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not _is_folder(entry):
                    yield entry
                elif entry.name not in NOT_DATA:
                    (found.linked_folders if entry.is_symlink() else inner).append(entry.path)
    except OSError as error:
        raise _told(error, folder) from error
    for path in sorted(inner):
        yield from _walk(path, found)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself


def _stamp(file: os.DirEntry[str] | str) -> str:
    try:
        return stamp_of(os.stat(file) if isinstance(file, str) else file.stat())
    except OSError:
        return ""  # a link to nothing


def _told(error: OSError, folder: str) -> JobError:
    where = printable(error.filename or folder)
    if isinstance(error, PermissionError):
        return JobError(f"The folder {where} is locked.", "Allow this user to open it and to read its files.")
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return JobError(f"There is no folder {where}.", "Check the path of the data set.")
    return JobError(f"The folder {where} cannot be read: {error.strerror}.", "Check the disk or the network.")

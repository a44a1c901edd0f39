"""Data sets as zips: in and out. What a zip's directory claims about names and sizes is not believed.

Nothing is written under a name that the zip chose: members come out numbered, and who takes them in gives them places.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...errors import JobError
from ...runs.atomic import put, replace_file, staging
from ...runs.folder import DEVICES, slug
from ...settings import load_settings, resolve
from ..words import printable
from .clips import VIDEO_SUFFIXES
from .pictures import FOREIGN_SUFFIXES, IMAGE_SUFFIXES

MOST_FILES, MOST_BYTES, MOST_BYTES_IN_ALL = 200_000, 4 * 2**30, 64 * 2**30
MOST_RATIO, RATIO_FROM = 200, 2**20
"""What unpacks to more than so many times its size, and is not small, is a bomb: pictures hardly shrink at all."""
TEXTS = frozenset({".txt", ".caption", ".json", ".jsonl", ".csv", ".md"})
_UTF8 = 0x800


@dataclass(frozen=True)
class Limits:
    """How much is taken out of a zip."""

    files: int = MOST_FILES
    each: int = MOST_BYTES
    """Bytes of one file."""
    together: int = MOST_BYTES_IN_ALL
    ratio: int = MOST_RATIO


@dataclass(frozen=True)
class Member:
    """A file that came out of a zip."""

    place: PurePosixPath
    """Where it stood, never above the zip's own top, nor absolute."""
    path: Path
    """Where it is now."""


@dataclass
class Taken:
    """What became of a zip."""

    folder: Path | None = None
    files: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)
    """Name, and what is wrong with it."""


def unpack(
    archive: Path, room: Path, wanted: Callable[[str], bool], refused: list[tuple[str, str]], limits: Limits | None = None
) -> list[Member]:
    """The wanted files of a zip, in the new folder ``room`` under names of our own; the others are added to ``refused``.

    Files of Apple's and hidden ones are left out without a word.
    """
    room.mkdir()
    limits = limits or Limits()
    found: list[Member] = []
    room_left = min(limits.together, shutil.disk_usage(room).free // 2)
    try:
        with zipfile.ZipFile(archive) as file:
            members = [member for member in file.infolist() if not member.is_dir()]
            if len(members) > limits.files:
                raise JobError(f"holds {len(members):,} files; at most {limits.files:,} are taken")
            for number, member in enumerate(members):
                place = place_of_member(member)
                if "__MACOSX" in place.parts or any(part.startswith(".") for part in place.parts):
                    continue
                if not wanted(place.name):
                    refused.append((place.name, "is not a picture or a caption"))
                    continue
                if stat.S_ISLNK(member.external_attr >> 16):
                    refused.append((place.name, "is a link"))
                    continue
                target = room / f"{number}{place.suffix.lower()}"
                try:
                    size = _extract(file, member, target, min(limits.each, room_left), limits.ratio)
                except (RuntimeError, OSError):  # a password, a way of packing that is not known, a full disk: for all
                    raise
                except Exception:  # damaged bytes raise anything at all
                    target.unlink(missing_ok=True)
                    refused.append((place.name, "is damaged"))
                    continue
                if size is None:
                    refused.append((place.name, "is too large"))
                    continue
                room_left -= size
                found.append(Member(place, target))
    except JobError as error:
        refused.append((archive.name, error.message))
    except Exception as error:  # damaged bytes raise anything at all, from BadZipFile to struct.error
        secret = "password" in str(error) or "encrypted" in str(error)
        refused.append((archive.name, "has a password" if secret else "cannot be opened; the zip is broken"))
    return found


def place_of_member(member: zipfile.ZipInfo) -> PurePosixPath:
    """Where a member belongs: its path without a drive, a root, or steps upwards."""
    parts = [part for part in _name_of(member).replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if parts and re.fullmatch(r"[A-Za-z]:", parts[0]):
        parts = parts[1:]
    return PurePosixPath(*parts)


def clean(stem: str) -> str:
    """A file name that every system takes; letters of any script stay."""
    text = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", stem).strip(" .")
    text = text.encode("utf-8", "ignore")[:180].decode("utf-8", "ignore").rstrip(" .")  # a name has 255 bytes
    return f"{text}_" if DEVICES.fullmatch(text) else text


def import_zip(archive: Path, name: str | None = None) -> Taken:
    """A new data set in the app's folder, with the folders that the zip has; named after the zip unless ``name`` is given.

    JobError if nothing in it can be used.
    """
    if not archive.is_file():
        raise JobError(f"There is no file {printable(archive)}.", "Check the path.")
    root = load_settings().folder("datasets")
    wish, number = slug(name or archive.stem), 2
    folder = root / wish
    while folder.exists():
        if name:
            raise JobError(f"There is already a data set named {wish}.", "Choose another name.")
        folder, number = root / f"{wish}-{number}", number + 1
    taken = Taken()
    with staging(root) as stage:
        members = unpack(archive, stage / "room", is_data, taken.refused)
        pictures = [member for member in members if member.place.suffix.lower() not in TEXTS]
        if not pictures:
            told = "; ".join(f"{file} {reason}" for file, reason in taken.refused[:3])
            raise JobError(
                f"There are no pictures in {printable(archive.name)}{f': {told}' if told else ''}.", "Choose a zip with pictures."
            )
        top = _common(members)
        for member in members:
            inside = member.place.relative_to(top)
            target = stage / "set" / _cleaned(inside)
            if target.exists():
                taken.refused.append((str(inside), "comes twice"))
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(member.path, target)
            taken.files += 1
        put(stage / "set", folder)
    taken.folder = folder
    return taken


def export_zip(folder: Path, target: Path | None = None) -> Path:
    """The files of a data set as a zip, beside it unless ``target`` is given: pictures, captions, masks; nothing hidden.

    Links are followed to files, not to folders; a file that is locked is an error.
    """
    source = resolve(folder)
    if not source.is_dir():
        raise JobError(f"There is no folder {printable(folder)}.", "Check the path.")
    target = Path(os.path.abspath(target)) if target else Path.cwd() / f"{source.resolve().name}.zip"
    if target.exists():
        raise JobError(f"{printable(target)} is there already.", "Choose another name.")
    if target.resolve().is_relative_to(source.resolve()):
        raise JobError(f"{printable(target)} lies in the folder itself.", "Choose another place.")
    files = list(_files(source))
    if not files:
        raise JobError(f"There is nothing in {printable(folder)}.", "Choose another folder.")
    replace_file(target, lambda new: _write(source, files, new))
    return target


def is_data(name: str) -> bool:
    """Whether a file of this name belongs to a data set."""
    return not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES | FOREIGN_SUFFIXES | VIDEO_SUFFIXES | TEXTS


def _write(source: Path, files: list[Path], new: Path) -> None:
    with zipfile.ZipFile(new, "w", strict_timestamps=False) as archive:
        for file in files:
            # pictures are packed already
            way = zipfile.ZIP_DEFLATED if file.suffix.lower() in TEXTS else zipfile.ZIP_STORED
            try:
                archive.write(file, printable(file.relative_to(source).as_posix()), way)
            except PermissionError as error:
                raise JobError(f"{printable(file)} cannot be read: {error.strerror}.", "Allow this user to read it.") from error


def _files(source: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(source):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(files) if not name.startswith(".") and Path(parent, name).is_file())


def _name_of(member: zipfile.ZipInfo) -> str:
    """The name as it was meant: old programs write UTF-8, or the letters of their country, and do not say so."""
    if member.flag_bits & _UTF8:
        return member.filename
    try:
        raw = member.filename.encode("cp437")  # what zipfile took it for
    except UnicodeEncodeError:
        return member.filename
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return member.filename


def _common(members: list[Member]) -> PurePosixPath:
    """The folder that holds all of them."""
    parents = [member.place.parent.parts for member in members]
    shared = []
    for column in zip(*parents, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return PurePosixPath(*shared)


def _cleaned(place: PurePosixPath) -> Path:
    folders = [clean(part) or "_" for part in place.parent.parts]
    return Path(*folders, f"{clean(place.stem) or '_'}{place.suffix.lower()}")


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path, limit: int, ratio: int) -> int | None:
    """Bytes written, counted as they come; None if there are more than the limit, or it is a bomb."""
    size = 0
    limit = min(limit, max(RATIO_FROM, ratio * max(1, member.compress_size)))
    with archive.open(member) as source, target.open("wb") as out:
        while block := source.read(2**20):
            size += len(block)
            if size > limit:
                break
            out.write(block)
    if size > limit:
        target.unlink()
        return None
    return size

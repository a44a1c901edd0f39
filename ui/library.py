"""Data sets that are made in the app: folders of pictures and videos with a .txt beside each.

What comes in is copied and checked; what is deleted lies in a hidden folder beside the data sets until it is put back.
"""

from __future__ import annotations

import filecmp
import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from engine.data.captions.sources import Said, all_said
from engine.data.captions.text import read_caption
from engine.data.files.clips import VIDEO_SUFFIXES, probe
from engine.data.files.facts import look_at
from engine.data.files.pictures import IMAGE_SUFFIXES, PictureError
from engine.data.files.zips import Limits, clean, unpack
from engine.data.report import Finding, findings
from engine.data.scan import find_media
from engine.errors import JobError
from engine.jobs import Dataset
from engine.runs.atomic import replace_file, replace_text
from engine.runs.folder import slug
from engine.settings import portable, resolve

from . import thumbs

CAPTION = ".txt"
MOST_FILES, MOST_BYTES, MOST_BYTES_IN_ALL = 20_000, 512 * 2**20, 16 * 2**30
TRASH = ".deleted"
ODD = re.compile(r"\\u(dc[89a-f][0-9a-f])")
"""A byte of a file's name that is no text, as ``key`` writes it."""
MEDIA = IMAGE_SUFFIXES | VIDEO_SUFFIXES


@dataclass
class Added:
    """What became of an upload: files kept, and for each refused one a reason."""

    pictures: int = 0
    captions: int = 0
    known: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Deleted:
    """Files in the trash, and where they came from."""

    files: tuple[tuple[Path, Path], ...]


@dataclass(frozen=True)
class _Arrival:
    group: str
    name: str
    path: Path


class Library:
    """The data sets in ``root``. Thumbnails are kept in ``cache``."""

    def __init__(self, root: Path, cache: Path):
        self.root, self.cache = root.resolve(), cache.resolve()
        self._findings: dict[Path, tuple[int | None, list[Finding]]] = {}

    def names(self) -> list[str]:
        names = (path.name for path in self.root.iterdir() if self.name_of(path) == path.name)
        return sorted(names, key=str.lower)

    def folder(self, name: str) -> Path:
        """The data set's folder. A name that leads anywhere else is an error."""
        path = (self.root / name).resolve()
        if path.parent != self.root or not path.is_dir() or path.name.startswith("."):
            raise JobError(f"There is no data set {name!r}.", "Choose another one, or add pictures.")
        return path

    def named(self, name: str) -> str:
        """The data set's path as jobs name it."""
        return portable(self.folder(name))

    def name_of(self, path: object) -> str | None:
        """The name of the data set that lies at this path; None if the path is no data set of ours."""
        if not path:
            return None
        place = resolve(str(path))
        return place.name if place.parent == self.root and place.is_dir() and not place.name.startswith(".") else None

    def create(self, wish: str) -> str:
        """A new, empty data set, named after the wish; its name."""
        name = self._free(slug(wish))
        (self.root / name).mkdir()
        return name

    def rename(self, name: str, wish: str) -> str:
        new = slug(wish)
        if new != name:
            if (self.root / new).exists():
                raise JobError(f"There is already a data set named {new}.", "Choose another name.")
            self.folder(name).rename(self.root / new)
        return new

    def copy(self, source: Path, wish: str) -> str:
        """A data set made of the pictures and captions of a folder, such as the example; made once."""
        if not source.is_dir():
            raise JobError("The example pictures are missing.", "Install Darkroom again, or drop pictures of your own.")
        name = slug(wish)
        if not (self.root / name).is_dir():
            self._bring(
                name,
                [_Arrival("", path.name, path) for path in sorted(source.iterdir()) if _wanted(path.name)],
            )
        return name

    def pictures(self, name: str) -> list[Path]:
        """Its pictures and videos, in the order of their names."""
        return find_media(self.folder(name))

    def dataset(self, name: str) -> Dataset:
        """The data set as the section of a job."""
        return Dataset(path=str(self.folder(name)), caption_ext=CAPTION)

    def key(self, picture: Path) -> str:
        """A picture as "data set/file", which is what the page holds of it. Text, though a name on a disk need not be."""
        return picture.relative_to(self.root).as_posix().encode("utf-8", "backslashreplace").decode()

    def picture(self, key: str) -> Path:
        """The picture of a key."""
        name, _, file = key.partition("/")
        folder = self.folder(name)
        path = (folder / ODD.sub(lambda sign: chr(int(sign[1], 16)), file)).resolve()
        if not path.is_relative_to(folder) or not _is_picture(path.name) or not path.is_file():
            raise JobError(f"{file} is not in {name} any more.", "Open the data set again.")
        return path

    def findings(self, name: str, resolution: int | None = None) -> list[Finding]:
        """What a person should know about a data set; looked at again only when a file has changed."""
        folder = self.folder(name)
        files = []
        for path in folder.rglob("*"):
            with suppress(FileNotFoundError):  # it has just been taken away
                files.append((str(path), (facts := path.lstat()).st_mtime_ns, facts.st_size))
        state = hash((tuple(sorted(files)), resolution))
        if self._findings.get(folder, (None, []))[0] != state:
            self._findings[folder] = state, findings(folder, CAPTION, resolution)
        return self._findings[folder][1]

    def caption(self, picture: Path) -> str:
        return self.said(picture)[0]

    def said(self, picture: Path) -> tuple[str, str]:
        """The caption that counts, and the name of the file that it stands in: the .txt, else a .json or a table, where there is one."""
        try:
            if own := read_caption(picture, CAPTION):
                return own, picture.with_suffix(CAPTION).name
            name = picture.relative_to(self.root).parts[0]
            said = all_said([picture], self.folder(name), self.dataset(name)).get(picture)
        except JobError:
            return "", ""  # it is locked or damaged, which is one of the findings
        return (said.text or "", said.place) if said else ("", "")

    def captions(self, name: str) -> dict[Path, str]:
        """The caption that counts of each picture of a data set; "" where there is none."""
        pictures, said = self.pictures(name), dict[Path, Said]()
        try:
            said = all_said(pictures, self.folder(name), self.dataset(name))
        except JobError:
            return {path: self.caption(path) for path in pictures}  # one is locked or damaged: the others count
        return {path: (said[path].text or "") if path in said else "" for path in pictures}

    def write_caption(self, key: str, text: str) -> None:
        """The caption as the picture's .txt, at once or not at all; without words there is no file."""
        picture = self.picture(key)
        if not text.strip():
            picture.with_suffix(CAPTION).unlink(missing_ok=True)
        elif self.caption(picture) != text.strip():
            replace_text(picture.with_suffix(CAPTION), text.strip() + "\n")

    def put_trigger_first(self, name: str, trigger: str) -> int:
        """[trigger] in front of each caption that has neither it nor the trigger words; how many were changed."""
        changed = 0
        for picture in self.pictures(name):
            text = self.caption(picture)
            if text and "[trigger]" not in text and trigger.lower() not in text.lower():
                self.write_caption(self.key(picture), f"[trigger], {text}")
                changed += 1
        return changed

    def add(self, name: str, uploads: Iterable[Path]) -> Added:
        """Copies pictures, captions and what is in zips into the data set. Broken files are told; the others are kept."""
        with _unpacked(list(uploads)) as (arrivals, added):
            self.folder(name)
            return self._bring(name, arrivals, added)

    def delete(self, keys: Iterable[str]) -> Deleted:
        """Pictures and their captions into the trash."""
        return self.take_out([self.picture(key) for key in keys])

    def take_out(self, files: Iterable[Path]) -> Deleted:
        """Files that were found in a data set, readable or not, and their captions into the trash."""
        gone = dict.fromkeys(files)
        for picture in list(gone):
            caption = picture.with_suffix(CAPTION)
            shared = any(other.stem == picture.stem and other not in gone for other in picture.parent.iterdir() if _is_picture(other.name))
            if caption.is_file() and not shared:
                gone[caption] = None
        return self._discard(list(gone))

    def remove(self, name: str) -> Deleted:
        """The whole data set into the trash."""
        return self._discard([self.folder(name)])

    def undo(self, deleted: Deleted) -> None:
        """Puts back what was deleted, unless something new has taken its place."""
        for place, trashed in deleted.files:
            if trashed.exists() and not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                trashed.rename(place)

    def thumbnail(self, picture: Path, side: int = thumbs.SMALL) -> Path:
        """A small copy of the picture outside the data set; JobError if it cannot be read."""
        return thumbs.thumbnail(picture, self.cache / "thumbnails", side)

    def _discard(self, paths: list[Path]) -> Deleted:
        trash = self.root / TRASH / f"{time.time_ns()}"
        moved = [(path, trash / path.relative_to(self.root)) for path in paths]
        for path, place in moved:
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
        return Deleted(tuple(moved))

    def _free(self, name: str) -> str:
        number, wish = 2, name
        while (self.root / name).exists():
            name, number = f"{wish}-{number}", number + 1
        return name

    def _bring(self, name: str, arrivals: list[_Arrival], added: Added | None = None) -> Added:
        """Pictures first, so that a caption finds its picture; a name that is taken by another picture gets a number."""
        added = added or Added()
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        stems: dict[tuple[str, str], list[str]] = {}
        for item in sorted(arrivals, key=lambda item: not _is_picture(item.name)):
            key = item.group, Path(item.name).stem
            if _is_picture(item.name):
                self._bring_picture(folder, item, stems, added)
            elif key in stems or any(path.stem == key[1] for path in self.pictures(name)):
                for stem in stems.get(key, [key[1]]):
                    replace_file(folder / f"{stem}{CAPTION}", partial(shutil.copyfile, item.path))
                added.captions += 1
            else:
                added.refused.append((item.name, "is a caption without a picture of the same name"))
        return added

    def _bring_picture(self, folder: Path, item: _Arrival, stems: dict[tuple[str, str], list[str]], added: Added) -> None:
        key, suffix = (item.group, Path(item.name).stem), Path(item.name).suffix.lower()
        if problem := _fault(item.path):
            added.refused.append((item.name, f"cannot be read: {problem}"))
            return
        stem, number = _clean(key[1]), 2
        # one of another kind, too: both would have the same caption
        while there := [path for kind in MEDIA if (path := folder / f"{stem}{kind}").exists()]:
            if any(filecmp.cmp(path, item.path, shallow=False) for path in there):
                stems.setdefault(key, []).append(stem)
                added.known += 1
                return
            stem, number = f"{_clean(key[1])}-{number}", number + 1
        replace_file(folder / f"{stem}{suffix}", partial(shutil.copyfile, item.path))
        stems.setdefault(key, []).append(stem)
        added.pictures += 1


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in MEDIA and not name.startswith(".")


def _fault(path: Path) -> str:
    """Why a file cannot be used, after its name; "" if it can."""
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return look_at(path).reason
    try:
        probe(path)
    except PictureError as error:
        return error.reason
    return ""


def _wanted(name: str) -> bool:
    return not name.startswith(".") and (_is_picture(name) or Path(name).suffix.lower() == CAPTION)


def _clean(stem: str) -> str:
    return clean(stem) or hashlib.sha256(stem.encode("utf-8", "replace")).hexdigest()[:8]


@contextmanager
def _unpacked(uploads: list[Path]) -> Iterator[tuple[list[_Arrival], Added]]:
    """Every file of the upload, zips opened, as plain files; and what was refused on the way."""
    added = Added()
    arrivals: list[_Arrival] = []
    with tempfile.TemporaryDirectory(prefix="darkroom-") as room:
        for number, upload in enumerate(uploads):
            if upload.suffix.lower() == ".zip":
                arrivals += _unzip(upload, Path(room) / str(number), added)
            elif _wanted(upload.name):
                arrivals.append(_Arrival("", upload.name, upload))
            else:
                added.refused.append((upload.name, "is not a picture, a caption or a zip"))
        yield arrivals, added


def _unzip(archive: Path, room: Path, added: Added) -> list[_Arrival]:
    """The pictures and captions of a zip."""
    limits = Limits(MOST_FILES, MOST_BYTES, MOST_BYTES_IN_ALL)
    members = unpack(archive, room, _wanted, added.refused, limits)
    return [_Arrival(f"{archive}/{member.place.parent}", member.place.name, member.path) for member in members]

"""Where the captions of a data set stand. Of several, the first one counts, and where they differ that is told:

1. the map that the data set's ``path`` names, if it names one (AI Toolkit's .json with all pictures in it)
2. the file beside the picture with the ending ``caption_ext``: text, or AI Toolkit's JSON if that is .json
3. the .json beside the picture
4. metadata.jsonl, metadata.csv, metadata.parquet, those in the picture's own folder before those further up
5. ``default_caption``
6. the name of the picture's folder, where that is one of kohya's (see ``kohya``)

Text is taken as it stands; blanks around the text of a file are the editor's, and not part of it.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ...errors import JobError
from ...events import Warned
from ...jobs import Dataset
from ...settings import resolve
from ..files.clips import VIDEO_SUFFIXES
from ..files.listing import folders_of, in_order
from ..files.pictures import IMAGE_SUFFIXES
from ..words import count, listed, name_of, printable
from .kohya import kohya_folders
from .metadata import TABLES, NoCaptions, Row, caption_in, inside, parse, read_table
from .text import caption_file, decode_text, read_file


class Said(NamedTuple):
    """What one place says of a picture."""

    text: str | None
    short: str | None
    place: str
    """Name of the file that it stands in."""


class Caption(NamedTuple):
    """What is said of a picture, and how often the name of its folder wants it."""

    text: str
    """The caption as chosen and with replacements in it, [trigger] as it stands."""
    short: str | None = None
    repeats: int = 1


@dataclass(frozen=True)
class Listing:
    """A map of pictures, in a .json: which there are, and what is said of each."""

    folder: Path
    """Holds all of them."""
    paths: list[str]
    said: dict[str, Said]
    """By path."""
    notes: list[Warned] = field(default_factory=list)


def read_listing(file: Path) -> Listing:
    """AI Toolkit's map ``{path: {caption, caption_short}}``; a plain text in the place of a section is the caption.

    Paths are from the map's own folder, or as ``resolve`` finds them. Raises JobError for anything but such a map.
    """
    try:
        entries = parse(file, decode_text(file.read_bytes())[0])
    except OSError as error:
        raise JobError(f"{printable(file)} cannot be read: {error.strerror}.", "Check the path of the data set.") from error
    if not isinstance(entries, Mapping) or not entries:
        raise JobError(
            f"{name_of(file)} is not a map of pictures.",
            'It is written {"path of a picture": {"caption": "..."}}. Set path to the folder with the pictures instead.',
        )
    said: dict[str, Said] = {}
    gone = []
    for name, record in entries.items():
        texts = (record if record.strip() else None, None) if isinstance(record, str) else caption_in(file, record)
        path = next((one for one in (file.parent / name, resolve(name)) if one.is_file()), None)
        if path is None or path.suffix.lower() not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            gone.append(name)
        else:
            said[os.path.abspath(path)] = Said(*texts, file.name)
    if not said:
        raise JobError(f"None of the pictures that {name_of(file)} names is there: {listed(gone)}.", "Check the paths in it.")
    folder = Path(os.path.commonpath([os.path.dirname(path) for path in said]))
    notes = []
    if gone:
        notes.append(
            Warned(
                message=f"{name_of(file)} names {count(len(gone), 'picture')} that {'is' if len(gone) == 1 else 'are'} not there: {listed(gone)}."
            )
        )
    return Listing(folder, sorted(said, key=in_order), said, notes)


def find_captions(
    paths: Sequence[str], folder: Path, dataset: Dataset, listing: Listing | None = None
) -> tuple[list[Caption], list[Warned]]:
    """The caption of each of ``paths``, which lie in ``folder``, and what a person should know about them.

    Paths are text here: there may be very many.

    Raises JobError, with names, where a picture has none or a file cannot be understood.
    """
    return _Search(paths, folder, dataset, listing).result()


def all_said(paths: Sequence[Path], folder: Path, dataset: Dataset) -> dict[Path, Said]:
    """What counts of each of ``paths`` for which anything is said, and where; nothing is told of the others.

    Raises JobError for a file beside a picture that cannot be understood.
    """
    search = _Search([os.fspath(path) for path in paths], folder, dataset, None)
    first = {
        path: next((one for one in search.said(name) if one.text is not None), None) for path, name in zip(paths, search.paths, strict=True)
    }
    return {path: said for path, said in first.items() if said is not None}


class _Search:
    """One look through a data set."""

    def __init__(self, paths: Sequence[str], folder: Path, dataset: Dataset, listing: Listing | None):
        self.paths, self.folder, self.dataset = paths, folder, dataset
        self.ending = caption_file(Path("x"), dataset.caption_ext).name[1:]
        self.small_ending = self.ending.lower()
        self.is_json = self.small_ending == ".json"
        self.listed = listing.said if listing else {}
        self.notes = list(listing.notes) if listing else []
        self.folders = folders_of(paths)
        self.beside = self._beside()
        self.strange: list[str] = []
        self.unread: JobError | None = None
        self.silent: dict[str, NoCaptions] = {}
        self.idle = set(dataset.replacements)
        self.tables = self._tables() if not listing else {}

    def result(self) -> tuple[list[Caption], list[Warned]]:
        kohya = kohya_folders(self.paths, self.folder, self.dataset.kohya_folders)
        found: list[Caption] = []
        differing: list[tuple[str, list[Said]]] = []
        missing: list[str] = []
        without_short: list[str] = []
        left: list[str] = []
        named = 0
        for path in self.paths:
            said = self.said(path)
            texts = [one for one in said if one.text is not None]
            if len(texts) > 1 and len({(one.text or "").strip() for one in texts}) > 1:
                differing.append((path, texts))
            short = next((one.short for one in said if one.short is not None), None)
            if not texts:
                left.append(path)
            text = texts[0].text if texts else self.dataset.default_caption
            home = next((kohya[place] for place in Path(path).parents if place in kohya), None) if kohya else None
            if text is None and home:
                text = home.caption
                named += text is not None
            if self.dataset.use_short_captions:
                without_short += [path] if short is None else []
                text = text if short is None else short
            if text is None:
                missing.append(path)
            else:
                short = None if short is None else self._replaced(short)
                found.append(Caption(self._replaced(text), short, home.repeats if home else 1))
        if missing:
            raise self._missing(missing)
        doubtful: list[JobError] = []
        doubtful += [self.silent[path] for path in left if path in self.silent][:1]
        if self.unread and (left or not isinstance(self.unread, NoCaptions)):
            doubtful.append(self.unread)  # not needed, so not in the way
        self.notes += [Warned(message=error.message, hint=error.hint) for error in doubtful]
        self._tell(differing, without_short)
        if self.dataset.kohya_folders and not kohya:
            self.notes.append(Warned(message=f"kohya_folders has no effect: no folder in {printable(self.folder)} is named like 10_name."))
        if kohya:
            self._tell_kohya({place.name: home.repeats for place, home in kohya.items()}, named)
        return found, self.notes

    def said(self, path: str) -> list[Said]:
        """What the places say of a picture, in the order in which they count."""
        said = [self.listed[path]] if path in self.listed else []
        start, stem, text = path.rfind(os.sep) + 1, path[: path.rfind(".")], None
        name, beside = stem[start:].lower(), self.beside[path[:start]]
        if name + self.small_ending in beside:
            text, unicode = read_file(stem, self.ending)
            if not unicode:
                self.strange.append(stem + self.ending)
            if text is not None and self.is_json:
                file = Path(stem + self.ending)
                said.append(Said(*caption_in(file, parse(file, text)), file.name))
            elif text is not None:
                said.append(Said(text, None, stem[start:] + self.ending))
        if not self.is_json and f"{name}.json" in beside:
            # beside a text file it may be anything, unless the short caption is asked for
            needed = (text is None and path not in self.listed) or self.dataset.use_short_captions
            said += self._sidecar(path, Path(f"{stem}.json"), needed)
        return said + self.tables[path] if path in self.tables else said

    def _sidecar(self, path: str, file: Path, needed: bool) -> Iterator[Said]:
        text, unicode = read_file(os.path.splitext(file)[0], ".json")
        if text is None:
            return
        try:
            said = Said(*caption_in(file, parse(file, text)), file.name)
        except NoCaptions as error:  # other facts about the picture, such as the box of its subject
            self.silent[path] = error
            return
        except JobError:
            if needed:
                raise
            return
        self.strange += [] if unicode else [str(file)]
        yield said

    def _beside(self) -> dict[str, set[str]]:
        """Folder → names in it that may be captions, in small letters: one that is not there is not asked for, which counts with very many."""
        endings = (self.small_ending, ".json")
        return {
            os.path.join(folder, ""): {small for name in os.listdir(folder) if (small := name.lower()).endswith(endings)}
            for folder in self.folders
        }

    def _tables(self) -> dict[str, list[Said]]:
        """What the tables say of each picture: those of its own folder first, then those further up."""
        folders = {self.folder}
        for parent in map(Path, self.folders):
            folders |= {place for place in (parent, *parent.parents) if place.is_relative_to(self.folder)}
        ordered = sorted(folders, key=lambda place: (-len(place.parts), place))
        tables = [place / name for place in ordered for name in TABLES if (place / name).is_file()]
        if not tables:
            return {}
        known = {unicodedata.normalize("NFC", path): path for path in self.paths}  # a Mac takes letters and accents apart
        found: dict[str, list[Said]] = {}
        for table in tables:
            for path, said in self._rows(table, known):
                found.setdefault(path, []).append(said)
        return found

    def _rows(self, table: Path, known: dict[str, str]) -> Iterator[tuple[str, Said]]:
        try:
            rows = read_table(table, self.dataset.caption_column)
        except JobError as error:
            self.unread = error
            return
        first: dict[str, Row] = {}
        outside, gone, twice = [], [], []
        for row in rows:
            name = inside(row.name)
            if name is None:
                outside.append(row.name or "(no name)")
            elif (path := known.get(unicodedata.normalize("NFC", str(table.parent / name)))) is None:
                gone.append(row.name)
            elif first.setdefault(path, row)[1:] != row[1:]:
                twice.append(row.name)
        yield from ((path, Said(row.text, row.short, table.name)) for path, row in first.items())
        for names, what in (
            (gone, "names {} that {are} not among the pictures"),
            (outside, "names {} outside of its folder, which {are} left out"),
            (twice, "has different rows for {}, of which the first counts"),
        ):
            if names:
                told = what.format(count(len(names), "file"), are="is" if len(names) == 1 else "are")
                self.notes.append(Warned(message=f"{name_of(table)} {told}: {listed(names)}."))

    def _replaced(self, text: str) -> str:
        for one in self.dataset.replacements:
            old, _, new = one.partition("|")
            if old in text:
                self.idle.discard(one)
                text = text.replace(old, new)
        return text

    def _missing(self, missing: list[str]) -> JobError:
        if error := self.unread or next((self.silent[path] for path in missing if path in self.silent), None):
            return error
        for path in missing:
            if (folder := caption_file(Path(path), self.dataset.caption_ext)).is_dir():
                return JobError(
                    f"{name_of(folder)} is a folder, and a caption is a text file.", "Rename the folder, and write the caption."
                )
        return JobError(
            f"{count(len(missing), 'picture has', 'pictures have')} no caption in {printable(self.folder)}: {_listed(missing)}.",
            f"Write a {self.dataset.caption_ext} file beside each, or set default_caption.",
        )

    def _tell(self, differing: list[tuple[str, list[Said]]], without_short: list[str]) -> None:
        if differing:
            path, said = differing[0]
            places = " and ".join(dict.fromkeys(one.place for one in said))
            self.notes.append(
                Warned(
                    message=f"{count(len(differing), 'picture has', 'pictures have')} captions that differ, {name_of(Path(path))} for one in {places}: "
                    f"the one in {said[0].place} counts.",
                    hint="Take the others out of the folder.",
                )
            )
        if self.strange:
            self.notes.append(
                Warned(
                    message=f"{count(len(self.strange), 'caption is', 'captions are')} not saved as UTF-8: {_listed(self.strange)}.",
                    hint="What is no UTF-8 is read as Windows writes it. Look whether the accents are right, or save it as UTF-8.",
                )
            )
        if self.idle:
            self.notes.append(
                Warned(message=f"replacements has no effect for {listed(sorted(map(repr, self.idle)))}: no caption says that.")
            )
        if without_short:
            told = (
                "have no short caption, and keep the long one" if len(without_short) > 1 else "has no short caption, and keeps the long one"
            )
            self.notes.append(Warned(message=f"{count(len(without_short), 'picture')} {told}: {_listed(without_short)}."))

    def _tell_kohya(self, repeats: dict[str, int], named: int) -> None:
        words = (
            f", and {count(named, 'picture')} without a caption {'is' if named == 1 else 'are'} called what the folder is" if named else ""
        )
        self.notes.append(
            Warned(
                message=f"Folders are named as kohya's trainer wants it, and their pictures come so often: {listed([f'{name} ({number})' for name, number in repeats.items()])}{words}.",
                hint="" if self.dataset.kohya_folders else "Set kohya_folders to false if that is not meant.",
            )
        )


def _listed(paths: Sequence[str]) -> str:
    return listed([name_of(Path(path)) for path in paths])

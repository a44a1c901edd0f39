"""All that a report asks about, gathered once: the files of a data set, what their pixels say, and what the captions say.

Numbers are held in arrays and texts are not held at all, so that 100,000 pictures take about 30 MB.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import JobError
from ...jobs import Dataset
from ..captions.kohya import kohya_folders
from ..captions.sources import find_captions
from ..captions.text import TRIGGER, caption_file, read_file, whole_words
from ..files.facts import Facts, is_current, look_at, look_at_head, parse_facts
from ..files.listing import Listing
from ..files.notes import Notes
from .lengths import Ruler

WORD = re.compile(r"[^\W\d_]{3,}")
MOST_WORDS = 200_000
"""Different words that are counted at once; beyond that the rare ones are forgotten."""
AT_ONCE = 10_000
"""Words that are counted together, which takes a fraction of the time."""
NO_PLACE = "\0"


@dataclass(slots=True)
class Album:
    """What is known of the pictures of one data set; arrays are in the order of ``paths``."""

    paths: list[str]
    faults: dict[str, Facts] = field(default_factory=dict)
    """Pictures that cannot be used."""
    moving: list[str] = field(default_factory=list)
    misnamed: list[tuple[str, str]] = field(default_factory=list)
    """Files whose ending says another kind than they are, and that kind."""
    width: array[int] = field(default_factory=lambda: array("I"))
    """0 where the picture cannot be used."""
    height: array[int] = field(default_factory=lambda: array("I"))
    bytes: array[int] = field(default_factory=lambda: array("Q"))
    sharpness: array[float] = field(default_factory=lambda: array("f"))
    likeness: array[int] = field(default_factory=lambda: array("Q"))
    """0 for a picture of one colour."""
    alpha: array[int] = field(default_factory=lambda: array("B"))

    def good(self) -> NDArray[np.bool_]:
        return np.frombuffer(self.width, dtype=np.uint32) > 0 if self.paths else np.zeros(0, dtype=bool)

    def named(self, chosen: NDArray[np.bool_]) -> list[str]:
        return [self.paths[index] for index in np.flatnonzero(chosen)]


@dataclass(slots=True)
class Texts:
    """What is known of the captions of one data set."""

    number: int = 0
    missing: list[str] = field(default_factory=list)
    """Pictures without a caption."""
    empty: list[str] = field(default_factory=list)
    """Of these, those whose caption file is there and has nothing in it."""
    locked: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    """Pictures whose caption is not saved as Unicode."""
    untriggered: list[str] = field(default_factory=list)
    long: list[tuple[str, int]] = field(default_factory=list)
    """Pictures whose caption has more tokens than are read, and how many."""
    same: list[str] = field(default_factory=list)
    """Pictures whose caption an earlier one has, too."""
    lengths: Counter[int] = field(default_factory=Counter)
    """Words in a caption → captions."""
    words: Counter[str] = field(default_factory=Counter)


ENDINGS = {
    "JPEG": {".jpg", ".jpeg", ".jfif"}, "MPO": {".jpg", ".jpeg", ".jfif"}, "PNG": {".png"}, "WEBP": {".webp"}, "AVIF": {".avif"},
    "BMP": {".bmp"}, "DIB": {".bmp"}, "GIF": {".gif"}, "TIFF": {".tif", ".tiff"},
    "HEIF": {".heic", ".heif"},
}  # fmt: skip
"""Pillow's name of a kind → the endings that such files have."""
ENDINGS_APART = frozenset({"MPO", "HEIF"})
"""Kinds with several pictures in a file that do not move: cameras write a small copy beside the large one."""


def look_through(listing: Listing, notes: Notes, decode: bool = True) -> Album:
    """Decodes each picture once, by several threads, or reads only its head; what is known of unchanged files is recalled."""
    album = Album([path for path, _ in listing.pictures])
    topic, look = ("picture", look_at) if decode else ("head", look_at_head)
    lines = notes.of_files(topic, listing.pictures, lambda path: look(path).dump(), is_current)
    for (path, line), (_, stamp) in zip(lines, listing.pictures, strict=True):
        facts = parse_facts(line) or Facts("broken")
        album.width.append(facts.width)
        album.height.append(facts.height)
        album.bytes.append(int(stamp.partition(" ")[0] or 0))
        album.sharpness.append(facts.sharpness)
        album.likeness.append(facts.likeness or 0)
        album.alpha.append(facts.alpha)
        if facts.fault:
            album.faults[path] = facts
        elif path[path.rfind(".") :].lower() not in ENDINGS.get(facts.kind, ()):
            album.misnamed.append((path, facts.kind))
        if facts.moving and facts.kind not in ENDINGS_APART:
            album.moving.append(path)
    return album


def read_through(paths: Sequence[str], folder: Path, dataset: Dataset, trigger: str | None, ruler: Ruler) -> Texts:
    """Reads each caption once."""
    texts, seen, words = Texts(), set[int](), list[str]()
    for path, text in _captions(paths, folder, dataset, texts):
        for one in dataset.replacements:
            before, _, after = one.partition("|")
            text = text.replace(before, after)
        texts.number += 1
        words += WORD.findall(text.replace(TRIGGER, "").lower())
        if len(words) > AT_ONCE:
            _count(words, texts)
        texts.lengths[len(text.split())] += 1
        if trigger and TRIGGER not in text and not whole_words(trigger, ignore_case=True).search(text):
            texts.untriggered.append(path)
        if (tokens := ruler.beyond(text)) is not None:
            texts.long.append((path, tokens))
        key = (
            hash(text)
            if len(text) < 64
            else int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")
        )
        if key in seen:
            texts.same.append(path)
        seen.add(key)
    _count(words, texts)
    return texts


def _count(words: list[str], texts: Texts) -> None:
    """Adds them to the frequent words, and empties the list."""
    texts.words.update(words)
    words.clear()
    if len(texts.words) > MOST_WORDS:
        texts.words = Counter(dict(texts.words.most_common(MOST_WORDS // 2)))


def _captions(paths: Sequence[str], folder: Path, dataset: Dataset, texts: Texts) -> Iterator[tuple[str, str]]:
    """The pictures that have captions, with them. What is wrong with the others is noted in ``texts``."""
    elsewhere = []
    plain = dataset.caption_ext.lower() not in (".json", "json") and not dataset.use_short_captions
    ending = caption_file(Path("x"), dataset.caption_ext).name[1:]
    for path in paths:
        try:
            text, unicode = read_file(path[: path.rfind(".")], ending)
        except JobError:
            texts.locked.append(path)
            continue
        if not unicode:
            texts.odd.append(path)
        if text and plain:
            yield path, text
        else:
            elsewhere.append(path)
    yield from _others(elsewhere, folder, dataset, texts)
    if texts.missing and (homes := kohya_folders(paths, folder, dataset.kohya_folders)):
        homeless = []
        for path in texts.missing:
            home = next((homes[place] for place in Path(path).parents if place in homes), None)
            if home and home.caption is not None:
                yield path, home.caption
            else:
                homeless.append(path)
        texts.missing = homeless
    texts.empty = [path for path in texts.missing if caption_file(Path(path), dataset.caption_ext).is_file()]


def _others(paths: list[str], folder: Path, dataset: Dataset, texts: Texts) -> Iterator[tuple[str, str]]:
    """The captions that do not stand in a text file of that very name: each place is asked, as training does."""
    if not paths:
        return
    asked = dataset.model_copy(update={"default_caption": NO_PLACE, "replacements": [], "kohya_folders": False})
    try:
        captions, _ = find_captions(paths, folder, asked)
    except JobError:  # one that cannot be understood: each is asked alone
        captions = []
        for path in paths:
            try:
                captions += find_captions([path], folder, asked)[0]
            except JobError:
                texts.locked.append(path)
        locked = set(texts.locked)
        paths = [path for path in paths if path not in locked]
    for path, caption in zip(paths, captions, strict=True):
        if caption.text == NO_PLACE:
            texts.missing.append(path)
        else:
            yield path, caption.text

"""Captions of a data set, changed many at once: what would change, then the change, which can be taken back. No Gradio, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.data.files.undo import exchange
from engine.data.words import count, printable
from engine.errors import JobError
from engine.jobs.tools.captions import FileName, Template
from engine.jobs.tools.edits import Append, Edit, Prepend, Replace
from engine.runs.atomic import replace_text, staging
from engine.tools.captioners import load_captioner
from engine.tools.edit_captions import edited

from .library import CAPTION, Library
from .pieces import Wording

Change = tuple[Path, str, str]
"""A picture, its caption, and what that becomes."""
FIRST = 5
"""Changes that are shown before they are made."""


def replacing(find: str, replacement: str, ignore_case: bool = False) -> list[Edit]:
    return [Replace(type="replace", find=find, replacement=replacement, ignore_case=ignore_case)] if find else []


def adding(before: str, after: str) -> list[Edit]:
    edits: list[Edit] = [Prepend(type="prepend", text=before)] if before else []
    return [*edits, Append(type="append", text=after)] if after else edits


def edits_of(library: Library, name: str, edits: Sequence[Edit]) -> list[Change]:
    """What the edits would change. JobError for a caption that takes too long."""
    if not edits:
        return []
    try:
        changed = [(path, text, edited(text, edits)) for path, text in library.captions(name).items() if text]
    except TimeoutError:
        raise JobError("That takes too long.", "Look for something simpler.") from None
    return [one for one in changed if one[1] != one[2]]


def written_by(library: Library, name: str, captioner: FileName | Template, before: str, all_of_them: bool) -> list[Change]:
    """The captions of a captioner that needs no model; of the pictures that have none, unless it is to be all."""
    describe = load_captioner(captioner)
    wanted = [(path, text) for path, text in library.captions(name).items() if all_of_them or not text]
    said = describe([path for path, _ in wanted])
    made = [(path, text, f"{before}{words}" if words else "") for (path, text), words in zip(wanted, said, strict=True)]
    return [one for one in made if one[2] and one[1] != one[2]]


def write(library: Library, name: str, what: str, changes: Sequence[Change]) -> int:
    """Writes the captions beside the pictures, in one step that can be taken back; how many files that were."""
    folder = library.folder(name)
    texts = {path.with_suffix(CAPTION).relative_to(folder): text for path, _, text in reversed(changes)}  # the first of twins counts
    with staging(folder) as stage:
        new: dict[Path, Path] = {}
        for number, (place, text) in enumerate(texts.items()):
            new[place] = stage / f"{number}{CAPTION}"
            replace_text(new[place], f"{text.strip()}\n")
        if new:
            exchange(folder, what, [place for place in new if (folder / place).exists()], new)
    return len(new)


def shown(library: Library, changes: Sequence[Change]) -> list[Wording]:
    """The first of them, with their pictures."""
    found = []
    for path, before, after in changes[:FIRST]:
        try:
            face = library.thumbnail(path)
        except (JobError, OSError):
            face = None
        found.append(Wording(printable(path.name), face, before, after))
    return found


def counted(changes: Sequence[Change]) -> str:
    """``12 captions change. The first 5:``"""
    if not changes:
        return "No caption changes."
    told = count(len(changes), "caption changes", "captions change")
    return f"{told}. The first {FIRST}:" if len(changes) > FIRST else f"{told}:"

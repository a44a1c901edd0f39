"""What was found in a data set, as rows with the button that mends each; what was done, in words; and how it is taken back. No Gradio."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from engine.data.files.pictures import IMAGE_SUFFIXES
from engine.data.files.undo import find_step
from engine.data.report import Finding, mend, undo, undo_steps
from engine.data.report.mending import Mended
from engine.data.words import count, printable

from .drawer import day
from .library import Library
from .pieces import Note, Row

BUTTONS = {
    "convert": "Convert",
    "shrink": "Make it smaller",
    "take_out": "Take them out",
    "write_captions": "Write them from the file names",
    "add_trigger": "Put the trigger first",
    "to_utf8": "Save as UTF-8",
}
"""Fix → the words of its button."""
ONE = {"Take them out": "Take it out", "Write them from the file names": "Write it from the file name", "Show the first": "Show it"}
"""The words of a button, where it is about one file."""
OUT = frozenset({"locked"})
"""Kinds that no fix mends, and whose files can be taken out all the same."""
NAMED = 40
"""Files that a finding names at most."""
TOLD = 3
"""Changes that are told one by one."""


def rows(library: Library, found: Iterable[Finding]) -> list[Row]:
    """What wants a look, each with its files; then, in one line, what is as it should be."""
    wanting = [_row(library, one) for one in found if one.level != "ok"]
    well = [one.message.removesuffix(".") for one in found if one.level == "ok"]
    return [*wanting, *([Row(("ok", " · ".join(well), "", ""))] if well else [])]


def files(library: Library, name: str, kind: str) -> list[Path]:
    """The files of a kind of finding."""
    return [path for one in library.findings(name) if one.kind == kind and one.level != "ok" for path in one.files]


def mended(library: Library, name: str, kind: str) -> list[Note]:
    """Mends a kind of finding in a data set; what was done, with the button that takes it back."""
    return told(mend(library.dataset(name), kind))


def told(done: Mended) -> list[Note]:
    notes: list[Note] = []
    if done.changes:
        words = " ".join(change.sentence for change in done.changes[:TOLD])
        more = f" And {count(len(done.changes) - TOLD, 'more change')}." if len(done.changes) > TOLD else ""
        notes.append(("ok", f"{words}{more}", "Undo", "back"))
    for left in done.left[:TOLD]:
        notes.append(("look", f"{printable(left.file)} is left as it is: {left.reason}", "", ""))
    if len(done.left) > TOLD:
        notes.append(("look", f"{count(len(done.left) - TOLD, 'more file')} left as they are", "", ""))
    return notes or [("ok", "There was nothing to be done", "", "")]


def taken_back(library: Library, name: str) -> list[Note]:
    """Takes the newest change in a data set back."""
    step = undo(library.folder(name))
    what = step.what.removesuffix(".")
    kept: list[Note] = [("look", one.message.removesuffix("."), "", "") for one in step.kept[:TOLD]]
    if len(step.kept) > TOLD:
        kept.append(("look", f"{count(len(step.kept) - TOLD, 'more file')} stay as they are", "", ""))
    return [
        ("ok", f"Undone: {what}", "", "") if step.files > len(step.kept) else ("look", f"Nothing to take back of: {what}", "", ""),
        *kept,
    ]


def is_last(library: Library, name: str, run: Path) -> bool:
    """Whether the newest change in a data set is that of the run in ``run``: then it can be taken back."""
    own, found = find_step(run), undo_steps(library.folder(name))
    return own is not None and bool(found) and own.home.name == str(found[0].number)


def steps(library: Library, name: str) -> list[Note]:
    """What can be taken back in a data set, the newest first; only that has the button, as what came later goes first."""
    found = undo_steps(library.folder(name))
    return [
        (
            "todo",
            f"{step.what.removesuffix('.')}, {count(step.files, 'file')} · {day(step.time, time.time())}",
            *(("", "") if later else ("Undo", "back")),
        )
        for later, step in enumerate(found[:NAMED])
    ]


def _row(library: Library, one: Finding) -> Row:
    way = ("", "")
    if one.fix:
        way = BUTTONS[one.fix], f"fix-{one.kind}"
    elif one.kind in OUT and one.files:
        way = "Take them out", f"out-{one.kind}"
    elif one.files:
        way = "Show the first", f"show-{one.kind}"
    if len(one.files) == 1:
        way = ONE.get(way[0], way[0]), way[1]
    return Row(("look", one.message.removesuffix("."), *way), [_named(library, path) for path in one.files[:NAMED]], len(one.files))


def _named(library: Library, path: Path) -> tuple[str, str]:
    """The file's name, and the key by which the editor opens it; "" for one that it cannot."""
    inside = path.is_relative_to(library.root)
    return printable(path.name), library.key(path) if inside and path.suffix.lower() in IMAGE_SUFFIXES else ""

"""Which pictures are whole to their last byte. The head of a file does not tell: each is decoded once, and recalled until it changes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from pathlib import Path

from ...control import Control
from ...errors import JobError
from ...events import Event, Progress, Warned
from ...settings import load_settings
from ..scan import Item, broken_list, left_out
from ..words import count
from .clips import VIDEO_SUFFIXES
from .facts import is_whole, look_at, parse_facts
from .listing import stamped
from .notes import Notes
from .pictures import PictureError

EVERY = 256
"""Files between two events of progress."""


def whole_items(items: Sequence[Item], control: Control) -> Generator[Event, None, list[Item]]:
    """Yields what is wrong; returns the items whose pictures, reference pictures, masks and inpainting pictures can all be decoded.

    Videos are not looked at. Raises JobError where no item is left, and Stopped when asked to stop.
    """
    reasons = yield from _faults(sorted({str(path) for item in items for path in _files(item)}), control)
    if not reasons:
        return list(items)
    kept = [item for item in items if not any(str(path) in reasons for path in _files(item))]
    broken = [PictureError(Path(name), reason) for name, reason in reasons.items()]
    if not kept:
        raise JobError(f"No picture is left to learn from: {broken_list(broken)}.", "Replace the files.")
    yield from left_out(broken)
    own = {item.path for item in items}
    if mates := [error for error in broken if error.path not in own]:
        gone = {item.path for item in items} - {item.path for item in kept} - {error.path for error in broken}
        yield Warned(
            message=f"{count(len(mates), 'of them goes with another picture', 'of them go with other pictures')}: {count(len(gone), 'picture')} that {'needs' if len(gone) == 1 else 'need'} them {'is' if len(gone) == 1 else 'are'} left out too."
        )
    return kept


def _files(item: Item) -> set[Path]:
    """The pictures that are decoded for it."""
    return {path for path in (item.path, *item.controls, item.mask, item.erased) if path and path.suffix.lower() not in VIDEO_SUFFIXES}


def _faults(names: list[str], control: Control) -> Generator[Event, None, dict[str, str]]:
    """Path → reason, of those that cannot be decoded."""
    reasons = {}
    notes = Notes(load_settings().folder("cache")).of_files("picture", stamped(names), lambda path: look_at(path).dump(), is_whole)
    for done, (name, line) in enumerate(notes, 1):
        facts = parse_facts(line)
        if facts and facts.fault:
            reasons[name] = facts.reason
        if done % EVERY == 0:
            control.check()
            yield Progress(done=done, total=len(names), what="pictures")
    return reasons

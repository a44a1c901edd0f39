"""A data set as its page shows it: pictures with the work that there is to do on them, and what happened to an upload, in words. No Gradio."""

from __future__ import annotations

from pathlib import Path

from engine.data.files.clips import VIDEO_SUFFIXES
from engine.data.words import count, printable
from engine.errors import JobError

from . import mending, pieces, showing
from .library import CAPTION, Added
from .studio import Studio
from .thumbs import LARGE

SHOWN = 240
"""Thumbnails on the page at most; Next goes through all of them."""
BADGES = {
    "unreadable": "broken",
    "cut": "broken",
    "locked": "locked",
    "large": "too large",
    "caption": "no caption",
    "small": "small",
    "duplicate": "twice",
    "encoding": "look at the accents",
}
HELP = "Say what is in the picture, not the style itself. Saved as you type. [trigger] stands for the trigger words."


def title(pictures: list[Path]) -> str:
    """``12 pictures and 3 videos``, and how many of them are shown."""
    videos = sum(path.suffix.lower() in VIDEO_SUFFIXES for path in pictures)
    what = [count(len(pictures) - videos, "picture")] if videos < len(pictures) or not videos else []
    what += [count(videos, "video")] if videos else []
    return " and ".join(what) + (f" · the first {SHOWN} are shown" if len(pictures) > SHOWN else "")


def notes(studio: Studio, name: str, told: list[pieces.Note]) -> str:
    """What is to be done, each with its button; then, in one line, what is as it should be."""
    library = studio.library
    return pieces.findings([*(pieces.Row(note) for note in told), *mending.rows(library, library.findings(name))])


def gallery(studio: Studio, name: str, pictures: list[Path]) -> list[tuple[str, str | None]]:
    """(thumbnail, badge) of each picture that is shown."""
    marks = _badges(studio, name)
    return [(str(_thumb(studio, path)), marks.get(path)) for path in pictures[:SHOWN]]


def _badges(studio: Studio, name: str) -> dict[Path, str]:
    """Work that there is to do on each picture; the most urgent is told."""
    marks: dict[Path, str] = {}
    for found in studio.library.findings(name):
        if found.level != "ok" and found.kind in BADGES:
            marks = dict.fromkeys(found.files, BADGES[found.kind]) | marks
    return marks


def _thumb(studio: Studio, picture: Path, side: int | None = None) -> Path:
    try:
        return studio.library.thumbnail(picture, side) if side else studio.library.thumbnail(picture)
    except (JobError, OSError):
        return Path(__file__).parent / "broken.png"


def large(studio: Studio, path: Path) -> str:
    """The picture in the editor: what is trained of it, and what it is called."""
    library = studio.library
    face, file = _thumb(studio, path, LARGE), printable(library.key(path).partition("/")[2])
    shown = showing.shown(library, path, showing.base_now(studio.memory))
    if shown is None:
        return pieces.cropped(face, (1, 1), None, [file])
    return pieces.cropped(face, shown.size, shown.box, [shown.words, file, showing.clip_words(path)])


def info(path: Path, place: str) -> str:
    """What stands under the caption's label: where it comes from, if that is not its own file."""
    if place and place != path.with_suffix(CAPTION).name:
        return f"This one stands in {printable(place)}. What you write is saved as {printable(path.stem)}{CAPTION}, which then counts."
    return HELP


def name_of(studio: Studio, key: str) -> str:
    """The data set of the picture that is open, else the one that was open last."""
    return key.partition("/")[0] or studio.memory.get("dataset") or ""


def wish(uploads: list[Path]) -> str:
    """A name for a new data set: the zip's, else a plain one."""
    zipped = next((path.stem for path in uploads if path.suffix.lower() == ".zip"), "")
    return zipped if any(letter.isalnum() for letter in zipped) else "my-pictures"


def words(added: Added) -> list[pieces.Note]:
    """What became of an upload, in a few lines."""
    notes: list[pieces.Note] = []
    for name, reason in added.refused[:5]:
        notes.append(("look", f"{name} {reason}; it was left out", "", ""))
    if len(added.refused) > 5:
        notes.append(("look", f"{len(added.refused) - 5} more files were left out", "", ""))
    if added.known:
        notes.append(("ok", f"{added.known} of the pictures were here already", "", ""))
    return notes


def refuse_if_used(studio: Studio, name: str) -> None:
    for record in studio.trainings():
        job = studio.job(record)
        at_work = record.status in {"running", "queued"}
        paths = [getattr(job, "path", None), *(one.path for one in getattr(job, "datasets", []))]
        if at_work and name in map(studio.library.name_of, paths):
            raise JobError(f"{record.name} is at work on {name} right now.", "Wait until it is done, or stop it.")

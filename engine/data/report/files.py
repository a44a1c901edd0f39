"""Files that cannot be used, and files that are not what they seem."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..files.facts import Fault
from ..files.listing import Listing
from ..scan import foreign_hint
from ..words import count, listed
from .album import Album
from .finding import Finding, Kind, Level, found, well

_FAULTS: list[tuple[Fault, Kind, str, str]] = [
    ("broken", "unreadable", "cannot be read", "cannot be read"),
    ("cut", "cut", "is cut off, and its end is missing", "are cut off, and their ends are missing"),
    ("locked", "locked", "is locked", "are locked"),
    ("large", "large", "is too large to be opened safely", "are too large to be opened safely"),
]


def about_files(listing: Listing, album: Album) -> Iterator[Finding]:
    if listing.foreign:
        yield Finding("look", "foreign", foreign_hint(listing.foreign), [Path(path) for path in listing.foreign])
    if not album.paths and not listing.videos:
        yield Finding("look", "empty", "There are no pictures yet.")
    # a training leaves such files out and says so; it stops only where nothing is left
    level: Level = "look" if len(album.faults) < len(album.paths) or listing.videos else "problem"
    for fault, kind, one, many in _FAULTS:
        paths = [path for path, facts in album.faults.items() if facts.fault == fault]
        told = listed([f"{Path(path).name} ({album.faults[path].reason})" for path in paths])
        yield from found(level, kind, paths, f"{one}: {told}", f"{many}: {told}")
    if not album.faults:
        yield from well("unreadable", len(album.paths), "can be read", "can be read")


def about_kinds(listing: Listing, album: Album, stills: bool) -> Iterator[Finding]:
    """``stills``: of a moving picture the first frame is learned, and not all of it."""
    names = [f"{Path(path).name} (a {kind})" for path, kind in album.misnamed]
    told = f"another kind of file than {{}} ending says, and read as what {{}}: {listed(names, 3)}"
    yield from found(
        "look",
        "ending",
        [path for path, _ in album.misnamed],
        f"is {told.format('its', 'it is')}",
        f"are {told.format('their', 'they are')}",
    )
    if stills:
        yield from found(
            "look", "moving", album.moving, "moves, and only its first frame is learned", "move, and only their first frames are learned"
        )
    if listing.linked_folders:
        number = len(listing.linked_folders)
        names = [Path(path).name for path in listing.linked_folders]
        yield Finding(
            "look", "linked", f"{count(number, 'folder is a link and is', 'folders are links and are')} not looked into: {listed(names)}.",
            [Path(path) for path in listing.linked_folders],
        )  # fmt: skip
    elif listing.linked_out:
        number = len(listing.linked_out)
        yield Finding("ok", "linked", f"{count(number, 'picture is a link', 'pictures are links')} to files elsewhere, which are read.")

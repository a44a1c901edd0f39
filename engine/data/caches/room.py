"""How much room the caches take, and making room: what was used longest ago goes first.

What is in use stays. Whoever opens a folder of shards leaves a mark in it (``in_use``) that goes with the object, or with the
process; every file of that folder that was written or opened since then is kept. A file that is opened gets the time of now
(``touch``): the times at which files were read are not kept by every disk.
"""

from __future__ import annotations

import os
import platform
import re
import time
import weakref
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil

from ...events import Event, Warned
from ...runs.atomic import discard
from ...settings import load_settings

MARK = ".use-"
_SHARD = re.compile(r"[0-9a-f]{64}\.safetensors")
GB = 1e9
GRACE = 2.0
"""Seconds by which the clocks of a disk and of a computer may differ."""
FOREIGN_DAYS = 7
"""A mark of another computer counts for so long: whether it still runs cannot be seen from here."""
_numbers = count()


@dataclass(frozen=True)
class Piece:
    """What is deleted at once: a file, or a folder that is nothing without all of its files."""

    path: Path
    kind: str
    """The folder in the cache that it lies in."""
    size: int
    """Bytes."""
    used: float
    """When it was written or used last, in seconds since the epoch."""
    busy: bool = False


@dataclass(frozen=True)
class Cleaned:
    """What was deleted, and what that left."""

    deleted: int
    freed: int
    """Bytes."""
    size: int
    busy: int
    """Bytes that were kept because they are in use."""


class Use:
    """Keeps what lies in ``folder`` from being deleted, for as long as the object lives."""

    def __init__(self, folder: Path):
        mark = folder / f"{MARK}{os.getpid()}-{next(_numbers)}"
        with suppress(OSError):  # a cache that cannot be written has nothing to lose
            folder.mkdir(parents=True, exist_ok=True)
            mark.write_text(f"{platform.node()}|{psutil.Process().create_time():.2f}", encoding="utf-8")
            weakref.finalize(self, mark.unlink, missing_ok=True)


def touch(path: Path) -> None:
    """Says that the file is used now."""
    with suppress(OSError):
        os.utime(path)


def pieces(cache: Path | None = None) -> list[Piece]:
    """All that can be deleted from the caches, what was used longest ago first."""
    cache = cache or load_settings().folder("cache")
    found: list[Piece] = []
    for kind in _folders(cache):
        for entry in _entries(kind):
            if entry.is_dir() and (files := _entries(entry)) and all(_SHARD.fullmatch(file.name) for file in files):
                since = _in_use_since(entry)
                found += [piece for file in files if (piece := _piece(file, kind.name, since))]
            elif piece := _piece(entry, kind.name, _in_use_since(entry) if entry.is_dir() else None):
                found.append(piece)
    return sorted(found, key=lambda piece: (piece.used, piece.path))


def clean_up(limit: float, cache: Path | None = None) -> Cleaned:
    """Deletes what was used longest ago until the caches have at most ``limit`` bytes, or the rest is in use."""
    found = pieces(cache)
    size, deleted, freed = sum(piece.size for piece in found), 0, 0
    for piece in found:
        if size - freed <= limit:
            break
        if not piece.busy:
            with suppress(OSError):  # on Windows, what is open cannot be deleted; and another process may be faster
                discard(piece.path)
                deleted, freed = deleted + 1, freed + piece.size
    return Cleaned(deleted, freed, size - freed, sum(piece.size for piece in found if piece.busy))


def keep_within(limit_gb: float | None = None, cache: Path | None = None) -> Iterator[Event]:
    """Makes room if the caches hold more than ``limit_gb``, or than the settings allow; told before it is done."""
    limit = load_settings().cache_limit_gb if limit_gb is None else limit_gb
    if limit is None:
        return
    size = sum(piece.size for piece in pieces(cache))
    if size <= limit * GB:
        return
    yield Warned(
        message=f"The caches hold {size / GB:,.1f} GB, and cache_limit_gb is {limit:g}: what was used longest ago is deleted.",
        hint="It is made again when it is needed. Raise cache_limit_gb in settings.yaml to keep more.",
    )
    clean_up(limit * GB, cache)


def _folders(cache: Path) -> list[Path]:
    return [entry for entry in _entries(cache) if entry.is_dir()]


def _entries(folder: Path) -> list[Path]:
    """What lies in a folder, without hidden things; nothing if it has just gone."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _piece(path: Path, kind: str, since: float | None) -> Piece | None:
    size, used = 0, 0.0
    try:
        for file in (path, *path.rglob("*")) if path.is_dir() else (path,):
            facts = file.stat()
            used = max(used, facts.st_mtime)
            size += facts.st_size if file.is_file() else 0
    except OSError:
        return None  # it has just gone
    return Piece(path, kind, size, used, busy=since is not None and used >= since - GRACE)


def _in_use_since(folder: Path) -> float | None:
    """The time of the oldest mark of a process that still runs; marks of others are taken away."""
    times = []
    for mark in folder.glob(f"{MARK}*"):
        with suppress(OSError):
            if _lives(mark):
                times.append(mark.stat().st_mtime)
            else:
                mark.unlink()
    return min(times, default=None)


def _lives(mark: Path) -> bool:
    try:
        node, _, started = mark.read_text(encoding="utf-8").partition("|")
        if node != platform.node():
            return mark.stat().st_mtime > time.time() - FOREIGN_DAYS * 86400
        return abs(psutil.Process(int(mark.name[len(MARK) :].partition("-")[0])).create_time() - float(started)) < 2
    except (ValueError, psutil.NoSuchProcess):
        return False
    except psutil.Error:
        return True

"""What was once found out about a file, kept until the file changes: one small SQLite file in the cache folder.

It is only ever a saving of time: damaged, locked or missing, everything is found out anew.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

FILE = "pictures.db"
CHUNK, LARGE_CHUNK = 256, 4096
TABLE = """
CREATE TABLE IF NOT EXISTS notes (topic TEXT, path BLOB, stamp TEXT, value TEXT, PRIMARY KEY (topic, path)) WITHOUT ROWID
"""
_NAMES = (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
"""As ``os.fsdecode`` does it, which counts with very many names."""
SETTLED = 2.0
"""Seconds after which a file's time tells one version from the next; some disks count in steps of two."""


class Notes:
    """Notes on files, kept in ``folder``."""

    def __init__(self, folder: Path):
        self._file = folder / FILE

    def about(self, topic: str, paths: Sequence[Path], find_out: Callable[[Path], str]) -> Iterator[tuple[Path, str]]:
        """What is known of each path, in order; ``find_out`` is asked, by several threads, about what is new or changed."""
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for start in range(0, len(paths), CHUNK):
                chunk = paths[start : start + CHUNK]
                stamps = {path: _stamp(path) for path in chunk}
                known = self._recall(topic, stamps)
                new = [path for path in chunk if path not in known]
                fresh = dict(zip(new, pool.map(find_out, new), strict=True))
                self._keep(topic, fresh, stamps)
                yield from ((path, known[path] if path in known else fresh[path]) for path in chunk)

    def of_files(
        self, topic: str, files: Sequence[tuple[str, str]], find_out: Callable[[Path], str], valid: Callable[[str], bool] = bool
    ) -> Iterator[tuple[str, str]]:
        """What is known of many files, given as (path, stamp), those of a folder one after the other.

        As ``about``, and in a tenth of its time where all is known. A note that is not ``valid`` is found out anew.
        """
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            start = 0
            while start < len(files):
                known = self._recall_range(topic, files[start : start + LARGE_CHUNK])
                # few at a time where there is work to do, so that what is found out is soon kept
                end, new = start, list[str]()
                while end < min(start + LARGE_CHUNK, len(files)) and len(new) < CHUNK:
                    path, stamp = files[end]
                    note = known.get(path)
                    if note is None or note[0] != stamp or not valid(note[1]):
                        new.append(path)
                    end += 1
                fresh = dict(zip(new, pool.map(find_out, map(Path, new)), strict=True))
                if fresh:
                    stamps: dict[Path, str | None] = {Path(path): stamp for path, stamp in files[start:end] if path in fresh}
                    self._keep(topic, {Path(path): value for path, value in fresh.items()}, stamps)
                yield from ((path, fresh[path] if path in fresh else known[path][1]) for path, _ in files[start:end])
                start = end

    def _recall_range(self, topic: str, files: Sequence[tuple[str, str]]) -> dict[str, tuple[str, str]]:
        """Path → stamp and value of all that is noted between the first and the last of these files."""
        if not self._file.exists():
            return {}
        names = [os.fsencode(chosen(path for path, _ in files)) for chosen in (min, max)]
        try:
            with closing(self._open()) as database:
                query = "SELECT path, stamp, value FROM notes WHERE topic = ? AND path BETWEEN ? AND ?"
                rows = database.execute(query, [topic, *names])
                return {path.decode(*_NAMES): (stamp, value) for path, stamp, value in rows}
        except sqlite3.Error as error:
            self._forget(error)
            return {}

    def _recall(self, topic: str, stamps: dict[Path, str | None]) -> dict[Path, str]:
        if not self._file.exists():
            return {}
        names = {os.fsencode(path): path for path, stamp in stamps.items() if stamp}
        marks = ",".join("?" * len(names))
        try:
            with closing(self._open()) as database:
                query = f"SELECT path, stamp, value FROM notes WHERE topic = ? AND path IN ({marks})"
                rows = database.execute(query, [topic, *names]).fetchall()
        except sqlite3.Error as error:
            self._forget(error)
            return {}
        return {names[path]: value for path, stamp, value in rows if stamp == stamps[names[path]]}

    def _keep(self, topic: str, values: dict[Path, str], stamps: dict[Path, str | None]) -> None:
        rows = [(topic, os.fsencode(path), stamps[path], value) for path, value in values.items() if _is_settled(stamps[path])]
        if not rows:
            return
        try:
            with closing(self._open()) as database:
                database.execute("BEGIN IMMEDIATE")
                database.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?)", rows)
                database.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            self._forget(error)

    def _open(self) -> sqlite3.Connection:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(self._file, timeout=5, isolation_level=None)
        try:
            database.execute("PRAGMA synchronous = OFF")  # nothing here is worth waiting for the disk
            database.execute(TABLE)
        except BaseException:
            database.close()
            raise
        return database

    def _forget(self, error: Exception) -> None:
        """A file that is no database is deleted; a locked one is left alone."""
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            with suppress(OSError):
                self._file.unlink()


def _stamp(path: Path) -> str | None:
    try:
        return stamp_of(path.stat())
    except OSError:
        return None


def stamp_of(found: os.stat_result) -> str:
    """Changes whenever the file does: also the time at which its entry on the disk changed, for copies keep the other."""
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"


def _is_settled(stamp: str | None) -> bool:
    """Whether the file is old enough that a later change would show in its times."""
    return bool(stamp) and max(map(int, (stamp or "").split()[1:])) / 1e9 < time.time() - SETTLED

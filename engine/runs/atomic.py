"""The one place where files get their final names: written under a hidden folder, flushed, renamed.

A kill or a full disk at any moment leaves the older file as it was, and at most a hidden folder that ``sweep`` removes.
Knows nothing of runs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_STAGE = ".????????.tmp"  # what mkdtemp makes of prefix and suffix below
_ASIDE = ".aside"  # a folder whose place another one is about to take


@contextmanager
def staging(parent: Path) -> Iterator[Path]:
    """A hidden folder in ``parent`` to write into. Whatever was not ``put`` elsewhere is gone after the block."""
    parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".", suffix=".tmp", dir=parent))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def put(source: Path, target: Path) -> None:
    """Flushes ``source``, a file or a folder on the same disk, and gives it the name ``target`` at once."""
    for path in [source, *source.rglob("*")] if source.is_dir() else [source]:
        _flush(path)
    aside = target.with_name(f".{target.name}{_ASIDE}")
    if target.is_dir():  # a folder cannot be renamed over another; a kill between the two is mended by ``sweep``
        discard(aside)
        _rename(target, aside)
    _rename(source, target)
    _flush(target.parent)
    discard(aside)


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """``write`` is called with a path to write to; then that file, or folder, takes the place of ``path`` at once."""
    with staging(path.parent) as stage:
        write(stage / path.name)
        put(stage / path.name, path)


def replace_text(path: Path, text: str) -> None:
    """The text as a UTF-8 file, in the place of ``path`` at once."""
    replace_file(path, lambda new: new.write_text(text, encoding="utf-8", newline="\n"))


def discard(path: Path) -> None:
    """Deletes a file or a folder. A folder loses its name first: half of one never stands under it."""
    if path.is_dir():
        with staging(path.parent) as stage:
            _rename(path, stage / path.name)
    else:
        path.unlink(missing_ok=True)


def sweep(parent: Path) -> None:
    """Removes what a killed process left unfinished in ``parent``. Only for folders with a single writer."""
    for aside in parent.glob(f".*{_ASIDE}"):
        name = aside.with_name(aside.name[1 : -len(_ASIDE)])
        if name.exists():
            discard(aside)
        else:
            _rename(aside, name)
    for stage in parent.glob(_STAGE):
        shutil.rmtree(stage, ignore_errors=True)


def _flush(path: Path) -> None:
    if path.is_dir():
        if os.name == "nt":  # folders cannot be flushed there
            return
        handle = os.open(path, os.O_RDONLY)
    else:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _rename(source: Path, target: Path) -> None:
    for wait in (0.05, 0.2, 1.0):
        try:
            return os.replace(source, target)
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(wait)  # on Windows a virus scanner or a thumbnailer holds new files for a moment
    os.replace(source, target)

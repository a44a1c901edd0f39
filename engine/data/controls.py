"""Reference pictures of an edit model: for each picture of a data set, its mate in each control folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import JobError
from ..settings import resolve
from .pictures import find_pictures
from .words import count, listed, name_of, printable


def find_controls(paths: Sequence[Path], folder: Path, control_path: Sequence[str]) -> list[tuple[Path, ...]]:
    """The mates of each of ``paths``, which lie in ``folder``, in the order of the control folders.

    A mate has the same path within its folder, whatever its ending. One that is missing is an error: positions never shift.
    """
    columns = [_mates(paths, folder, resolve(name)) for name in control_path]
    return list(zip(*columns, strict=True)) if columns else [()] * len(paths)


def _mates(paths: Sequence[Path], folder: Path, controls: Path) -> list[Path]:
    by_stem = {path.relative_to(controls).with_suffix(""): path for path in find_pictures(controls)}
    found = {path: by_stem.get(path.relative_to(folder).with_suffix("")) for path in paths}
    missing = [path for path, mate in found.items() if mate is None]
    if missing:
        told = listed([name_of(path) for path in missing])
        raise JobError(
            f"{count(len(missing), 'picture has', 'pictures have')} no reference picture in {printable(controls)}: {told}.",
            "Put one there under the same name, or take the picture out.",
        )
    return [mate for mate in found.values() if mate is not None]

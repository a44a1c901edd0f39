"""Where the subject of a picture is: a box that a person or a detector wrote, for ``crop: subject``.

It stands in <name>.box.json beside the picture, in the picture's .json beside its caption, or in its row of metadata.jsonl, .csv or .parquet;
of several the first one counts. The fields are face or box, [left, top, right, bottom], or bbox, [left, top, width, height] as COCO and
Hugging Face's imagefolder have it: in pixels of the upright picture, or in shares of its sides where no number is above 1.
In <name>.box.json the four numbers of a box may stand alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...errors import JobError
from ..captions.metadata import TABLES, inside, records
from ..sizes.crops import CENTRE, TOP, Focus
from ..words import listed, name_of

CORNERS = ("face", "box")
"""Fields that hold [left, top, right, bottom], in the order in which they count."""
EXTENTS = "bbox"
"""Field that holds [left, top, width, height]."""
_HINT = 'A box is written {"box": [left, top, right, bottom]}, in pixels from the upper left corner of the picture as it is seen.'


def find_focuses(paths: Sequence[Path], sizes: Sequence[tuple[int, int]], folder: Path, crop: str) -> list[Focus]:
    """What is to stay in the middle of each picture in ``folder``. Where ``crop`` is subject: its box, or its centre if it has none.

    JobError if none of them has one, and for a box that is wrong.
    """
    if crop != "subject":
        return [TOP if crop == "top" else CENTRE] * len(paths)
    tables = _Tables(folder)
    found = [read_subject(path, size, tables.row(path)) for path, size in zip(paths, sizes, strict=True)]
    if paths and not any(found):
        raise JobError(
            f"crop is subject, and none of the pictures has a box: {listed([name_of(path) for path in paths])}.",
            f"Write <name>.box.json beside a picture, or set crop to center or top. {_HINT}",
        )
    return [focus or CENTRE for focus in found]


def read_subject(path: Path, size: tuple[int, int], row: tuple[str, Mapping[str, Any]] | None = None) -> Focus | None:
    """The box of the subject of a picture of ``size``; ``row`` is what a table says of it, after the place where it stands."""
    own, beside = path.with_suffix(".box.json"), path.with_suffix(".json")
    data = _read_json(own)
    if data is not None:
        data = {"box": data} if isinstance(data, list) else data
        if not isinstance(data, Mapping) or not (field := _field_of(data)):
            raise JobError(f"{name_of(own)} has no box in it.", _HINT)
        return _focus(data[field], field, size, name_of(own))
    data = _read_json(beside)
    if isinstance(data, Mapping) and (field := _field_of(data)):
        return _focus(data[field], field, size, name_of(beside))
    if row and (field := _field_of(row[1])):
        return _focus(row[1][field], field, size, row[0])
    return None


class _Tables:
    """The rows of the tables in a folder and the folders in it, each table read once."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._known: dict[Path, dict[Path, tuple[str, Mapping[str, Any]]]] = {}

    def row(self, path: Path) -> tuple[str, Mapping[str, Any]] | None:
        """The row of a picture that has a box: in its own folder's tables before those further up."""
        for parent in path.parents:
            if parent not in self._known:
                self._known[parent] = self._read(parent)
            if row := self._known[parent].get(path):
                return row
            if parent == self._folder:
                break
        return None

    def _read(self, folder: Path) -> dict[Path, tuple[str, Mapping[str, Any]]]:
        rows: dict[Path, tuple[str, Mapping[str, Any]]] = {}
        for table in filter(Path.is_file, (folder / name for name in TABLES)):
            for line, record in records(table):
                if (name := inside(str(record.get("file_name") or ""))) and _field_of(record):
                    rows.setdefault(folder / name, (f"{name_of(table)}, line {line}", record))
        return rows


def _field_of(data: Mapping[str, Any]) -> str | None:
    return next((field for field in (*CORNERS, EXTENTS) if data.get(field) not in (None, "")), None)


def _focus(value: Any, field: str, size: tuple[int, int], where: str) -> Focus:
    """The box as shares of the picture. JobError if it is none, or not in the picture."""
    if isinstance(value, str):  # in a .csv
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 4 or not all(map(_is_number, value)):
        raise JobError(f"{where}: {field} is {str(value)[:60]}, and must be four numbers.", _HINT)
    left, top, right, bottom = map(float, value)
    across, down = (1, 1) if max(left, top, right, bottom) <= 1 else size
    if field == EXTENTS:
        right, bottom = left + right, top + bottom
    if left >= right or top >= bottom:
        raise JobError(f"{where}: {field} is {list(value)}, a box without an extent.", _HINT)
    slack = 1.0 if across > 1 else 0.001  # boxes are rounded
    if min(left, top) < -slack or right > across + slack or bottom > down + slack:
        raise JobError(f"{where}: {field} is {list(value)}, and reaches out of the picture ({size[0]} × {size[1]}).", _HINT)
    return max(0.0, left / across), max(0.0, top / down), min(1.0, right / across), min(1.0, bottom / down)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _read_json(file: Path) -> Any:
    """What is in the file; None where there is none."""
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
    except OSError as error:
        raise JobError(f"{name_of(file)} cannot be read: {error.strerror}.", "Allow this user to read it.") from error
    except (ValueError, RecursionError) as error:
        raise JobError(f"{name_of(file)} is not valid JSON: {error}.", "Check commas and quotes there.") from error

"""Tables of captions in a folder: metadata.jsonl and metadata.csv, as Hugging Face's imagefolder reads and writes them.

A row names a picture (``file_name``, from the table's own folder) and says its caption. No file that a row names is opened here.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ...errors import JobError
from ..words import listed, name_of
from .text import decode_text

TABLES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""In the order in which they count where a folder has several."""
COLUMNS = ("text", "caption", "prompt")
"""Where the caption is looked for, in this order."""
SHORT = "caption_short"

csv.field_size_limit(1 << 24)  # a caption may be longer than the 128 KB that csv allows


class NoCaptions(JobError):
    """A file that is as it should be, and says no captions."""


class Row(NamedTuple):
    """What a table says of one picture."""

    name: str
    """As it stands: a path from the table's folder."""
    text: str | None
    short: str | None


def read_table(path: Path, column: str | None = None) -> list[Row]:
    """All rows, in order. ``column`` is where the captions are, if the person said so.

    Raises JobError for a table that cannot be read, and for one without captions, with the columns that it has.
    """
    rows = records(path)
    columns = list(dict.fromkeys(key for _, record in rows for key in record))
    if not rows:
        return []
    if "file_name" not in columns:
        raise JobError(
            f"{name_of(path)} has no column file_name; its columns are {listed(columns, 20)}.",
            "Name the column with the pictures' names file_name, or take the table out of the folder.",
        )
    wanted = [column] if column else list(COLUMNS)
    found = next((one for one in wanted if one in columns), None)
    if found is None and SHORT not in columns:
        raise NoCaptions(
            f"{name_of(path)} has no column {' or '.join(wanted)}; its columns are {listed(columns, 20)}.",
            "Set caption_column to the one with the captions, or take the table out of the folder.",
        )
    return [
        Row(_text(path, line, record, "file_name") or "", _text(path, line, record, found), _text(path, line, record, SHORT))
        for line, record in rows
    ]


def records(path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    """All rows as they stand, each after its line. JobError for a table that cannot be read."""
    return list(_RECORDS[path.suffix.lower()](path))


def inside(name: str) -> PurePosixPath | None:
    """The path that a row names; None where it leads out of the table's folder, or nowhere."""
    path = PurePosixPath(name.replace("\\", "/"))
    outside = path.is_absolute() or ".." in path.parts or "\0" in name or (path.parts and path.parts[0][1:] == ":")
    return None if outside or not path.parts else path


def caption_in(path: Path, record: Any) -> tuple[str | None, str | None]:
    """Caption and short caption of a picture, from a section with ``caption`` and ``caption_short`` as AI Toolkit writes it.

    ``path`` is the file that it stands in, for the JobError about any other shape.
    """
    if not isinstance(record, Mapping):
        raise JobError(
            f"{name_of(path)} is not a caption: it holds {_kind(record)}, not a section with caption in it.",
            'A caption is written {"caption": "...", "caption_short": "..."}; plain words belong into a .txt file.',
        )
    if not {"caption", SHORT} & record.keys():
        raise NoCaptions(
            f"{name_of(path)} has no caption in it; its keys are {listed([str(key) for key in record], 20) or 'none'}.",
            'A caption is written {"caption": "...", "caption_short": "..."}; plain words belong into a .txt file.',
        )
    return _text(path, 0, record, "caption"), _text(path, 0, record, SHORT)


def parse(path: Path, text: str, line: int = 0) -> Any:
    """The JSON in ``text``. Raises JobError that names the file and the line."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        at = line or getattr(error, "lineno", 1)
        raise JobError(
            f"{name_of(path)} is not JSON: line {at} cannot be read.",
            "Mend it, or write the captions as .txt files and take it out of the folder.",
        ) from error


def _text(path: Path, line: int, record: Mapping[str, Any], column: str | None) -> str | None:
    """What stands in a column, as it stands; None where there is nothing but blanks."""
    value = record.get(column) if column else None
    if value is None:
        return None
    if not isinstance(value, str):
        where = f", line {line}" if line else ""
        raise JobError(f"{name_of(path)}{where}: {column} is {_kind(value)}, and must be text.", "Put it in quotes.")
    # JSON can write half of a character, which no text encoder reads
    return value.encode(errors="replace").decode() if value.strip() else None


def _kind(value: Any) -> str:
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list", type(None): "nothing"}
    return kinds.get(type(value), "a section")


def _contents(path: Path) -> str:
    try:
        return decode_text(path.read_bytes())[0]
    except OSError as error:
        raise JobError(f"{name_of(path)} cannot be read: {error.strerror}.", "Allow this user to read it.") from error


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    # not splitlines(): JSON may hold other line ends inside its texts
    for line, text in enumerate(_contents(path).split("\n"), 1):
        if text.strip():
            record = parse(path, text, line)
            if not isinstance(record, Mapping):
                raise JobError(f"{name_of(path)}, line {line}: it is {_kind(record)}, and must be a section of columns.", "Mend the line.")
            yield line, record


def _columns(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(_contents(path), newline=""), restkey="", strict=True)
    try:
        for record in reader:
            if "" in record:
                raise JobError(
                    f"{name_of(path)}, line {reader.line_num}: it has more cells than there are columns.",
                    "Put captions that have a comma in them into double quotes.",
                )
            yield reader.line_num, record
    except csv.Error as error:
        raise JobError(
            f"{name_of(path)} cannot be read beyond line {reader.line_num}: {error}.", "Look at the double quotes there, and save it again."
        ) from error


def _parquet(path: Path) -> Iterable[tuple[int, Mapping[str, Any]]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise JobError(
            f"{name_of(path)} cannot be read: the package pyarrow is missing.",
            "Install it beside the program: pip install pyarrow. Or save the table as metadata.csv.",
        ) from error
    try:
        return list(enumerate(parquet.read_table(path).to_pylist(), 1))
    except (ArrowException, OSError) as error:
        raise JobError(f"{name_of(path)} cannot be read as parquet: it is damaged.", "Save it again, or as metadata.csv.") from error


_RECORDS = {".jsonl": _lines, ".csv": _columns, ".parquet": _parquet}

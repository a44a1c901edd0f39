"""Pictures with captions out of what is no folder: a Hugging Face data set, a parquet file, a webdataset shard.

A row comes as the bytes of its picture and its caption, in the order of the source. Names inside a source are never used
as names of files. The packages that read parquet and the hub are an extra, and are imported where they are used.
"""

from __future__ import annotations

import io
import itertools
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..errors import JobError
from ..jobs import Dataset
from .captions.metadata import COLUMNS, NoCaptions, caption_in, parse
from .captions.text import decode_text
from .files.pictures import IMAGE_SUFFIXES
from .words import listed, printable

HUB = "hf://"
TARS = (".tar", ".tar.gz", ".tgz")
PICTURES = ("image", "img", "picture", "jpg", "jpeg", "png", "webp")
"""Where the picture is looked for, in this order."""
_REPOSITORY = re.compile(r"[^\W_][\w.-]*/[^\W_][\w.-]*(@[\w./-]+)?", re.ASCII)
_MOST_BYTES = 1 << 30
"""Of one file in a shard; more is a fault, or meant to fill the memory."""
_INSTALL = "Install it beside the program: pip install datasets, which brings pyarrow."


class Sample(NamedTuple):
    """One row."""

    picture: bytes
    """Its file; empty where the row has none."""
    text: str | None


def is_elsewhere(path: str) -> bool:
    """Whether the path of a data set names one of these sources."""
    return path.startswith(HUB) or path.lower().endswith((".parquet", *TARS))


def samples_of(dataset: Dataset, file: Path, skip: int) -> Iterator[Sample]:
    """The rows from number ``skip`` on; ``file`` is the local one, where it is no hub's. Raises JobError, naming the source."""
    if dataset.path.startswith(HUB):
        return _from_hub(dataset, skip)
    rows = _from_parquet(dataset, file) if file.suffix.lower() == ".parquet" else _from_tar(dataset, file)
    return itertools.islice(rows, skip, None)


def _from_hub(dataset: Dataset, skip: int) -> Iterator[Sample]:
    name = dataset.path.removeprefix(HUB).rstrip("/")
    if not _REPOSITORY.fullmatch(name):
        raise JobError(f"{dataset.path} is no data set on the hub.", "It is written hf://owner/name, or hf://owner/name@revision.")
    try:
        from datasets import Image, load_dataset
    except ImportError as error:
        raise JobError(f"{dataset.path} cannot be read: the package datasets is missing.", _INSTALL) from error
    repository, _, revision = name.partition("@")
    with _told(dataset):
        rows = load_dataset(repository, dataset.hf_config, split=dataset.hf_split, revision=revision or None, streaming=True)
        names = rows.column_names or [name for row in rows.take(1) for name in row]
        image, caption = _columns(dataset, names)
        if isinstance((rows.features or {}).get(image), Image):
            rows = rows.cast_column(image, Image(decode=False))  # the file as it is, not decoded and saved again
        for row in rows.skip(skip):
            yield Sample(_bytes(row[image]), _text(row.get(caption)))


def _from_parquet(dataset: Dataset, file: Path) -> Iterator[Sample]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise JobError(f"{printable(file)} cannot be read: the package pyarrow is missing.", _INSTALL) from error
    with _told(dataset):
        table = parquet.ParquetFile(file)
        image, caption = _columns(dataset, table.schema_arrow.names)
        for batch in table.iter_batches(batch_size=16, columns=[image, caption] if caption else [image]):
            for row in batch.to_pylist():
                yield Sample(_bytes(row[image]), _text(row.get(caption)))


def _from_tar(dataset: Dataset, file: Path) -> Iterator[Sample]:
    """Files that follow each other and have the same name up to the first dot are a row."""
    with _told(dataset), tarfile.open(file, "r|*") as shard:
        group: dict[str, bytes] = {}
        key = ""
        for member in shard:
            path = PurePosixPath(member.name)
            stem, _, ending = path.name.lower().partition(".")
            if not member.isfile() or not stem:
                continue
            if (now := str(path.with_name(stem))) != key:
                yield from _row(dataset, group)
                key, group = now, {}
            if member.size > _MOST_BYTES:
                raise JobError(
                    f"{printable(file)} has a file of {member.size / 1e9:.0f} GB in it, {printable(member.name)}.",
                    "Take it out of the shard.",
                )
            content = shard.extractfile(member)
            group[ending] = content.read() if content else b""
        yield from _row(dataset, group)


def _row(dataset: Dataset, group: Mapping[str, bytes]) -> Iterator[Sample]:
    image = dataset.image_column or next((ending for ending in group if f".{ending.rpartition('.')[2]}" in IMAGE_SUFFIXES), "")
    if not image or image not in group:
        return
    wanted = [dataset.caption_column] if dataset.caption_column else ["txt", *COLUMNS]
    text = next((decode_text(group[ending])[0].strip() for ending in wanted if ending in group), None)
    if text is None and "json" in group:
        record = parse(Path(dataset.path), decode_text(group["json"])[0])
        found = next((record[key] for key in wanted if key in record), None) if isinstance(record, Mapping) else None
        try:
            text = found if isinstance(found, str) else caption_in(Path(dataset.path), record)[0]
        except NoCaptions:
            text = None
    yield Sample(group[image], _text(text))


def _columns(dataset: Dataset, names: Iterable[str]) -> tuple[str, str]:
    """The columns of the picture and of the caption, which is empty where none is there and none was asked for."""
    known = list(names)
    found = []
    for key, given, usual in (("image_column", dataset.image_column, PICTURES), ("caption_column", dataset.caption_column, COLUMNS)):
        wanted = [given] if given else usual
        column = next((one for one in wanted if one in known), None)
        if column is None and (given or key == "image_column"):
            raise JobError(
                f"{dataset.path} has no column {' or '.join(wanted)}; its columns are {listed(known, 20) or 'none'}.",
                f"Set {key} to one of them.",
            )
        found.append(column or "")
    return found[0], found[1]


def _bytes(value: Any) -> bytes:
    """The file of a picture, however the column holds it."""
    if isinstance(value, Mapping):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str) and value.startswith(HUB):
        from huggingface_hub import HfFileSystem

        return bytes(HfFileSystem().cat_file(value))
    if hasattr(value, "save"):  # a picture that was decoded
        value.save(file := io.BytesIO(), "PNG")
        return file.getvalue()
    return value if isinstance(value, bytes) else b""


def _text(value: Any) -> str | None:
    """A caption; of a list of them the first."""
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, str) and value.strip() else None


@contextmanager
def _told(dataset: Dataset) -> Iterator[None]:
    """What these libraries raise, as one sentence."""
    try:
        yield
    except JobError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, EOFError, tarfile.TarError) as error:
        reason = str(error).strip().splitlines()[0].rstrip(".") if str(error).strip() else type(error).__name__
        on_hub = "Check its name, and hf_config and hf_split; a private one needs `hf auth login`."
        here = "The file is damaged, or is not what its ending says."
        raise JobError(
            f"The data set {dataset.path} cannot be read: {reason}.", on_hub if dataset.path.startswith(HUB) else here
        ) from error

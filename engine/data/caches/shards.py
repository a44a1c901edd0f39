"""Named groups of tensors on the disk, in files of about 64 MB that are written once and never changed.

A file's name is the SHA-256 of its bytes, so that damage shows. What fits is held in memory, the rest is mapped from the
disk, where only its length is checked. Knows nothing of pictures or captions. Several processes may use one folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...errors import JobError
from ...runs.atomic import replace_file
from .room import Use, touch

SHARD_BYTES = 64 * 2**20
SHARE_OF_MEMORY = 0.25
"""Of the memory that is free, at most this much is used to hold tensors."""

Group = dict[str, Tensor]


class Shards:
    """The groups in ``folder``; ``room`` is how many bytes may be held in memory."""

    def __init__(self, folder: Path, room: int | None = None):
        self._folder = folder
        self._use = Use(folder)
        self._room = int(psutil.virtual_memory().available * SHARE_OF_MEMORY) if room is None else room
        self._held: dict[str, Group] = {}
        self._mapped: dict[str, safe_open] = {}
        self._fields: dict[str, list[str]] = {}
        self._new: dict[str, Group] = {}
        self._new_bytes = 0
        self.damaged = 0
        """Files that were found damaged, and deleted."""

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of ``names`` that are not there, in order. The others are opened."""
        wanted = [name for name in names if name not in self]
        if not wanted:
            return []
        for path in sorted(self._folder.glob("*.safetensors")):
            self._open(path, set(wanted))
        return [name for name in wanted if name not in self]

    def __contains__(self, name: str) -> bool:
        return name in self._held or name in self._mapped or name in self._new

    def __getitem__(self, name: str) -> Group:
        if (group := self._held.get(name) or self._new.get(name)) is not None:
            return group
        return {field: self._mapped[name].get_tensor(f"{name}/{field}") for field in self._fields[name]}

    def add(self, name: str, group: Group) -> None:
        """Takes the group in; it is on the disk after ``flush`` at the latest."""
        self._new[name] = {field: tensor.contiguous() for field, tensor in group.items()}  # as it will be read back
        self._new_bytes += _bytes_of(group)

    def add_batch(self, names: Sequence[str], batch: Mapping[str, Tensor]) -> None:
        """Takes in a group for each row of tensors whose first dimension is that of ``names``; what fills a file is written."""
        rows = {field: tensor.detach().cpu() for field, tensor in batch.items()}
        for row, name in enumerate(names):
            self.add(name, {field: tensor[row].clone() for field, tensor in rows.items()})
        if self._new_bytes >= SHARD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what was added."""
        if not self._new_bytes:
            return
        data = safetensors.torch.save({f"{name}/{field}": tensor for name, group in self._new.items() for field, tensor in group.items()})
        path = self._folder / f"{hashlib.sha256(data).hexdigest()}.safetensors"
        try:
            replace_file(path, lambda new: new.write_bytes(data))
        except OSError as error:
            raise JobError(
                f"The cache in {self._folder} cannot be written: {error.strerror or error}.",
                "Free some space there, or choose another cache folder in settings.yaml. What was encoded before is kept.",
            ) from error
        self._keep(path, self._new)
        self._new, self._new_bytes = {}, 0

    def _keep(self, path: Path, groups: Mapping[str, Group]) -> None:
        """In memory where there is room, else mapped."""
        size = sum(map(_bytes_of, groups.values()))
        if size <= self._room:
            self._room -= size
            self._held |= groups
        else:
            self._map(path, {name: list(group) for name, group in groups.items()})

    def _map(self, path: Path, fields: Mapping[str, list[str]]) -> None:
        # it stays readable when the file is deleted, and holds no descriptor
        file = safe_open(path, framework="pt")
        self._mapped |= dict.fromkeys(fields, file)
        self._fields |= fields

    def _open(self, path: Path, wanted: set[str]) -> None:
        """Takes the wanted groups of a file; one that is damaged is deleted, and its groups are missing again."""
        try:
            sizes = _read_header(path)
            inside = {name: size for name, size in sizes.items() if name.partition("/")[0] in wanted}
            if not inside:
                return
            touch(path)
            fields: dict[str, list[str]] = {}
            for name in inside:
                group, _, field = name.partition("/")
                fields.setdefault(group, []).append(field)
            if sum(inside.values()) > self._room:
                return self._map(path, fields)
            data = path.read_bytes()
            if hashlib.sha256(data).hexdigest() != path.stem:
                raise ValueError("The bytes are not those that were written.")
            tensors = safetensors.torch.load(data)
            self._keep(path, {g: {field: tensors[f"{g}/{field}"] for field in names} for g, names in fields.items()})
        except FileNotFoundError:
            return  # another process found it damaged first
        except (ValueError, LookupError, TypeError, AttributeError, SafetensorError):
            self.damaged += 1
            with suppress(OSError):
                path.unlink()
        except OSError as error:
            raise JobError(
                f"The cache in {self._folder} cannot be read: {error.strerror or error}.",
                "Delete the cache folder; it is made again.",
            ) from error


def _read_header(path: Path) -> dict[str, int]:
    """Bytes of each tensor. Raises ValueError, LookupError, TypeError or AttributeError if there is no header."""
    with path.open("rb") as file:
        length = min(int.from_bytes(file.read(8), "little"), path.stat().st_size)
        header: dict[str, Any] = json.loads(file.read(length))
    offsets = {name: entry["data_offsets"] for name, entry in header.items() if name != "__metadata__"}
    return {name: end - start for name, (start, end) in offsets.items()}


def _bytes_of(group: Group) -> int:
    return sum(tensor.nbytes for tensor in group.values())

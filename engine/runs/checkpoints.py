"""Checkpoints: weights as other tools read them, and the exact state to continue from. All or nothing.

Weights get their final name first, the state after them: a state never stands there without its weights. A state is a
folder of safetensors files and one of JSON, with a manifest that says what belongs to it. Knows nothing of training.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import JobError
from .atomic import discard, put, staging, sweep
from .folder import RunFolder
from .safe import read_safetensors, write_safetensors

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST, VALUES = "manifest.json", "values.json"
MARGIN = 2.0
"""Room that is asked for before a save, in sizes of what will be written: other programs write too."""
_FULL = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)


@dataclass
class State:
    """Everything a run continues from. Tensors are copies on the CPU; values are what JSON holds exactly."""

    step: int
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """Per group, such as weights, optimizer, ema, rng: one file each."""
    values: dict[str, Any] = field(default_factory=dict)


class CheckpointStore:
    """The checkpoints of one run. Only one process at a time has a store of a run."""

    def __init__(self, folder: RunFolder, keep: int, keep_states: int, framework: str = "pt"):
        """``framework`` is what loaded tensors are: pt, or np for NumPy."""
        self.folder, self.keep, self.keep_states, self.framework = (
            folder,
            keep,
            max(1, keep_states),
            framework,
        )
        sweep(folder.path)
        sweep(folder.state)
        sweep(folder.samples)

    def save(self, step: int, final: bool, write_weights: Callable[[Path], object], state: State, size: int | None = None) -> Path:
        """Weights and state of a step; returns where the weights are. ``write_weights`` makes a file or a folder, of about ``size`` bytes.

        A save that fails, or is killed, leaves the older checkpoints as they were.
        """
        path = self.folder.final_path if final else self.folder.checkpoint_path(step)
        needed = self._size(state, size)
        with _explained(self.folder, step, needed):
            self._check_room(needed)
            with staging(self.folder.path) as stage:
                made = stage / path.name
                write_weights(made)
                if made.is_dir():
                    path = path.with_suffix("")
                    put(made, path)
                else:  # one file, or one for each expert
                    files = sorted(stage.iterdir())
                    for file in files:
                        put(file, self.folder.path / file.name)
                    path = self.folder.path / files[0].name
            with staging(self.folder.state) as stage:
                made = stage / "state"
                write_state(made, step, state.tensors, state.values)
                put(made, self.folder.state_path(step))
        self._prune(step, final)
        return path

    def latest(self) -> State | None:
        """The newest complete state; one that is damaged is passed over for the next older."""
        path, manifest = self._newest(thorough=True)
        if not manifest:
            return None
        tensors = {group: read_safetensors(path / f"{group}.safetensors", self.framework) for group in manifest["groups"]}
        return State(manifest["step"], tensors, _values(path))

    def latest_values(self) -> State | None:
        """The newest state that looks complete, without its tensors: quick, however large it is."""
        path, manifest = self._newest(thorough=False)
        return State(manifest["step"], values=_values(path)) if manifest else None

    def _newest(self, thorough: bool) -> tuple[Path, dict[str, Any] | None]:
        for path in map(self.folder.state_path, reversed(self._states())):
            if manifest := read_manifest(path, thorough):
                return path, manifest
        return self.folder.state, None

    def _prune(self, step: int, final: bool) -> None:
        """Older checkpoints make room. Until the final one is there, the newest stays even if none is to be kept."""
        numbered = [c for c in self.folder.checkpoints() if not c.final and c.step <= step]
        keep = self.keep if final else max(1, self.keep)
        kept = sorted({c.step for c in numbered})[-keep:] if keep else []
        states = self._states()
        passed = [other for other in states if other <= step]
        # a state of a later step is damaged, or this run would have continued from it
        gone = [other for other in states if other > step] + passed[: -self.keep_states]
        for path in [path for c in numbered if c.step not in kept for path in self.folder.files_of(c)] + [
            self.folder.state_path(other) for other in gone
        ]:
            try:
                discard(path)
            except OSError:
                continue  # somebody reads it just now; the next save tries again

    def _states(self) -> list[int]:
        if not self.folder.state.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.state.iterdir() if path.name.isdecimal() and path.is_dir())

    def _size(self, state: State, weights: int | None) -> int:
        """About how many bytes a save writes: the state, and weights as large as is said, or as the newest ones."""
        groups = {name: sum(tensor.nbytes for tensor in group.values()) for name, group in state.tensors.items()}
        if weights is None:
            saved = self.folder.checkpoints()
            weights = _size_of(saved[-1].path) if saved else groups.get("weights", 0)
        return sum(groups.values()) + weights

    def _check_room(self, needed: int) -> None:
        if room_for(self.folder.path, needed):
            raise OSError(errno.ENOSPC, "No space left on device")


def write_state(path: Path, step: int, tensors: Mapping[str, Mapping[str, Any]], values: Mapping[str, Any]) -> None:
    """A new folder with a state. ``path`` is written directly: see ``atomic``."""
    path.mkdir()
    for group, some in tensors.items():
        write_safetensors(path / f"{group}.safetensors", some)
    (path / VALUES).write_text(json.dumps(values), encoding="utf-8")
    files = {part.name: {"size": part.stat().st_size, "sha256": _digest(part)} for part in sorted(path.iterdir())}
    manifest = {"step": step, "groups": sorted(tensors), "files": files}
    (path / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def read_manifest(path: Path, thorough: bool = True) -> dict[str, Any] | None:
    """The manifest of a state, if every file is there as it was written. Not ``thorough``: tensors by their sizes alone, which is quick."""
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        for name in [VALUES, *(f"{group}.safetensors" for group in manifest["groups"])]:
            written = manifest["files"][name]
            if (path / name).stat().st_size != written["size"] or (
                (thorough or name == VALUES) and _digest(path / name) != written["sha256"]
            ):
                return None
        return manifest
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _values(path: Path) -> dict[str, Any]:
    return json.loads((path / VALUES).read_text(encoding="utf-8"))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size_of(path: Path) -> int:
    return sum(part.stat().st_size for part in path.rglob("*") if part.is_file()) if path.is_dir() else path.stat().st_size


def room_for(path: Path, needed: int) -> int:
    """Bytes that are missing on the disk of ``path`` to write so many; 0 where there is room."""
    return max(0, math.ceil(needed * MARGIN - shutil.disk_usage(path).free))


@contextmanager
def _explained(folder: RunFolder, step: int, needed: int) -> Iterator[None]:
    """A full disk, or a folder that cannot be written, as a sentence about what to do."""
    from safetensors import SafetensorError

    kept = "What was saved before is unharmed; the run can be resumed."
    try:
        yield
    except (OSError, SafetensorError) as error:
        # safetensors 0.8 tells of the system's errors in words only, and so does shutil of those within a folder that it copies
        told = re.search(r"(?:os error |Errno )(\d+)", str(error))
        number = getattr(error, "errno", None) or (int(told[1]) if told else None)
        if number in _FULL:
            missing = max(1, math.ceil(room_for(folder.path, needed) / 2**20))
            raise JobError(
                f"The disk is full: step {step} could not be saved in {folder.path}.",
                f"Free {missing} MB there, or choose another output folder. {kept}",
            ) from error
        if number in _REFUSED:
            raise JobError(
                f"Step {step} could not be saved in {folder.path}: {os.strerror(number).lower()}.",
                f"Check that the folder can be written. {kept}",
            ) from error
        raise

"""The ema job: one set of weights out of the checkpoints of a run, each counting by its step. Loads one file at a time.

The numbers in the files are averaged, as the running average of a training does: of a LoRA, each of the two matrices by itself.

With ``power``, this is the profile of Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models", section 3, summed over
checkpoints instead of steps.
"""

from __future__ import annotations

import itertools
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..control import Control
from ..data.words import count
from ..errors import JobError
from ..events import Event, Finished, Noted, Phase, Progress, Saved
from ..jobs.tools.weights import EmaJob
from ..network.reader import read_header
from ..runs.atomic import put, staging
from ..runs.folder import EXPERTS, RunFolder
from ..runs.safe import read_metadata, read_safetensors, write_safetensors
from ..settings import resolve

_STEPS = "ss_steps"


@dataclass(frozen=True)
class Snapshot:
    """The weights of one step: a file, a file for each expert, or the files in a folder, by their names in it."""

    step: int
    path: Path
    files: dict[str, Path]


def average(job: EmaJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """The average gets the final name in the folder of this run."""
    yield Phase(name="Averaging")
    found = snapshots([resolve(path) for path in job.paths])
    found = [one for one in found if one.step >= job.start_step and (job.end_step is None or one.step <= job.end_step)]
    if len(found) < 2:
        raise JobError(
            f"{count(len(found), 'checkpoint', 'checkpoints')} to average: two are needed.",
            "Give a run with more checkpoints (save.max_step_saves_to_keep), or widen start_step and end_step.",
        )
    shares = given_shares(job.weights, len(found)) if job.weights else profile(job, [one.step for one in found])
    yield Noted(message=f"Shares: {', '.join(f'step {one.step} {share:.1%}' for one, share in zip(found, shares, strict=True))}.")
    last, total = found[-1], len(found) * len(found[-1].files)
    with staging(folder.path) as stage:
        for number, name in enumerate(last.files):
            sums: dict[str, Tensor] = {}
            for index, (one, share) in enumerate(zip(found, shares, strict=True)):
                if control.stop:
                    yield Finished(step=0, reason="stopped")
                    return
                _add(sums, one, name, share, first=index == 0)
                yield Progress(done=number * len(found) + index + 1, total=total, what="files")
            newest = read_safetensors(last.files[name])
            result = {key: _as(sums[key], tensor, key) for key, tensor in newest.items()}
            merged = ", ".join(one.path.name for one in found)
            texts = read_metadata(last.files[name]) | {"modelspec.merged_from": merged}
            target = stage / (_folder_file(folder, name, last))
            target.parent.mkdir(parents=True, exist_ok=True)
            write_safetensors(target, result, texts)
        if last.path.is_dir():
            for other in last.path.rglob("*"):
                if other.is_file() and other.suffix != ".safetensors":
                    place = stage / folder.name / other.relative_to(last.path)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(other, place)
        made = sorted(stage.iterdir())
        for one_made in made:
            put(one_made, folder.path / one_made.name)
    yield Saved(step=last.step, path=Path(made[0].name), final=True)
    yield Finished(step=last.step)


def profile(job: EmaJob, steps: Sequence[int]) -> list[float]:
    """How much each checkpoint counts; together 1. Each stands for the steps since the one before, the first for as many as the second."""
    if job.profile == "mean":
        return [1 / len(steps)] * len(steps)
    end = steps[-1]
    edges = [max(0, 2 * steps[0] - steps[1]), *steps]
    if job.profile == "ema":
        sums = [job.ema_decay ** (end - edge) for edge in edges]
    else:
        power = exponent(job.sigma_rel) + 1
        sums = [(edge / end) ** power for edge in edges]
    parts = [later - earlier for earlier, later in itertools.pairwise(sums)]
    return [part / sum(parts) for part in parts]


def exponent(sigma_rel: float) -> float:
    """The power of the profile whose spread is this share of the run: the inverse of sqrt(g + 1) / (g + 2) / sqrt(g + 3)."""
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        spread = (middle + 1) ** 0.5 / (middle + 2) / (middle + 3) ** 0.5
        low, high = (middle, high) if spread > sigma_rel else (low, middle)
    return (low + high) / 2


def given_shares(weights: Sequence[float], found: int) -> list[float]:
    if len(weights) != found or sum(weights) <= 0:
        raise JobError(
            f"There are {found} checkpoints and {count(len(weights), 'weight', 'weights')}.",
            "Give one weight for each, oldest first, not all of them 0; or leave weights out.",
        )
    return [weight / sum(weights) for weight in weights]


def snapshots(paths: Sequence[Path]) -> list[Snapshot]:
    """What lies in the folders of runs, and the files themselves, oldest first; of each step once."""
    found: dict[int, Snapshot] = {}
    for path in paths:
        for step, one in _checkpoints(path):
            files, other = _files(one), found.get(step)
            if other and not files.keys() & other.files.keys():  # both experts of a step
                files = other.files | files
            elif other and one.parent != path:  # in the folder of a run, the final one may be a numbered one as well
                raise JobError(f"{one.name} and {other.path.name} are of the same step.", "Give the checkpoints of one run.")
            found[step] = Snapshot(step, one, files)
    return [found[step] for step in sorted(found)]


def _checkpoints(path: Path) -> list[tuple[int, Path]]:
    if not path.exists():
        raise JobError(f"There is no {path}.", "Give the folder of a run, or its checkpoints.")
    if path.is_dir() and (path / "config.yaml").is_file():
        return [(checkpoint.step, checkpoint.path) for checkpoint in RunFolder(path).checkpoints()]
    return [(_step(path), path)]


def _step(path: Path) -> int:
    if match := re.search(rf"_(\d{{9}}){EXPERTS}?$", path.stem):
        return int(match[1])
    try:
        return int(read_metadata(path)[_STEPS])
    except (OSError, ValueError, KeyError):
        raise JobError(
            f"{path.name} does not say which step it is of.", "Its name has to end in it, as in name_000000250.safetensors."
        ) from None


def _files(path: Path) -> dict[str, Path]:
    if path.is_dir():
        files = {file.relative_to(path).as_posix(): file for file in sorted(path.rglob("*.safetensors"))}
    else:
        files = {(re.search(rf"{EXPERTS}$", path.stem) or [""])[0]: path} if path.suffix == ".safetensors" else {}
    if not files:
        raise JobError(f"{path.name} has no weights.", "Give .safetensors files, or folders with them.")
    return files


def _folder_file(folder: RunFolder, name: str, last: Snapshot) -> Path:
    return Path(folder.name, name) if last.path.is_dir() else Path(f"{folder.name}{name}.safetensors")


def _add(sums: dict[str, Tensor], one: Snapshot, name: str, share: float, first: bool) -> None:
    """With more digits than the files have, so that the average of equal weights is those weights."""
    if name not in one.files:
        raise JobError(f"{one.path.name} has no {name}, which others have.", "Give the checkpoints of one run.")
    read_header(one.files[name])  # says in a sentence what is wrong with a damaged file
    tensors = read_safetensors(one.files[name])
    if not first and (odd := sorted(tensors.keys() ^ sums.keys()) or [key for key in sums if sums[key].shape != tensors[key].shape]):
        raise JobError(f"{one.path.name} is of another run: its {odd[0]} is not that of the others.", "Give the checkpoints of one run.")
    for key, tensor in tensors.items():
        if not _counts(key, tensor):
            if key in sums and not torch.equal(sums[key], tensor):
                raise JobError(f"{one.path.name} has another {key} than the others.", "Give the checkpoints of one run.")
            sums[key] = tensor
        elif key in sums:
            sums[key].add_(_wide(tensor), alpha=share)
        else:
            sums[key] = _wide(tensor) * share


def _counts(key: str, tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not key.endswith(".alpha")


def _wide(tensor: Tensor) -> Tensor:
    return tensor.double() if tensor.dtype == torch.float32 else tensor.float()


def _as(total: Tensor, like: Tensor, key: str) -> Tensor:
    return total.to(like.dtype) if _counts(key, like) else like

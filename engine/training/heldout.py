"""Pictures that are held back from training: which ones, and a bench that shows them as they are, in a fixed order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..data.chance import number
from ..data.files.clips import VIDEO_SUFFIXES
from ..data.files.notes import Notes
from ..data.files.pictures import IMAGE_SUFFIXES, digest
from ..data.scan import Item
from ..data.sizes.buckets import Placed
from ..data.words import printable
from ..errors import JobError
from ..jobs import Dataset, TrainJob
from ..jobs.validation import ValidationItem
from ..runs.atomic import replace_text
from ..settings import load_settings, resolve

_ALIKE = {
    "caption_ext", "trigger_word", "resolution", "buckets", "square_crop", "upscale", "scale", "crop",
    "controls", "default_caption", "num_frames", "auto_frame_count", "trim_auto_frame_count_tail", "shrink_video_to_frames", "fps", "do_i2v",
}  # fmt: skip
"""Settings of the first data set that are those of a folder for validation too: how captions are found, and sizes and frames."""


def with_folder(job: TrainJob) -> TrainJob:
    """The job, with the pictures of its validation, if it names any, as its last data set."""
    wanted = job.validation
    where = wanted.path if wanted.path is not None else _written_down(wanted.items) if wanted.items else None
    if wanted.every is None or where is None:
        return job
    alike = {key: value for key, value in job.datasets[0] if key in _ALIKE}
    folder = Dataset(path=where, control_path=wanted.control_path, **alike)
    return job.model_copy(update={"datasets": [*job.datasets, folder]})


def _written_down(items: Sequence[ValidationItem]) -> str:
    """A map of pictures, as a data set can be, in the cache. Raises JobError for one that is not there, or of a kind that cannot be read."""
    for item in items:
        if not (path := resolve(item.image_path)).is_file() or path.suffix.lower() not in IMAGE_SUFFIXES | VIDEO_SUFFIXES:
            what = "is no picture that can be read" if path.is_file() else "is not there"
            raise JobError(f"validation.items: {printable(path)} {what}.", "Mend its image_path, or take it out.")
    text = json.dumps({str(resolve(item.image_path)): {"caption": item.prompt} for item in items}, ensure_ascii=False)
    file = load_settings().folder("cache") / "validation" / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"
    if not file.is_file():
        replace_text(file, text)
    return str(file)


def hold_back(job: TrainJob, items: list[Item]) -> tuple[list[Item], list[Item]]:
    """What is trained on, and what is held back for validation. Of the second, no picture comes twice.

    The same files are always held back, wherever they lie and whatever they are called. ``items`` may have those of ``with_folder``.
    """
    if job.validation.every is None:
        return items, []
    paths = list(dict.fromkeys(item.path for item in items))
    known = dict(Notes(load_settings().folder("cache")).about("digest", paths, digest))
    if job.validation.path is not None or job.validation.items:
        held = {known[item.path] for item in items if item.dataset == len(job.datasets)}
    else:
        held = set().union(
            *(_chosen(items, known, index, job.validation.share) for index, data in enumerate(job.datasets) if not is_kept_whole(data))
        )
    kept = [item for item in items if known[item.path] not in held]
    for index, dataset in enumerate(job.datasets):
        if not any(item.dataset == index for item in kept):
            raise JobError(
                f"Nothing of datasets[{index}] is left to train on: all of its pictures are held back for validation.",
                f"Add pictures to {dataset.path}, or set validation.path to a folder of other pictures.",
            )
    aside = [item for item in items if known[item.path] in held and not (item.flip or item.flip_y)]
    aside = [item for item in aside if item.dataset == len(job.datasets)] or aside  # with the captions that they have there
    shown = {known[item.path]: item for item in reversed(aside)}
    return kept, list(reversed(shown.values()))


def is_kept_whole(dataset: Dataset) -> bool:
    """Regularisation shows what is known already, so there is nothing to measure on it."""
    return dataset.is_reg or dataset.prior_reg


def _chosen(items: Sequence[Item], known: Mapping[Path, str], index: int, share: float) -> set[str]:
    """Content of the pictures of a data set that are held back: at least one, and not all."""
    own = sorted({known[item.path] for item in items if item.dataset == index}, key=lambda content: number("held back", content))
    if len(own) < 2:
        raise JobError(
            f"datasets[{index}] has one picture, and validation needs one that is not trained on.",
            "Add pictures, or set validation.path to a folder of other pictures.",
        )
    return set(own[: max(1, round(share * len(own)))])


def as_they_are(job: TrainJob) -> TrainJob:
    """The job, with nothing in it that changes pictures or captions, or asks about further prompts."""
    still = {
        "random_crop": False,
        "random_scale": False,
        "augmentations": [],
        "network_weight": 1.0,
        "loss_multiplier": 1.0,
        "num_repeats": 1,
    }
    plain = {"is_reg": False, "prior_reg": False, "weight": None}
    train = {"do_guidance_loss": False, "do_cfg": False, "diff_output_preservation": False, "blank_prompt_preservation": False}
    always = (
        job.adapter.model_copy(update={"control_image_dropout": 0.0})
        if job.adapter and hasattr(job.adapter, "control_image_dropout")
        else job.adapter
    )
    return job.model_copy(
        update={
            "adapter": always,
            "datasets": [dataset.model_copy(update=still | plain) for dataset in job.datasets],
            "train": job.train.model_copy(update=train),
        }
    )


class InOrder:
    """Batches that show everything once, each with what is of one kind."""

    def __init__(self, placed: Sequence[Placed], batch_size: int):
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, one in enumerate(placed):
            groups.setdefault((one.bucket, one.alike), []).append(index)
        self._batches = [some[start : start + batch_size] for some in groups.values() for start in range(0, len(some), batch_size)]

    def __len__(self) -> int:
        return len(self._batches)

    def at(self, step: int) -> list[int]:
        """Indexes of the placements in the batch of that number, counted from 0; after the last comes the first."""
        return self._batches[step % len(self._batches)]


def once(placed: Sequence[Placed]) -> list[Placed]:
    """Each item at one size, the first."""
    return list({one.item: one for one in reversed(placed)}.values())[::-1]

"""Whether a run goes on with the settings and the data that it was saved with; if not, what is different."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.files.notes import Notes
from ..data.files.pictures import PictureError, digest
from ..data.scan import Item
from ..data.words import printable
from ..events import Asked
from ..jobs import TrainJob, VaeJob
from ..jobs.changing import flat
from ..settings import load_settings

SECTIONS = ("model", "vae_path", "from_scratch", "train", "datasets", "validation", "trigger_word", "slider", "pair_slider", "replacements")
"""Parts of a job that decide what the next steps learn, besides those that a state would not fit without."""
_HOW_FAST = {"low_vram", "layer_offloading", "layer_offloading_transformer_percent", "compile", "inference_lora_path"}
"""Of the model, what is learned does not depend on these."""


def data_summary(job: TrainJob, items: Sequence[Item]) -> list[list[Any]]:
    """Of each data set, how many items it has, a digest of what is said of them, and one of the bytes of their files."""
    data = [[item for item in items if item.dataset == index] for index in range(len(job.datasets))]
    return [[len(some), _digest(some), _contents(some)] for some in data]


def pictures_summary(folders: Sequence[Sequence[Path]]) -> list[list[Any]]:
    """The same of data sets whose pictures are learned from as they are: their files."""
    return [[len(paths), _hash("\n".join(path.name for path in paths)), _contents_of(paths)] for paths in folders]


def summary(job: TrainJob | VaeJob, data: list[list[Any]]) -> dict[str, Any]:
    """What is kept with a state: settings by key, and the data."""
    return {"settings": flat(_settings(job)), "data": data}


def difference(step: int, then: Mapping[str, Any], now: Mapping[str, Any], job: TrainJob | VaeJob) -> Asked | None:
    """What is to be asked where a run goes on after ``step``; ``now`` is the summary of its job. More steps are no difference."""
    old, new = then["settings"], now["settings"]
    known = {_section(key) for key in old}  # a state of an older program knows of fewer sections
    given = flat(_settings(job, exclude_defaults=True))  # and of fewer settings: those are as they are when nobody asks for anything
    keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key) and (key in old or key in given)]
    settings = {key: (old.get(key), new.get(key)) for key in keys if key != "train.steps" and _section(key) in known}
    names = [_name(dataset.path) for dataset in job.datasets]
    data = [
        (name, before[0], after[0])
        for name, before, after in zip(names, then["data"], now["data"], strict=False)
        if before != after[: len(before)]
    ]
    about = _hash(json.dumps([step, then, now], sort_keys=True))
    return Asked(step=step, settings=settings, data=data, about=about) if settings or data else None


def _settings(job: TrainJob | VaeJob, exclude_defaults: bool = False) -> dict[str, Any]:
    kept = job.model_dump(mode="json", include=set(SECTIONS), exclude_defaults=exclude_defaults)
    return kept | {"model": {key: value for key, value in kept.get("model", {}).items() if key not in _HOW_FAST}}


def _section(key: str) -> str:
    return key.partition(".")[0].partition("[")[0]


def _name(path: str) -> str:
    return printable(path.rstrip("/\\").replace("\\", "/").rpartition("/")[2])


def _digest(items: Sequence[Item]) -> str:
    """Of what is learned: names, sizes and captions, wherever the folder lies."""
    lines = [
        repr(
            (
                item.path.name,
                item.width,
                item.height,
                item.caption,
                item.flip,
                item.flip_y,
                item.repeats,
                len(item.controls),
                item.mask is not None,
            )
        )
        + (" erased" if item.erased else "")  # so that a state of before there were such pictures still tells the same
        for item in items
    ]
    return _hash("\n".join(lines))


def _contents(items: Sequence[Item]) -> str:
    """Of the files: a picture that was painted over keeps its name and its size. What the program made of pictures follows from them."""
    cache = load_settings().folder("cache")
    mates = (path for item in items for path in (*item.controls, item.mask, item.erased) if path and not path.is_relative_to(cache))
    return _contents_of(list(dict.fromkeys([*(item.path for item in items), *mates])))


def _contents_of(paths: Sequence[Path]) -> str:
    return _hash("\n".join(content for _, content in Notes(load_settings().folder("cache")).about("digest", paths, _of_file)))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _of_file(path: Path) -> str:
    try:
        return digest(path)
    except PictureError:
        return "gone"

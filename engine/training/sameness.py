"""Whether a run goes on with the settings and the data that it was started with; if not, what is different."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..data.scan import Item
from ..data.words import count
from ..events import Warned
from ..jobs import TrainJob
from ..jobs.changing import flat

SECTIONS = ("train", "datasets", "validation", "trigger_word", "slider", "pair_slider", "replacements")
"""Parts of a job that decide what the next steps learn, besides those that a state would not fit without."""


def data_summary(job: TrainJob, items: Sequence[Item]) -> list[list[Any]]:
    """Of each data set, how many items it has and a digest of them."""
    data = [[item for item in items if item.dataset == index] for index in range(len(job.datasets))]
    return [[len(some), _digest(some)] for some in data]


def summary(job: TrainJob, data: list[list[Any]]) -> dict[str, Any]:
    """What is kept with a state: settings by key, and the data."""
    settings = job.model_dump(mode="json", include=set(SECTIONS))
    return {"settings": flat(settings), "data": data}


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Warned]:
    """What to say where a run goes on. More steps are no difference."""
    old, new = then["settings"], now["settings"]
    known = {_section(key) for key in old}  # a state of an older program knows of fewer sections
    keys = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key) and key != "train.steps" and _section(key) in known]
    if keys:
        told = ", ".join(f"{key} was {old.get(key)!r}, is {new.get(key)!r}" for key in keys[:8])
        more = f", and {len(keys) - 8} more" if len(keys) > 8 else ""
        yield Warned(message=f"The run goes on with other settings: {told}{more}.", hint="Set them back if that is not meant.")
    for index, (before, after) in enumerate(zip(then["data"], now["data"], strict=False)):
        if before != after:
            what = (
                f"had {count(before[0], 'picture')}, has {after[0]}" if before[0] != after[0]
                else "has other pictures or captions under the same number"
            )  # fmt: skip
            yield Warned(
                message=f"The data has changed since the run was last saved: datasets[{index}] {what}.",
                hint="The order of the pictures is another one from here on.",
            )


def _section(key: str) -> str:
    return key.partition(".")[0].partition("[")[0]


def _digest(items: Sequence[Item]) -> str:
    """Of what is learned: names, sizes and captions, wherever the folder lies."""
    lines = [
        repr((item.path.name, item.width, item.height, item.caption, item.flip, item.flip_y, item.repeats, len(item.controls), item.mask is not None))
        + (" erased" if item.erased else "")  # so that a state of before there were such pictures still tells the same
        for item in items
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

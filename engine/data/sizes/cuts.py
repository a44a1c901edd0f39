"""Which frames of each video are learned: by the data set's settings, and by what the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...errors import JobError
from ...events import Warned
from ...jobs import Dataset
from ..files.clips import Cut, cut_of, fitted
from ..scan import Item
from ..words import count, listed, name_of


def cut_items(
    datasets: Sequence[Dataset], items: Sequence[Item], title: str, makes_videos: bool, multiple: int, fps: float
) -> tuple[list[Item], list[Warned]]:
    """The items, those of videos with their cut; and what a person should know of it.

    ``multiple`` and ``fps`` are the model's: how many frames it takes, and how many its videos show in a second. JobError where a model
    that makes pictures is to learn from several frames.
    """
    moving = [item for item in items if item.clip and _takes_several(datasets[item.dataset])]
    if moving and not makes_videos:
        raise JobError(
            f"{title} makes pictures, and the data has {count(len(_named(moving)), 'video')}: {listed(_named(moving))}.",
            "Choose a base model that makes videos, or set num_frames to 1 to learn the first frame of each.",
        )
    cut = [replace(item, cut=_cut(datasets[item.dataset], item, multiple, fps)) if item.clip else item for item in items]
    return cut, [note for index, dataset in enumerate(datasets) for note in _notes(index, dataset, cut, title, multiple)]


def _takes_several(dataset: Dataset) -> bool:
    return dataset.auto_frame_count or (dataset.num_frames or 1) > 1


def _cut(dataset: Dataset, item: Item, multiple: int, fps: float) -> Cut:
    assert item.clip
    return cut_of(
        item.clip, dataset.num_frames, dataset.fps or fps, multiple,
        dataset.shrink_video_to_frames or not _takes_several(dataset), dataset.auto_frame_count, dataset.trim_auto_frame_count_tail,
    )  # fmt: skip


def _notes(index: int, dataset: Dataset, items: Sequence[Item], title: str, multiple: int) -> list[Warned]:
    own = [item for item in items if item.dataset == index and item.clip]
    notes = []
    if idle := _idle(dataset, bool(own)):
        notes.append(Warned(message=f"datasets[{index}]: {' and '.join(idle)} {'has' if len(idle) == 1 else 'have'} no effect here."))
    if not own or not _takes_several(dataset):
        return notes
    wanted = fitted(dataset.num_frames or 1, multiple)
    if dataset.num_frames and wanted != dataset.num_frames:
        notes.append(
            Warned(
                message=f"datasets[{index}].num_frames is {dataset.num_frames}; {title} takes {wanted}: a multiple of {multiple}, and one."
            )
        )
    short = {name_of(item.path): item.frames for item in own if item.frames < wanted and not dataset.auto_frame_count}
    if short:
        told = listed([f"{name} ({count(frames, 'frame')})" for name, frames in short.items()])
        notes.append(
            Warned(
                message=f"{count(len(short), 'video is', 'videos are')} shorter than {wanted} frames, and learned at the most that {title} takes of them: {told}.",
                hint="Lower num_frames to learn all at one length.",
            )
        )
    elif still := [item for item in own if item.frames == 1]:
        notes.append(
            Warned(message=f"{count(len(_named(still)), 'video')} so short that only one frame is learned: {listed(_named(still))}.")
        )
    return notes


def _idle(dataset: Dataset, has_videos: bool) -> list[str]:
    """Keys that were set and change nothing."""
    if not has_videos:
        return [key for key in dataset.differs("num_frames", "fps", "auto_frame_count") if getattr(dataset, key)]
    told = {
        "fps": dataset.shrink_video_to_frames and not dataset.auto_frame_count,
        "shrink_video_to_frames": dataset.auto_frame_count,
        "trim_auto_frame_count_tail": not dataset.auto_frame_count,
    }
    return [key for key in dataset.differs(*told) if told[key]]


def _named(items: Sequence[Item]) -> list[str]:
    return list(dict.fromkeys(name_of(item.path) for item in items))

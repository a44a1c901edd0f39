"""Videos as data: how long each is, and which of its frames are learned. Knows nothing of files' formats, or of torch.

A cut follows from the file and the data set's settings alone, so that what is once encoded is found again. Where frames are taken at
``fps`` from a place within a longer video, that place follows from the video's size and length: by chance, and each time the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..chance import number
from .moving import opened_video
from .pictures import PictureError, decode

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".wmv", ".flv"})
MOVING_SUFFIXES = frozenset({".gif", ".webp"})
"""Pictures that may move: videos where videos are asked for."""
MOST_FRAMES = 241
"""That are taken of a video whose length decides: 15 s at 16 frames a second."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A video, as a person sees it."""

    width: int
    height: int
    frames: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Cut:
    """Which frames of a video are shown."""

    frames: int
    fps: float | None = None
    """None: they are spread evenly over all of it, the first and the last among them."""
    from_start: bool = False
    """From its beginning, and not from a place within it."""

    def __str__(self) -> str:
        rate = "spread" if self.fps is None else f"at {self.fps:g}{' from the start' if self.from_start else ''}"
        return f"{self.frames} frames {rate}"


def probe(path: Path) -> Clip:
    """Size, frames and length. Reads the header and the first frame, and the rest only where the header does not say how many there are.

    Raises PictureError.
    """
    with opened_video(path) as video:
        width, height = video.size()
        frames, seconds = video.length()
    return Clip(width, height, frames, seconds)


def is_moving(path: Path) -> bool:
    """Whether a GIF or WebP has more than one frame. One that cannot be read does not: it is a broken picture, and is told as one."""
    if path.suffix.lower() not in MOVING_SUFFIXES:
        return False
    try:
        with opened_video(path) as video:
            return video.length()[0] > 1
    except PictureError:
        return False


def fitted(frames: int, multiple: int) -> int:
    """The most frames up to ``frames`` that are a multiple of ``multiple``, and one."""
    return max(0, frames - 1) // multiple * multiple + 1


def cut_of(
    clip: Clip, wanted: int | None, fps: float, multiple: int = 1, spread: bool = True, auto: bool = False, trim_tail: bool = True
) -> Cut:
    """The frames that are learned of a clip: ``wanted``, or as many as it has, in a number that the model takes.

    With ``auto`` as many as it has at ``fps``, up to ``wanted``: from its beginning, or spread over all of it without ``trim_tail``.
    """
    at_rate = max(1, math.ceil(clip.seconds * fps - 0.01))  # the last one begins before the end
    if auto:
        frames = fitted(min(wanted or MOST_FRAMES, at_rate), multiple)
        return Cut(frames, fps, True) if trim_tail else Cut(frames)
    if spread:
        return Cut(fitted(min(wanted or 1, clip.frames), multiple))
    return Cut(fitted(min(wanted or 1, at_rate), multiple), fps)


def moments(times: Sequence[float], cut: Cut, *key: int | str) -> list[float]:
    """When each frame of the cut is shown, of a video whose frames begin at ``times``, in seconds; ``key`` is what the place follows from."""
    first, last = times[0], times[-1]
    if cut.fps is None:
        return [first + (last - first) * index / max(1, cut.frames - 1) for index in range(cut.frames)]
    room = max(0.0, last - first - (cut.frames - 1) / cut.fps)
    start = first if cut.from_start else first + room * (number("cut", *key) >> 11) / 2**53
    return [start + index / cut.fps for index in range(cut.frames)]


def read_frames(path: Path, cut: Cut, background: str = "white") -> Iterator[Image.Image]:
    """The frames of the cut, upright, in RGB, one after the other: of a large video only few are held at a time.

    Raises PictureError, also where the file ends before it should.
    """
    with opened_video(path) as video:
        times, finest = video.times()
        step = (times[-1] - times[0]) / max(1, len(times) - 1)
        slack = min(finest, step / 10)  # times are rounded in the file
        due = moments(times, cut, path.stat().st_size, len(times))
        shown, end, given = None, times[-1], 0
        for time, frame in video.frames():
            while shown is not None and given < len(due) and due[given] + slack < time:
                yield shown.picture(background)
                given += 1
            if given == len(due):
                return
            shown, end = frame, time
        if shown is None or end + 2 * step + slack < due[-1]:
            raise PictureError(path, f"it ends after {end - times[0]:.1f} seconds")
        picture = shown.picture(background)
        for _ in due[given:]:
            yield picture


def read_first(path: Path, cut: Cut, background: str = "white") -> Image.Image:
    """The first frame of the cut."""
    return next(read_frames(path, cut, background))


def still_of(path: Path, cut: Cut | None) -> Image.Image:
    """A picture; of a video the first frame of its cut."""
    is_video = path.suffix.lower() in VIDEO_SUFFIXES | (MOVING_SUFFIXES if cut else frozenset())
    return read_first(path, cut or Cut(1)) if is_video else decode(path)

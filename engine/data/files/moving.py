"""Video files and moving pictures, opened: their size, their length, when their frames are shown, and the frames themselves.

Videos are read by PyAV (tried with 16 to 19), GIF and WebP by Pillow. Every fault of a file becomes a PictureError that names it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from ...errors import JobError
from .pictures import PictureError, opened, over, plain, reason_of

FORMATS = "mov,matroska,webm,avi,asf,flv,mpeg,mpegts"
"""Of FFmpeg's. A playlist is none of them: it could ask for other files, or for addresses."""
STILL_MS = 10
"""A frame of a GIF that is shown for no longer than this is shown for ten times as long, as browsers do it."""


class Frame(Protocol):
    def picture(self, background: str = "white") -> Image.Image:
        """It, upright, in RGB, with square pixels; what is transparent over the colour ``background``."""


class Video(Protocol):
    def size(self) -> tuple[int, int]:
        """Width and height as a person sees it."""

    def length(self) -> tuple[int, float]:
        """How many frames there are, and for how many seconds it plays."""

    def times(self) -> tuple[list[float], float]:
        """When each frame is shown, in seconds and in order; and the finest difference that these times can tell."""

    def frames(self) -> Iterator[tuple[float, Frame]]:
        """All frames from the first, each with its time."""


@contextmanager
def opened_video(path: Path) -> Iterator[Video]:
    """The file, opened for one reading; whatever goes wrong inside is a PictureError."""
    if path.suffix.lower() in (".gif", ".webp"):
        with opened(path) as image:
            yield _Moving(image)
        return
    try:
        import av
    except ImportError as error:
        raise JobError("Videos are read with PyAV, which is not installed.", "Install it: pip install av.") from error
    # titles and the like that are no UTF-8: newer ones do not mind by themselves
    older: dict[str, Any] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
    limits = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    file = None
    try:
        with closing(_File(path, lambda: av.open(path, options=limits, **older))) as file:
            yield file
    except JobError:
        raise
    except Exception as error:  # damaged bytes raise nearly anything
        reason = reason_of(path, error)
        locked = isinstance(error, PermissionError) and not os.access(path, os.R_OK)  # FFmpeg says so of other things too
        if isinstance(error, av.error.FFmpegError) and (reason.startswith("it is damaged") or isinstance(error, PermissionError) != locked):
            reason = f"it is damaged ({error.strerror})" if file else "it is not a video, or a badly damaged one"
        raise PictureError(path, reason) from error


@dataclass(frozen=True)
class _Decoded:
    frame: Any
    shape: Fraction
    """Width of a pixel by its height."""

    def picture(self, background: str = "white") -> Image.Image:
        if any(component.is_alpha for component in self.frame.format.components):
            picture = over(background, Image.fromarray(self.frame.to_ndarray(format="rgba")))
        else:
            picture = Image.fromarray(self.frame.to_ndarray(format="rgb24"))
        if self.shape != 1:
            picture = picture.resize(_square(picture.size, self.shape), Image.Resampling.LANCZOS)
        turn = round(self.frame.rotation / 90) % 4  # counterclockwise, as Pillow turns
        return picture.transpose(_TURNS[turn]) if turn else picture


_TURNS = {1: Image.Transpose.ROTATE_90, 2: Image.Transpose.ROTATE_180, 3: Image.Transpose.ROTATE_270}


class _File:
    """A video file with PyAV. Each reading opens it anew: not every file can be wound back."""

    def __init__(self, path: Path, start: Callable[[], Any]):
        self._path, self._start = path, start
        self._times: list[float] = []
        self._is_new = False
        self._open()

    def _open(self) -> None:
        self._container = self._start()
        streams = [stream for stream in self._container.streams.video if not int(stream.disposition) & _COVER]
        if not streams:
            self.close()
            raise PictureError(self._path, "there is no video in it")
        self._stream = streams[0]
        self._stream.thread_type = "AUTO"
        self._is_new = True

    def _begin(self) -> None:
        if not self._is_new:
            self.close()
            self._open()
        self._is_new = False

    def close(self) -> None:
        self._container.close()

    def size(self) -> tuple[int, int]:
        frame = next(self._decoded(), None)
        if frame is None:
            raise PictureError(self._path, "there is not one frame in it")
        width, height = _square((frame.width, frame.height), self._shape())
        return (height, width) if round(frame.rotation / 90) % 2 else (width, height)

    def length(self) -> tuple[int, float]:
        stream = self._stream
        entries = stream.index_entries
        if stream.frames and len(entries) == stream.frames:
            # those that were cut off are still in the file
            frames = sum(not entry.flags & _DISCARDED for entry in entries)
        else:
            frames = stream.frames
        rate = stream.average_rate or stream.guessed_rate
        if frames and stream.duration and frames == stream.frames:
            return frames, float(stream.duration * stream.time_base)
        if frames and rate:
            return frames, float(frames / rate)
        times, _ = self.times()
        step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else float(1 / rate) if rate else 0.04
        return len(times), times[-1] - times[0] + step

    def times(self) -> tuple[list[float], float]:
        self._begin()
        stream, times = self._stream, []
        for packet in self._container.demux(stream):
            if packet.size and not packet.is_discard:
                times.append(packet.dts if packet.pts is None else packet.pts)
        if not times or any(time is None for time in times):
            raise PictureError(self._path, "it does not say when its frames are shown; save it as MP4")
        self._times = sorted(float(time * stream.time_base) for time in times)
        self._check_end()
        return self._times, float(stream.time_base)

    def _check_end(self) -> None:
        """Raises PictureError where much less is there than the header says."""
        end, said = self._times[-1] - self._times[0], self._container.duration
        expected = self._stream.frames - sum(bool(entry.flags & _DISCARDED) for entry in self._stream.index_entries)
        if len(self._times) < 0.95 * expected or (not self._stream.frames and said and end < said / 1e6 / 2):
            raise PictureError(self._path, f"it is cut short: there are {end:.1f} seconds of it")

    def frames(self) -> Iterator[tuple[float, Frame]]:
        base = self._stream.time_base
        for index, frame in enumerate(self._decoded()):
            known = self._times[min(index, len(self._times) - 1)] if self._times else 0.0
            yield known if frame.pts is None else float(frame.pts * base), _Decoded(frame, self._shape())

    def _decoded(self) -> Iterator[Any]:
        self._begin()
        yield from self._container.decode(self._stream)

    def _shape(self) -> Fraction:
        return Fraction(self._stream.codec_context.sample_aspect_ratio or 1) or Fraction(1)


_COVER = 0x400
"""FFmpeg's AV_DISPOSITION_ATTACHED_PIC."""
_DISCARDED = 0x2
"""FFmpeg's AVINDEX_DISCARD_FRAME."""


@dataclass(frozen=True)
class _Drawn:
    image: Image.Image

    def picture(self, background: str = "white") -> Image.Image:
        return over(background, self.image)


class _Moving:
    """A GIF or a WebP with Pillow."""

    def __init__(self, image: Image.Image):
        self._image = image

    def size(self) -> tuple[int, int]:
        return self._image.size

    def length(self) -> tuple[int, float]:
        count = getattr(self._image, "n_frames", 1)
        return count, sum(self._durations())

    def times(self) -> tuple[list[float], float]:
        times, now = [], 0.0
        for duration in self._durations():
            times.append(now)
            now += duration
        return times, 0.001

    def frames(self) -> Iterator[tuple[float, Frame]]:
        now = 0.0
        for index in range(getattr(self._image, "n_frames", 1)):
            self._image.seek(index)
            self._image.load()
            duration = self._duration()
            yield now, _Drawn(plain(self._image).copy())
            now += duration

    def _durations(self) -> list[float]:
        durations = []
        for index in range(getattr(self._image, "n_frames", 1)):
            self._image.seek(index)
            self._image.load()
            durations.append(self._duration())
        return durations

    def _duration(self) -> float:
        shown = self._image.info.get("duration", 0)
        return (shown if shown > STILL_MS else 10 * STILL_MS) / 1000


def _square(size: tuple[int, int], shape: Fraction) -> tuple[int, int]:
    """The size with square pixels: the longer way, so that nothing is lost."""
    width, height = size
    return (round(width * shape), height) if shape >= 1 else (width, round(height / shape))

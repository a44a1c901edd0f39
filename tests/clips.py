"""Small videos for tests: each frame of one colour, by which it is known again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

CODECS = {
    ".mp4": "mpeg4",
    ".mov": "mpeg4",
    ".m4v": "mpeg4",
    ".mkv": "mpeg4",
    ".avi": "mpeg4",
    ".webm": "libvpx-vp9",
    ".wmv": "wmv2",
    ".flv": "flv",
}
STEP = 12


def colour(index: int) -> tuple[int, int, int]:
    """Of frame ``index``: grey, lighter from frame to frame. 20 frames are told apart after any compression."""
    return (index * STEP + 10,) * 3


def film(path: Path, frames: int = 10, size: tuple[int, int] = (64, 48), fps: int = 24, caption: str | None = None, **more: Any) -> Path:
    """A video of so many frames; ``more``: codec, times (of each frame, in milliseconds), rotation, shape (of a pixel), options."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".gif", ".webp"):
        first, *rest = [Image.new("RGB", size, colour(index)) for index in range(frames)]
        lossless = {"lossless": True} if path.suffix == ".webp" else {}
        first.save(path, save_all=True, append_images=rest, duration=more.get("duration", round(1000 / fps)), loop=0, **lossless)
    else:
        _encode(path, [np.full((size[1], size[0], 3), colour(index), np.uint8) for index in range(frames)], fps, **more)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def _encode(
    path: Path, pictures: Sequence[np.ndarray], fps: int, codec: str = "", times: Sequence[int] | None = None, rotation: int = 0,
    shape: str = "", options: dict[str, str] | None = None, muxing: dict[str, str] | None = None,
) -> None:  # fmt: skip
    from fractions import Fraction

    import av

    with av.open(path, "w", options=muxing or {}) as container:
        stream = container.add_stream(codec or CODECS[path.suffix], rate=fps, options=options or {})
        stream.height, stream.width, _ = pictures[0].shape
        stream.pix_fmt = "yuv420p"
        if shape:
            stream.codec_context.sample_aspect_ratio = Fraction(shape)
        if times:
            stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def sound(path: Path) -> Path:
    """A file with sound alone."""
    import av

    with av.open(path, "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate, frame.pts = 16000, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def indexes(pictures: Sequence[Image.Image]) -> list[int]:
    """Which frames these are."""
    return [round((np.asarray(picture).mean() - 10) / STEP) for picture in pictures]

"""Which part of a picture is shown: a box of its bucket's shape, by what is to stay in it, or by chance. Pure.

y points down, as everywhere in Pillow.
"""

from __future__ import annotations

from typing import NamedTuple

from ..chance import number

Bucket = tuple[int, int]
"""Width and height in pixels."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels of the upright picture."""
Focus = tuple[float, float, float, float]
"""The same as shares of the picture's sides, 0 to 1: what is to stay in the middle. One without an extent is a point."""

CENTRE: Focus = (0.5, 0.5, 0.5, 0.5)
TOP: Focus = (0.5, 0.0, 0.5, 0.0)
"""Keeps heads: what is cut off is at the bottom, or on both sides."""


class Draw(NamedTuple):
    """What chance says of one showing."""

    place: tuple[float, float] | None = None
    """Where the box lies in the room that it has, across and down, each from 0 to 1. None: about the focus."""
    zoom: float = 1.0
    """How much smaller than the largest possible box it is."""


def crop_box(width: float, height: float, bucket: Bucket, focus: Focus = CENTRE, draw: Draw | None = None) -> Box:
    """The box of the bucket's shape in a picture of ``width`` x ``height``: the largest, or what ``draw`` says.

    About the middle it is the one that Pillow's ImageOps.fit takes. It follows from shapes alone: of a mask or a reference picture it
    shows the same part, for the same focus and draw.
    """
    wide, high = _largest(width, height, bucket)
    place, zoom = draw or Draw()
    wide, high = wide / zoom, high / zoom
    left = _start(width, wide, focus[0], focus[2], place and place[0])
    if place is None and (focus[3] - focus[1]) * height > high:
        top = min(focus[1] * height, height - high)  # too tall to be shown whole: heads are at the top
    else:
        top = _start(height, high, focus[1], focus[3], place and place[1])
    return left, top, min(left + wide, width), min(top + high, height)


def draw_crop(width: int, height: int, bucket: Bucket, focus: Focus, random_crop: bool, random_scale: bool, *key: int | str) -> Draw | None:
    """What chance says of a picture of ``width`` x ``height``, by what it is drawn for (``key``); None if nothing is left to it.

    The zoom ends where a pixel of the picture is a pixel of the bucket; a subject that can be shown whole is shown whole.
    """
    if not random_crop and not random_scale:
        return None
    zoom = 1.0
    if random_scale:
        wide, high = _largest(width, height, bucket)
        seen = ((focus[2] - focus[0]) * width, (focus[3] - focus[1]) * height)
        limits = [wide / bucket[0], *(shown / side for shown, side in zip((wide, high), seen, strict=True) if side > 0)]
        zoom += _share("zoom", *key) * (max(1.0, min(limits)) - 1)
    return Draw((_share("across", *key), _share("down", *key)) if random_crop else None, zoom)


def _largest(width: float, height: float, bucket: Bucket) -> tuple[float, float]:
    """Sides of the largest box of the bucket's shape."""
    shape = bucket[0] / bucket[1]
    if width / height >= shape:
        return min(shape * height, width), height
    return width, min(width / shape, height)


def _start(length: float, shown: float, low: float, high: float, share: float | None) -> float:
    """Where on a side of ``length`` the ``shown`` part begins, with the focus from ``low`` to ``high``, in shares of the side."""
    room = length - shown
    if share is None:
        return min(max((low + high) / 2 * length - shown / 2, 0.0), room)
    first, last = 0.0, room
    if 0 < (high - low) * length <= shown:  # a subject that fits stays inside
        first, last = min(max(first, high * length - shown), room), min(last, low * length)
    return min(max(first + share * (last - first), 0.0), room)


def _share(*key: int | str) -> float:
    """A number from 0 to just under 1 that follows from ``key``."""
    return (number("crop", *key) >> 11) / 2**53

"""A picture or a video as numbers, at the size of its bucket. F frames, H height, W width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ...jobs.data import Augmentation
from ..files.clips import Cut, read_first, read_frames
from ..files.pictures import decode, decode_mask
from ..scan import Item
from .augment import augmented
from .buckets import Bucket
from .crops import CENTRE, Draw, crop_box

RAMP = Image.Resampling.BILINEAR
"""For masks: an edge stays between black and white."""
GAP = 1.5
"""A JPEG that is to become much smaller is decoded at a half or less, in a fraction of the time; to at least so many times the size that is wanted,
where it differs from the whole one made smaller by less than one filter does from another."""
VERSION = 2
"""Raised when the same file gives other pixels than before, so that no latents of the old ones are used."""


def load_pixels(
    item: Item, bucket: Bucket, draw: Draw | None = None, steps: Sequence[Augmentation] = (), drawn_for: Sequence[int | str] = ()
) -> Tensor:
    """The part of the picture that is shown, as large as the bucket: float32 3HW in [-1, 1]; of several frames 3FHW.

    ``draw`` moves the part, and ``steps`` change it by what is drawn for ``drawn_for``: in all frames alike.
    """
    frames = [np.array(augmented(_fitted(frame, item, bucket, draw), steps, *drawn_for)) for frame in _frames_of(item, bucket, draw)]
    values = torch.from_numpy(np.stack(frames)).permute(3, 0, 1, 2).contiguous()
    return (values if item.frames > 1 and not item.shown_for else values[:, 0]).float().div_(127.5).sub_(1)


def _frames_of(item: Item, bucket: Bucket, draw: Draw | None) -> Iterable[Image.Image]:
    """Its frames, one after the other; of a picture, or of a video that is a reference, one."""
    if item.clip is None:
        scale = GAP * (draw.zoom if draw else 1)
        return [decode(item.path, (math.ceil(bucket[0] * scale), math.ceil(bucket[1] * scale)), item.background)]
    cut = item.cut or Cut(1)
    return [read_first(item.path, cut, item.background)] if item.shown_for else read_frames(item.path, cut, item.background)


def load_mask(item: Item, bucket: Bucket, draw: Draw | None = None) -> Tensor:
    """The same part of its mask: uint8 1HW, 255 where all is learned."""
    if item.mask is None:
        return torch.full((1, bucket[1], bucket[0]), 255, dtype=torch.uint8)
    return torch.from_numpy(np.array(_fitted(decode_mask(item.mask, item.mask == item.path), item, bucket, draw, RAMP)))[None]


def shown_as(item: Item) -> str:
    """All that the pixels of an item follow from besides its file and its bucket; empty where nothing is out of the ordinary."""
    told = {
        " mirrored": item.flip,
        " upside down": item.flip_y,
        f" on {item.background}": item.background != "white",
        f" around {item.focus}": item.focus != CENTRE,
        f" {item.cut}": item.cut is not None,
        f" before {item.shown_for} frames": item.shown_for > 1,
    }
    return "".join(words for words, so in told.items() if so)


def _fitted(
    picture: Image.Image, item: Item, bucket: Bucket, draw: Draw | None, how: Image.Resampling = Image.Resampling.LANCZOS
) -> Image.Image:
    picture = picture.resize(bucket, how, box=crop_box(*picture.size, bucket, item.focus, draw))
    picture = ImageOps.mirror(picture) if item.flip else picture
    return ImageOps.flip(picture) if item.flip_y else picture

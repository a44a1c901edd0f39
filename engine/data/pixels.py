"""A picture as numbers, at the size of its bucket. H height, W width."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from .buckets import Bucket
from .pictures import decode
from .scan import Item

VERSION = 1
"""Raised when the same file gives other pixels than before, so that no latents of the old ones are used."""


def load_pixels(item: Item, bucket: Bucket) -> Tensor:
    """The middle of the picture, as large as covers the bucket: float32 3HW in [-1, 1], mirrored if the item says so."""
    picture = ImageOps.fit(decode(item.path), bucket, Image.Resampling.LANCZOS)
    if item.flip:
        picture = ImageOps.mirror(picture)
    values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
    return values.float() / 127.5 - 1

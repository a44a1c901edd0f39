"""From a folder of pictures to the order of batches: scan → captions → buckets → pixels → cache → batches.

What is named here needs no torch. Pixels and the caches, which do, are in ``sizes.pixels`` and ``caches.cache``.
"""

from .batches import Batches
from .captions.text import apply_trigger, dropped, read_caption
from .files.listing import find_pictures
from .files.pictures import IMAGE_SUFFIXES, PictureError
from .scan import Item, scan
from .sizes.buckets import Bucket, Placed, bucket_of, place

__all__ = [
    "IMAGE_SUFFIXES", "Batches", "Bucket", "Item", "PictureError", "Placed", "apply_trigger", "bucket_of",
    "dropped", "find_pictures", "place", "read_caption", "scan",
]  # fmt: skip

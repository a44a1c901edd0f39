"""Small copies of pictures, and of the first frames of videos, kept outside the data sets. The app serves these, never the pictures themselves."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from PIL import Image

from engine.data.files.clips import VIDEO_SUFFIXES, Cut, read_first
from engine.data.files.pictures import decode
from engine.runs.atomic import replace_file

SMALL, LARGE = 320, 1280


def thumbnail(picture: Path, cache: Path, side: int = SMALL) -> Path:
    """The picture with at most ``side`` pixels a side, upright, as a JPEG; made once. JobError if it cannot be read."""
    facts = picture.stat()
    # a name on a disk need not be text
    key = hashlib.sha256(os.fsencode(picture) + f"|{facts.st_mtime_ns}|{facts.st_size}|{side}".encode()).hexdigest()[:32]
    path = cache / f"{key}.jpg"
    if not path.is_file():
        small = read_first(picture, Cut(1)) if picture.suffix.lower() in VIDEO_SUFFIXES else decode(picture, side)
        small.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
        cache.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda new: small.save(new, "JPEG", quality=85))
    return path

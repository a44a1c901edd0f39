"""Chance as arithmetic: a number follows from what it is drawn for, so nothing has to be saved to go on with it."""

from __future__ import annotations

import hashlib


def number(*parts: int | str) -> int:
    """64 bits that look random and follow from ``parts`` alone, on every machine and in every version."""
    text = " ".join(map(str, parts))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")

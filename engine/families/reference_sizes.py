"""How large models are shown reference pictures that keep a size of their own, in pixels. A test compares it with the classes; no torch here."""

from __future__ import annotations

import math
from typing import Protocol

MILLION = 1024 * 1024


class ReferenceSize(Protocol):
    def __call__(self, width: int, height: int, beside: tuple[int, int], multiple: int, match: bool) -> tuple[int, int]:
        """Width and height at which a picture of that size is shown beside one of ``beside``; ``match``: match_target_res of model.model_kwargs."""
        ...


def up_to_a_million(width: int, height: int, beside: tuple[int, int], multiple: int, match: bool) -> tuple[int, int]:
    """Its own, larger ones made smaller; with ``match`` as many pixels as ``beside``."""
    scale = math.sqrt((math.prod(beside) if match else min(width * height, MILLION)) / (width * height))
    return max(int(width * scale) // multiple, 1) * multiple, max(int(height * scale) // multiple, 1) * multiple


def a_million(width: int, height: int, beside: tuple[int, int], multiple: int, match: bool) -> tuple[int, int]:
    """A million pixels, or as many as ``beside``, in its own shape; sides are multiples of 32 whatever the model's are."""
    ratio = width / height
    wide = math.sqrt((math.prod(beside) if match else MILLION) * ratio)
    return round(wide / 32) * 32, round(wide / ratio / 32) * 32

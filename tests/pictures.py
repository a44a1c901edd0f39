"""Small pictures for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image


def draw(
    path: Path,
    size: tuple[int, int] = (48, 32),
    colour: Any = "red",
    mode: str = "RGB",
    caption: str | None = None,
    **options: Any,
) -> Path:
    """A picture of one colour, with its caption beside it; ``options`` are Pillow's for the file. Folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path

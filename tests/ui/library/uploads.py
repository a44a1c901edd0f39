"""Files as people bring them, and what has become of them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

from PIL import Image

from ui.library import Library


def png(colour: str = "red", size: tuple[int, int] = (24, 16)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def everything(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def contents(library: Library, name: str) -> dict[str, str]:
    """Picture → caption."""
    return {path.name: library.caption(path) for path in library.pictures(name)}

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.settings import load_settings


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """All that can be seen of a folder's files: kind, bytes, time of the last change, where links lead."""
    seen: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        data = path.read_bytes() if path.is_file() and not path.is_symlink() and facts.st_mode & 0o400 else b""
        link = str(path.readlink()) if path.is_symlink() else ""
        # a folder's own time changes when something in it was moved away and back
        seen[path.relative_to(folder).as_posix()] = (
            facts.st_mode, hashlib.sha256(data).hexdigest(), facts.st_mtime_ns if not path.is_dir() else 0, link,
        )  # fmt: skip
    return seen


def photo(path: Path, size: tuple[int, int] = (160, 120), seed: int = 0, caption: str | None = "a photo", **options: object) -> Path:
    """A picture with the roughness of a real one, different for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    waves = np.hypot(np.fft.fftfreq(size[1])[:, None], np.fft.rfftfreq(size[0])[None])
    waves[0, 0] = 1
    sheet = np.fft.irfft2((rng.standard_normal(waves.shape) + 1j * rng.standard_normal(waves.shape)) / waves, (size[1], size[0]))
    Image.fromarray((128 + 45 * sheet / sheet.std()).clip(0, 255).astype(np.uint8)).convert("RGB").save(path, **options)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


@pytest.fixture
def own(home: Path) -> Callable[[str], Path]:
    """Makes a data set of the app."""

    def make(name: str) -> Path:
        folder = load_settings().folder("datasets") / name
        folder.mkdir()
        return folder

    return make

"""Where things are on this computer. One small file, settings.yaml, beside the app."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import Field

from .jobs.base import Strict

ROOT = Path(__file__).resolve().parent.parent
"""The folder of the program: assets and presets are here."""


def home() -> Path:
    """The folder that holds what the person makes: the program's own, or DARKROOM_HOME."""
    return Path(os.environ.get("DARKROOM_HOME", ROOT)).resolve()


class Settings(Strict):
    """Relative folders are inside ``home()``."""

    output: Path = Path("output")
    """Runs are saved here."""
    datasets: Path = Path("datasets")
    """Data sets made in the app are kept here."""
    cache: Path = Path("cache")
    """Latents and text embeddings are kept here; it can be deleted at any time."""
    cache_limit_gb: Annotated[float | None, Field(ge=0)] = 50.0
    """Room that the caches may take. Beyond it, what was used longest ago is deleted before a training. null: no limit."""
    models: Path | None = None
    """Folder with base models, looked into before the hub is asked."""

    def folder(self, name: str) -> Path:
        """The named folder, absolute, made if it is missing."""
        path = home() / getattr(self, name)
        path.mkdir(parents=True, exist_ok=True)
        return path


def load_settings() -> Settings:
    path = home() / "settings.yaml"
    return Settings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else Settings()


def save_settings(settings: Settings) -> None:
    data = settings.model_dump(mode="json", exclude_defaults=True)
    (home() / "settings.yaml").write_text(yaml.safe_dump(data, sort_keys=False), encoding="utf-8")


def resolve(path: str | Path) -> Path:
    """A path of a job: as it stands where it exists, else inside ``home()`` or the program's folder, else as it stands."""
    given = Path(path).expanduser()
    candidates = [given] if given.is_absolute() else [given, home() / given, ROOT / given]
    return next((c.resolve() for c in candidates if c.exists()), given)


def portable(path: Path) -> str:
    """An absolute path as jobs name it: what is inside ``home()`` relative to that, so that both can be moved together."""
    return path.relative_to(home()).as_posix() if path.is_relative_to(home()) else str(path)

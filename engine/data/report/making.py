"""All questions, asked of one data set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ...errors import JobError
from ...families.catalog import base_of, defaults_of, multiple_of
from ...jobs import Dataset, ModelSection
from ...settings import load_settings, resolve
from ..files.listing import Listing, list_files
from ..files.notes import Notes
from ..mates.controls import without_mates
from ..words import printable
from .album import Texts, look_through, read_through
from .captions import about_captions
from .counts import Counts, count_all
from .files import about_files, about_kinds
from .finding import Finding
from .lengths import Ruler, ruler_of
from .likeness import about_likeness
from .looks import about_looks
from .mates import about_mates
from .sizes import about_sizes

MULTIPLE = 16
"""Sides of most models' pictures are multiples of this."""


@dataclass(frozen=True)
class Report:
    """What was found in a folder."""

    folder: Path
    findings: list[Finding]
    counts: Counts

    @property
    def problems(self) -> list[Finding]:
        """What training would stop at, or leave out."""
        return [finding for finding in self.findings if finding.level == "problem"]

    def data(self) -> dict[str, Any]:
        """As plain data, for JSON."""
        return {
            "folder": printable(self.folder),
            "findings": [
                {
                    "level": one.level, "kind": one.kind, "message": one.message, "fix": one.fix,
                    "files": [printable(path.relative_to(self.folder) if path.is_relative_to(self.folder) else path) for path in one.files],
                }
                for one in self.findings
            ],
            "counts": asdict(self.counts),
        }  # fmt: skip


def report(
    dataset: Dataset,
    trigger: str | None = None,
    model: ModelSection | None = None,
    *,
    decode: bool = True,
    likeness: bool = True,
    multiple: int | None = None,
) -> Report:
    """Everything that can be told about a data set. Each picture is decoded once, and again only when it changes.

    ``model`` tells the size that is trained at and how long captions may be. Without ``decode``, only the heads of files are
    read, and without ``likeness`` pictures are not compared. Raises JobError for a folder that is not there or is locked, never
    for what is in it.
    """  # fmt: skip
    folder = resolve(dataset.path)
    if folder.is_file():
        raise JobError(f"{printable(folder)} is a file.", "A report is made of a folder with pictures.")
    listing = list_files(folder)
    _leave_out_mates(listing, folder, dataset)
    notes = Notes(load_settings().folder("cache"))
    album = look_through(listing, notes, decode)
    multiple = multiple or (multiple_of(model.name_or_path, model.arch) if model else MULTIPLE)
    resolutions = _resolutions(dataset, model)
    ruler = ruler_of(model.name_or_path, model.arch) if model else Ruler()
    paths = [*album.paths, *(path for path, _ in listing.videos)]
    texts = read_through(paths, folder, dataset, trigger, ruler) if paths else Texts()
    found = [*about_files(listing, album)]
    if paths:
        found += about_sizes(album, resolutions, multiple, dataset.upscale, dataset.scale)
        found += about_captions(texts, dataset.default_caption, trigger, ruler)
        found += about_likeness(album, notes) if likeness and decode else []
        found += about_looks(album) if decode else []
        found += about_kinds(listing, album, stills=(getattr(dataset, "num_frames", 1) or 1) == 1)
        found += about_mates(paths, folder, dataset)
    return Report(folder, found, count_all(album, texts, dataset, resolutions, multiple))


def findings(
    folder: Path, caption_ext: str = ".txt", resolution: int | None = None, multiple: int = MULTIPLE, **more: Any
) -> list[Finding]:
    """The findings of a plain folder. ``more`` is for the data set: default_caption, mask_path …"""
    trigger = more.pop("trigger_word", None)
    dataset = Dataset(path=str(folder), caption_ext=caption_ext, resolution=resolution, **more)
    return report(dataset, trigger, multiple=multiple).findings


def _leave_out_mates(listing: Listing, folder: Path, dataset: Dataset) -> None:
    """What lies in folders in the data set that hold its masks or reference pictures is not learned, and not asked about."""
    listing.pictures = without_mates(listing.pictures, folder, dataset)
    listing.videos = without_mates(listing.videos, folder, dataset)


def _resolutions(dataset: Dataset, model: ModelSection | None) -> Sequence[int]:
    if dataset.resolution:
        return [dataset.resolution] if isinstance(dataset.resolution, int) else dataset.resolution
    if not model:
        return []
    base = base_of(model.name_or_path)
    return defaults_of(base.name_or_path if base else model.name_or_path, model.arch).resolution

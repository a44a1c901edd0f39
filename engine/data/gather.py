"""A data set that is no folder becomes one, once: ordinary pictures with .txt files, in the cache.

The folder's name follows from the source and what is asked of it: the bytes of a local file, or the name and revision on the
hub. Each file appears under its name at once, so that a stopped run goes on where it was. The folder can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import time
from collections.abc import Generator
from pathlib import Path

from PIL import Image

from ..control import Control
from ..errors import JobError
from ..events import Event, Phase, Progress, Warned
from ..jobs import Dataset
from ..runs.atomic import replace_text
from ..settings import load_settings, resolve
from .caches.room import Use, touch
from .files.notes import Notes
from .files.pictures import digest
from .samples import HUB, is_elsewhere, samples_of
from .words import count, listed, printable

DONE = "done.json"
EVERY = 0.25
"""Seconds between two events of progress, at least."""
_ENDINGS = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "AVIF": ".avif", "BMP": ".bmp", "GIF": ".gif", "TIFF": ".tif"}


def folder_of(dataset: Dataset) -> Path:
    """The folder that is scanned: the one that ``path`` names, or the one that ``gather`` fills.

    Raises JobError for a file that is not there, and where there is something to gather first.
    """
    if not is_elsewhere(dataset.path):
        return resolve(dataset.path)
    if not is_gathered(dataset):
        raise JobError(f"{dataset.path} is not on this computer yet, as pictures.", "It is turned into pictures when a training starts.")
    return _place(dataset)


def is_gathered(dataset: Dataset) -> bool:
    """Whether there is a folder to scan: always, where the data set is one."""
    return not is_elsewhere(dataset.path) or (_place(dataset) / DONE).is_file()


def gather(dataset: Dataset, control: Control) -> Generator[Event, None, Use | None]:
    """Turns the data set into a folder of pictures, if it is none and that was not done before. Stops between rows when asked to.

    Returns what keeps that folder in the cache for as long as it lives.
    """
    of_no_use = dataset.differs("image_column", "hf_config", "hf_split")
    if of_no_use and not is_elsewhere(dataset.path):
        yield Warned(message=f"{' and '.join(of_no_use)} {'has' if len(of_no_use) == 1 else 'have'} no effect: {dataset.path} is a folder.")
    if not is_elsewhere(dataset.path):
        return None
    use = Use(folder := _place(dataset))
    if is_gathered(dataset):
        touch(folder / DONE)
        return use
    yield Phase(name="Fetching pictures")
    folder.mkdir(parents=True, exist_ok=True)
    rows = [int(path.stem) for path in folder.iterdir() if path.stem.isdigit() and path.suffix != ".txt"]
    start = max(rows, default=-1) + 1
    broken, told, number = [], 0.0, start
    for number, (data, text) in enumerate(samples_of(dataset, resolve(dataset.path), start), start):
        control.check()
        ending = _ending(data)
        if not ending:
            broken.append(f"row {number + 1}")
            continue
        if text:
            _write(folder / f"{number:09d}.txt", text.encode("utf-8", "replace"))
        _write(folder / f"{number:09d}{ending}", data)  # after its caption: from it is told where to go on
        rows.append(number)
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            yield Progress(done=len(rows), total=0, what="pictures")
    if not rows:
        raise JobError(f"{dataset.path} has no pictures in it.", "Set image_column to the column that has them.")
    if broken:
        yield Warned(
            message=f"{count(len(broken), 'row')} of {dataset.path} {'has' if len(broken) == 1 else 'have'} no picture that can be read: {listed(broken)}."
        )
    getattr(os, "sync", lambda: None)()  # all pictures are on the disk before the folder counts as whole
    replace_text(folder / DONE, json.dumps({"source": dataset.path, "pictures": len(rows)}))
    return use


def _place(dataset: Dataset) -> Path:
    cache = load_settings().folder("cache")
    if dataset.path.startswith(HUB):
        source = dataset.path
    else:
        file = resolve(dataset.path)
        if not file.is_file():
            raise JobError(f"There is no file {printable(file)}.", "Check the path of the data set.")
        [(_, source)] = Notes(cache).about("digest", [file], digest)
    asked = [source, dataset.hf_config, dataset.hf_split, dataset.image_column, dataset.caption_column]
    return cache / "gathered" / hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:32]


def _ending(data: bytes) -> str:
    """The ending for a picture of this content; empty for what is none."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return _ENDINGS.get(image.format or "", "")
    except Exception:  # damaged bytes raise anything at all
        return ""


def _write(path: Path, data: bytes) -> None:
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(data)
    os.replace(new, path)

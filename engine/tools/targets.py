"""Where a tool may write, and names under which results are written. No torch.

Data sets that were made in the app are the app's; every other folder is the person's, and is written to only where the job says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from ..data.captions.text import caption_file
from ..data.files.listing import list_files
from ..data.files.undo import Step, step_of
from ..data.report.mending import is_own
from ..data.scan import foreign_hint
from ..data.words import count, listed, name_of, printable
from ..errors import JobError
from ..events import Event, Warned
from ..jobs.tools.captions import CaptionsJob
from ..runs.folder import RunFolder
from ..settings import home, resolve

T = TypeVar("T")


def single_pictures(path: str, to: str) -> Generator[Event, None, tuple[Path, Path, list[Path]]]:
    """The folder that is read, the one that results go into, and one picture of each name; tells of those whose name is another one's."""
    source = resolve(path).resolve()
    target = apart(source, to, "to")
    paths = pictures_in(source)
    yield from twins(paths)
    return source, target, first_of_twins(paths)


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder; a JobError if there are none."""
    found = list_files(folder)
    if found.pictures:
        return [Path(path) for path, _ in found.pictures]
    raise JobError(f"There are no pictures in {printable(folder)}.", foreign_hint(found.foreign) or "Add .jpg, .png or .webp files.")


def captions_folder(job: CaptionsJob) -> Path:
    """Where captions are written; a JobError if the job does not say that they may be."""
    folder = resolve(job.path).resolve()
    if job.write_to:
        return apart(folder, job.write_to, "write_to")
    if job.in_place or is_own(folder):
        return folder
    raise JobError(
        f"{printable(folder)} is a folder of yours, which is only read.",
        "Set in_place to write captions beside the pictures, or give another folder as write_to.",
    )


def captions_step(job: CaptionsJob, run: RunFolder, target: Path, what: str) -> Step:
    """Where what captions were is kept: in a data set of the app beside its other changes, else with the run."""
    return step_of(run.path, target, what, is_own(target))


def apart(source: Path, target: str, key: str) -> Path:
    """The folder for results, as it will be. One that is the source, in it or around it is an error: results are no data."""
    found = resolve(target)
    folder = (found if found.is_absolute() else home() / found).resolve()
    source = source.resolve()
    if folder == source or folder.is_relative_to(source) or source.is_relative_to(folder):
        raise JobError(f"{key} is {printable(folder)}, which is not apart from {printable(source)}.", "Choose a folder outside it.")
    return folder


def mate(path: Path, source: Path, target: Path, suffix: str) -> Path:
    """Where the result for a picture is: the same place in another folder, with another ending."""
    beside = target / path.relative_to(source)
    return beside.with_name(path.stem + suffix)


def caption_place(path: Path, source: Path, target: Path, caption_ext: str) -> Path:
    """Where the caption of a picture is written: over the one that is there, whatever the case of its ending."""
    file = caption_file(target / path.relative_to(source), caption_ext)
    shouted = file.with_name(path.stem + file.name[len(path.stem) :].upper())
    return shouted if shouted.is_file() and not file.is_file() else file


def batches(paths: Sequence[T], size: int) -> Iterator[list[T]]:
    """``paths`` in lists of ``size``, the last one shorter."""
    rest: Iterable[T] = iter(paths)
    while batch := list(islice(rest, size)):
        yield batch


def twins(paths: Sequence[Path]) -> Iterator[Warned]:
    """Tells of pictures whose name is another one's but for the ending: their results would be the same file."""
    names = Counter(path.with_suffix("") for path in paths)
    if double := [name_of(path) for path in paths if names[path.with_suffix("")] > 1]:
        yield Warned(
            message=f"{count(len(double), 'picture has', 'pictures have')} the name of another one, but for the ending: {listed(double)}.",
            hint="They share one result, of the first of them. Rename them.",
        )


def first_of_twins(paths: Sequence[Path]) -> list[Path]:
    """One picture of each name."""
    first: dict[Path, Path] = {}
    for path in paths:
        first.setdefault(path.with_suffix(""), path)
    return list(first.values())

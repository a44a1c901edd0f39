"""The caption job: a text file for each picture, written one after another, so that what is done survives a stop."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

from ..control import Control
from ..data.captions.sources import all_said
from ..data.captions.text import read_caption
from ..data.files.pictures import PictureError
from ..data.files.undo import Step
from ..data.words import printable
from ..errors import JobError
from ..events import Captioned, Event, Finished, Phase, Progress, Warned
from ..jobs import Dataset
from ..jobs.tools.captions import CaptionJob
from ..runs.folder import RunFolder
from ..settings import resolve
from .captioners import Describe, load_captioner
from .targets import batches, caption_place, captions_folder, captions_step, pictures_in, twins


def caption(job: CaptionJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """A caption for each picture of ``job.path`` that is to have one; with ``preview``, shown and not written."""
    source = resolve(job.path).resolve()
    target = source if job.preview else captions_folder(job)
    paths = pictures_in(source)
    step = None if job.preview else captions_step(job, folder, target, f"Captions written: {job.captioner.type}")
    yield from twins(paths)
    said = yield from _said(job, source, paths)
    if step is None:
        paths = paths[: job.preview]
    else:
        paths = [
            path
            for path in paths
            if _wants(job, path in said and target == source, caption_place(path, source, target, job.caption_ext), step)
        ]
    if not paths:
        yield Warned(message="Every picture has a caption.", hint="Switch skip_existing off to write them anew.")
        yield Finished()
        return
    yield Phase(name="Loading the captioner")
    describe, done = load_captioner(job.captioner), 0
    yield Phase(name="Writing captions" if not job.preview else "Trying captions")
    for batch in batches(paths, getattr(job.captioner, "batch_size", 1)):
        if control.stop:
            break
        for path, words in _described(describe, batch):
            if isinstance(words, Warned):
                yield words
            elif not words:
                yield Warned(message=f"The captioner has nothing to say of {printable(path.relative_to(source))}.")
            else:
                text = f"{job.prefix}{words}{job.suffix}"
                if step:
                    step.write(caption_place(path, source, target, job.caption_ext).relative_to(target), text.encode())
                yield Captioned(path=printable(path.relative_to(source)), text=text, before=said.get(path), written=step is not None)
        done += len(batch)
        yield Progress(done=done, total=len(paths), what="captions")
    yield Finished(step=done, reason="stopped" if done < len(paths) else "completed")


def _said(job: CaptionJob, source: Path, paths: list[Path]) -> Generator[Event, None, dict[Path, str]]:
    """The captions that there are, wherever a training finds them: in text files, in .json files, in metadata."""
    try:
        found = all_said(paths, source, Dataset(path=str(source), caption_ext=job.caption_ext))
        return {path: said.text for path, said in found.items() if said.text}
    except JobError as error:
        yield Warned(message=error.message, hint="Until then, only captions in text files are seen.")
        return {path: text for path in paths if (text := read_caption(path, job.caption_ext))}


def _wants(job: CaptionJob, is_said: bool, place: Path, step: Step) -> bool:
    """Whether the caption is still to be written: not where this run was before, nor where there is one to be kept."""
    if step.is_as_left(place.relative_to(step.folder)):
        return False
    return not (job.skip_existing and (is_said or (place.is_file() and place.read_bytes().strip())))


def _described(describe: Describe, batch: list[Path]) -> Iterator[tuple[Path, str | Warned]]:
    """Each picture and its caption; in place of the caption of one that cannot be read, what is wrong."""
    try:
        yield from zip(batch, describe(batch), strict=True)
        return
    except PictureError as error:
        broken = error
    if len(batch) == 1:
        yield batch[0], Warned(message=broken.message, hint=broken.hint)
        return
    for path in batch:  # the others of its batch are described
        yield from _described(describe, [path])

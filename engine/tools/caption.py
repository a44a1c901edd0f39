"""The caption job: a text file for each picture, written one after another, so that what is done survives a stop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..control import Control
from ..data.captions import read_caption
from ..data.pictures import PictureError
from ..data.words import printable
from ..events import Captioned, Event, Finished, Phase, Progress, Warned
from ..jobs.tools import CaptionJob
from ..runs.folder import RunFolder
from ..settings import resolve
from .captioners import Describe, load_captioner
from .journal import Journal
from .targets import batches, caption_place, captions_folder, pictures_in, twins


def caption(job: CaptionJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """A caption for each picture of ``job.path`` that is to have one; with ``preview``, shown and not written."""
    source = resolve(job.path).resolve()
    target = source if job.preview else captions_folder(job)
    paths, journal = pictures_in(source), Journal(folder.path)
    yield from twins(paths)
    if job.preview:
        paths = paths[: job.preview]
    else:
        paths = [path for path in paths if _wants(job, caption_place(path, source, target, job.caption_ext), journal)]
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
        for path, said in _described(describe, batch):
            if isinstance(said, Warned):
                yield said
            elif not said:
                yield Warned(message=f"The captioner has nothing to say of {printable(path.relative_to(source))}.")
            else:
                text = f"{job.prefix}{said}{job.suffix}"
                before = read_caption(path, job.caption_ext)
                if not job.preview:
                    journal.write(caption_place(path, source, target, job.caption_ext), text)
                yield Captioned(path=printable(path.relative_to(source)), text=text, before=before, written=not job.preview)
        done += len(batch)
        yield Progress(done=done, total=len(paths), what="captions")
    yield Finished(step=done, reason="stopped" if done < len(paths) else "completed")


def _wants(job: CaptionJob, place: Path, journal: Journal) -> bool:
    """Whether the caption is still to be written: not where this run was before, nor where there is one to be kept."""
    now = place.read_bytes() if place.is_file() else b""
    if place in journal.changes and now == journal.changes[place].after:
        return False
    return not (job.skip_existing and now.strip())


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

"""The mask job: a black and white picture for each picture, white where it is to be learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter, ImageOps
from scipy import ndimage

from ..control import Control
from ..data.files.pictures import PictureError, decode, decode_mask
from ..events import Event, Finished, Phase, Progress, Sampled, Warned
from ..jobs.tools.masks import Alpha, MaskJob
from ..runs.folder import RunFolder
from .resize import write_picture
from .targets import batches, mate, single_pictures


def mask(job: MaskJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """A mask for each picture of ``job.path`` in ``job.to``; with ``preview``, among the samples of the run."""
    source, target, paths = yield from single_pictures(job.path, job.to)
    if job.preview:
        paths = paths[: job.preview]
    elif job.skip_existing:
        paths = [path for path in paths if not mate(path, source, target, ".png").is_file()]
    if not paths:
        yield Warned(message="Every picture has a mask.", hint="Switch skip_existing off to make them anew.")
        yield Finished()
        return
    yield Phase(name="Loading the model")
    find, done = _opened(job), 0
    yield Phase(name="Making masks" if not job.preview else "Trying masks")
    for batch in batches(paths, getattr(job.masker, "batch_size", 1)):
        if control.stop:
            break
        good: list[tuple[Path, Image.Image]] = []
        for path in batch:
            try:
                good.append((path, decode(path)))
            except PictureError as error:
                yield Warned(message=error.message, hint=error.hint)
        for (path, picture), found in zip(good, find(good), strict=True):
            made = finished(found, job)
            if made.getextrema()[1] == 0:
                yield Warned(message=f"Nothing was found in {path.name}: its mask is black, and nothing of it would be learned.")
            if job.preview:
                yield _shown(folder, done, path, picture, made)
            else:
                write_picture(made, mate(path, source, target, ".png"))
            done += 1
        done += len(batch) - len(good)
        yield Progress(done=done, total=len(paths), what="masks")
    yield Finished(step=done, reason="stopped" if done < len(paths) else "completed")


def finished(found: Image.Image, job: MaskJob) -> Image.Image:
    """What was found, larger or smaller, inverted and softened as the job says."""
    side = min(found.size)
    if steps := round(abs(job.grow) * side):
        change = ndimage.maximum_filter if job.grow > 0 else ndimage.minimum_filter
        found = Image.fromarray(change(np.asarray(found), 2 * steps + 1))
    if job.invert:
        found = ImageOps.invert(found)
    return found.filter(ImageFilter.GaussianBlur(job.blur * side)) if job.blur else found


def _opened(job: MaskJob) -> Callable[[list[tuple[Path, Image.Image]]], list[Image.Image]]:
    if isinstance(job.masker, Alpha):
        return lambda good: [decode_mask(path, alpha=True) for path, _ in good]
    from .annotators.segments import open_segments  # loads torch

    find = open_segments(job.masker)
    return lambda good: find([picture for _, picture in good]) if good else []


def _shown(folder: RunFolder, index: int, path: Path, picture: Image.Image, made: Image.Image) -> Sampled:
    """The picture with what is left out darkened, as a sample of the run."""
    place = folder.sample_path(0, index, path.name, "jpg")
    write_picture(Image.composite(picture, picture.point(lambda value: value // 5), made), place)
    return Sampled(step=0, index=index, prompt=path.name, path=place.relative_to(folder.path), seed=0)

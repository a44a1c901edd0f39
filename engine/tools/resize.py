"""The resize job: copies of pictures in another size, shape or kind of file, with their captions."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from ..control import Control
from ..data.files.pictures import PictureError, decode, decode_mask, opened
from ..events import Event, Finished, Phase, Progress, Warned
from ..jobs.tools.pictures import ResizeJob
from ..runs.atomic import replace_file
from ..runs.folder import RunFolder
from .targets import caption_place, mate, single_pictures


def resize(job: ResizeJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """A copy of each picture of ``job.path`` in ``job.to``."""
    source, target, paths = yield from single_pictures(job.path, job.to)
    yield Phase(name="Copying pictures")
    done = 0
    for done, path in enumerate(paths, 1):
        place = mate(path, source, target, f".{job.format}")
        try:
            if not (job.skip_existing and place.is_file()):
                write_picture(shaped(_transparent(path, job.format), job), place, job.quality)
            copy_caption(path, source, target, job.caption_ext)
        except PictureError as error:
            yield Warned(message=error.message, hint=error.hint)
        yield Progress(done=done, total=len(paths), what="pictures")
        if control.stop:
            break
    yield Finished(step=done, reason="stopped" if done < len(paths) else "completed")


def shaped(picture: Image.Image, job: ResizeJob) -> Image.Image:
    """Cut to ``job.aspect`` and made smaller where it is larger than ``job.max_res``; never larger."""
    if job.aspect:
        wide, high = map(int, job.aspect.split(":"))
        picture = picture.crop(cut(picture.size, max(wide, 1), max(high, 1), job.focus == "top"))
    if job.max_res and max(picture.size) > job.max_res:
        factor = job.max_res / max(picture.size)
        size = max(1, round(picture.width * factor)), max(1, round(picture.height * factor))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return picture


def cut(size: tuple[int, int], wide: int, high: int, top: bool = False) -> tuple[int, int, int, int]:
    """The largest box of the shape wide:high in a picture, in its middle, or at its top: left, top, right, bottom."""
    width, height = size
    if width * high > height * wide:
        inner = max(1, round(height * wide / high))
        left = (width - inner) // 2
        return left, 0, left + inner, height
    inner = max(1, round(width * high / wide))
    above = 0 if top else (height - inner) // 2
    return 0, above, width, above + inner


def write_picture(picture: Image.Image, place: Path, quality: int = 95) -> None:
    """The picture as a file, of the kind that its ending says; webp and png without a loss."""
    options = {"quality": quality, "subsampling": 0} if place.suffix == ".jpg" else {"lossless": True} if place.suffix == ".webp" else {}
    replace_file(place, lambda new: picture.save(new, **options))


def copy_caption(path: Path, source: Path, target: Path, caption_ext: str) -> None:
    """The caption file of a picture, byte for byte, under the same name in the other folder; one that is there stays."""
    place = caption_place(path, source, target, caption_ext)
    text = caption_place(path, source, source, caption_ext)
    if text.is_file() and not place.exists():
        replace_file(place, lambda new: shutil.copyfile(text, new))


def _transparent(path: Path, kind: str) -> Image.Image:
    """The picture, upright; with what is transparent, where it has that and the kind of file can hold it."""
    picture = decode(path)
    with opened(path) as image:
        clear = image.has_transparency_data
    if clear and kind != "jpg":
        picture.putalpha(decode_mask(path, alpha=True))
    return picture

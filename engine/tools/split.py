"""The split job: part of the pictures is set aside to measure with. Which ones follows from their names and the seed alone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ..control import Control
from ..data.chance import number
from ..data.words import printable
from ..errors import JobError
from ..events import Event, Finished, Phase, Progress
from ..jobs.tools.pictures import SplitJob
from ..runs.atomic import replace_file, replace_text
from ..runs.folder import RunFolder
from ..settings import resolve
from .resize import copy_caption
from .targets import apart, pictures_in

PARTS = ("train", "validation")


def split(job: SplitJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """``job.to`` gets both parts, as copies or as lists of names."""
    source = resolve(job.path).resolve()
    target = apart(source, job.to, "to")
    names = [path.relative_to(source) for path in pictures_in(source)]
    aside = held_out(names, job.share, job.seed)
    if len(aside) == len(names):
        raise JobError(f"{printable(source)} is too small to be split: nothing is left to train on.", "Add pictures, or lower share.")
    yield Phase(name="Splitting")
    if job.form == "lists":
        for part, chosen in zip(PARTS, (False, True), strict=True):
            lines = [printable(name.as_posix()) for name in names if (name in aside) == chosen]
            replace_text(target / f"{part}.txt", "\n".join(lines) + "\n")
        yield Progress(done=len(names), total=len(names), what="names")
        yield Finished(step=len(names))
        return
    done = 0
    for done, name in enumerate(names, 1):
        place, other = (target / part for part in (PARTS if name not in aside else PARTS[::-1]))
        if (other / name).exists():
            raise JobError(f"{printable(target)} has another split of these pictures.", "Choose an empty folder.")
        if not (place / name).exists():
            replace_file(place / name, partial(shutil.copyfile, source / name))
        copy_caption(source / name, source, place, job.caption_ext)
        yield Progress(done=done, total=len(names), what="pictures")
        if control.stop:
            break
    yield Finished(step=done, reason="stopped" if done < len(names) else "completed")


def held_out(names: Sequence[Path], share: float, seed: int) -> set[Path]:
    """The share of the names that is set aside, at least one. Variants of a picture, ``name__1``, are on the same side."""
    groups: dict[str, list[Path]] = {}
    for name in names:
        groups.setdefault((name.parent / name.stem.split("__")[0]).as_posix(), []).append(name)
    order = sorted(groups, key=lambda group: (number("split", seed, group.encode("utf-8", "surrogateescape").hex()), group))
    wanted = max(1, round(share * len(groups)))
    return {name for group in order[:wanted] for name in groups[group]}

"""Control pictures: edges, depth, poses and masks of the pictures of a data set, for models that are steered by them."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image

from ..control import Control
from ..data.files.pictures import PictureError, decode
from ..events import Event, Finished, Phase, Progress, Sampled, Warned
from ..jobs.tools.controls import Annotators, ControlKind, ControlsJob
from ..runs.folder import RunFolder
from .resize import write_picture
from .targets import mate, single_pictures

FUNCTIONS: dict[ControlKind, str] = {
    "canny": "edges:open_canny",
    "line": "edges:open_line",
    "depth": "depth:open_depth",
    "pose": "pose:open_pose",
    "mask": "subject:open_mask",
    "inpaint": "subject:open_inpaint",
}
"""Kind → module of ``annotators``:function(Annotators) -> Annotate."""

WITHOUT_MODEL = frozenset({"canny", "line"})


def controls(job: ControlsJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """Control pictures of each kind in ``job.to``; with ``preview``, among the samples of the run."""
    source, target, paths = yield from single_pictures(job.path, job.to)
    if job.preview:
        yield from _preview(job, paths[: job.preview], folder, control)
        return
    done = yield from make_controls(paths, source, job.controls, target, control, job.annotators)
    yield Finished(step=done, reason="stopped" if done < len(paths) * len(dict.fromkeys(job.controls)) else "completed")


def make_controls(
    paths: Sequence[Path],
    folder: Path,
    kinds: Sequence[ControlKind],
    target: Path,
    control: Control,
    settings: Annotators | None = None,
) -> Generator[Event, None, int]:
    """For each of ``paths``, which lie in ``folder``, a PNG under ``target/<kind>/`` with the same relative name; how many were seen to.

    One that is there is made again where its picture has changed since. Each kind's model is loaded once, and dropped after it.
    A stop leaves what is done; the next call goes on from there. ``control_paths`` names the folders for ``control_path`` of a data set.
    """
    kinds = list(dict.fromkeys(kinds))
    places = {
        kind: [(path, mate(path, folder, place, ".png")) for path in paths]
        for kind, place in zip(kinds, control_paths(target, kinds), strict=True)
    }
    return (yield from write_controls(places, _is_fresh, control, settings))


def write_controls(
    places: Mapping[ControlKind, Sequence[tuple[Path, Path]]],
    is_there: Callable[[Path, Path], bool],
    control: Control,
    settings: Annotators | None = None,
) -> Generator[Event, None, int]:
    """Of each kind, for each picture its control picture in the place beside it, unless ``is_there`` says so; how many were seen to."""
    settings, done = settings or Annotators(), 0
    total = sum(map(len, places.values()))
    for kind, pairs in places.items():
        due = [(path, made) for path, made in pairs if not is_there(path, made)]
        done += len(pairs) - len(due)
        if not due:
            continue
        yield Phase(name=f"Control pictures: {kind}")
        annotate = open_annotator(kind, settings)
        for path, made in due:
            if control.stop:
                return done
            try:
                write_picture(annotate(decode(path)), made)
                _mark(path, made)
            except PictureError as error:
                yield Warned(message=error.message, hint=error.hint)
            done += 1
            yield Progress(done=done, total=total, what="control pictures")
        del annotate
        if kind not in WITHOUT_MODEL:
            _free()
    return done


def control_paths(target: Path, kinds: Sequence[ControlKind]) -> list[Path]:
    """The folder of each kind, in their order."""
    return [target / kind for kind in dict.fromkeys(kinds)]


def open_annotator(kind: ControlKind, settings: Annotators) -> Callable[[Image.Image], Image.Image]:
    """What makes control pictures of a kind, its model loaded."""
    module, _, name = FUNCTIONS[kind].partition(":")
    return getattr(importlib.import_module(f"engine.tools.annotators.{module}"), name)(settings)


def _preview(job: ControlsJob, paths: Sequence[Path], folder: RunFolder, control: Control) -> Iterator[Event]:
    done = 0
    for kind in dict.fromkeys(job.controls):
        yield Phase(name=f"Trying {kind}")
        annotate = open_annotator(kind, job.annotators)
        for path in paths:
            if control.stop:
                yield Finished(step=done, reason="stopped")
                return
            try:
                made = annotate(decode(path))
            except PictureError as error:
                yield Warned(message=error.message, hint=error.hint)
                continue
            place = folder.sample_path(0, done, f"{kind} {path.name}", "png")
            write_picture(made, place)
            yield Sampled(step=0, index=done, prompt=f"{kind}: {path.name}", path=place.relative_to(folder.path), seed=0)
            done += 1
    yield Finished(step=done)


def _is_fresh(path: Path, made: Path) -> bool:
    """Whether the control picture is of the picture as it is now: it carries the picture's time."""
    try:
        return made.stat().st_mtime_ns == path.stat().st_mtime_ns
    except OSError:
        return False


def _mark(path: Path, made: Path) -> None:
    found = path.stat()
    os.utime(made, ns=(found.st_atime_ns, found.st_mtime_ns))


def _free() -> None:
    """Gives the memory of a model that was dropped back."""
    from ..runtime.device import free, pick_device

    free(pick_device())

"""The frames job: pictures out of videos, one every so many seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from ..control import Control
from ..data.files.clips import VIDEO_SUFFIXES, is_moving
from ..data.files.moving import Frame, opened_video
from ..data.files.pictures import PictureError
from ..data.words import printable
from ..errors import JobError
from ..events import Event, Finished, Phase, Progress, Warned
from ..jobs.tools.pictures import FramesJob
from ..runs.folder import RunFolder
from ..settings import resolve
from .resize import write_picture
from .targets import apart


def frames(job: FramesJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """``job.to`` gets a folder for each video. Frames that are there already are not written again."""
    source = resolve(job.path).resolve()
    videos = [source] if source.is_file() else find_videos(source)
    if not videos:
        raise JobError(f"There are no videos in {printable(source)}.", "Add .mp4, .mov, .mkv or .webm files.")
    root = source.parent if source.is_file() else source
    target = apart(source, job.to, "to")
    yield Phase(name="Reading videos")
    written = done = 0
    for done, video in enumerate(videos, 1):
        place = (target / video.relative_to(root)).with_suffix("")
        try:
            for picture, seconds in chosen(video, job):
                name = place / f"{video.stem}_{round(seconds * 1000):09d}.{job.format}"
                if not name.is_file():
                    write_picture(picture.picture(), name)
                written += 1
                if control.stop:
                    break
                if written % 20 == 0:
                    yield Progress(done=done - 1, total=len(videos), what="videos")
        except PictureError as error:
            yield Warned(message=error.message, hint=error.hint)
        if control.stop:
            break
        yield Progress(done=done, total=len(videos), what="videos")
    yield Finished(step=written, reason="stopped" if control.stop else "completed")


def chosen(path: Path, job: FramesJob) -> Iterator[tuple[Frame, float]]:
    """The frames that are kept, each with its time in seconds from the first."""
    with opened_video(path) as video:
        begun, due, taken = None, job.start, 0
        for time, frame in video.frames():
            begun = time if begun is None else begun
            seconds = time - begun
            if seconds < due - 0.001:  # times are rounded in the file
                continue
            yield frame, seconds
            taken += 1
            if taken == job.max_frames:
                return
            due = job.start + (math.floor((seconds - job.start) / job.every + 0.001) + 1) * job.every


def find_videos(folder: Path) -> list[Path]:
    """The videos of a folder and of the folders in it, moving GIF and WebP among them. Hidden ones are left out."""
    if not folder.is_dir():
        raise JobError(f"There is no folder {printable(folder)}.", "Check the path.")
    paths = sorted(
        path for path in folder.rglob("*") if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return [path for path in paths if path.suffix.lower() in VIDEO_SUFFIXES or is_moving(path)]

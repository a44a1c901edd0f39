"""Jobs that make other folders of pictures: copies in other sizes, frames of videos, a validation set. What they read they leave as it is."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..base import Job


class ResizeJob(Job):
    """Copies of pictures: cropped, smaller, as another kind of file. Captions are copied along; the originals stay as they are."""

    title: ClassVar[str] = "Resize"
    kind: Literal["resize"] = "resize"
    path: str
    """Folder with the pictures. It is read, never written."""
    to: str
    """Folder for the copies, under the same names."""
    caption_ext: str = ".txt"
    """Ending of the captions that are copied along."""
    aspect: Annotated[str, Field(pattern=r"^\d{1,4}:\d{1,4}$")] | None = None
    """Cut to this shape, width to height, for example 1:1. Left out: nothing is cut off."""
    focus: Literal["centre", "top"] = "centre"
    """What stays when it is cut. top is for people, who have their heads there."""
    max_res: Annotated[int, Field(ge=16, le=16384)] | None = None
    """Pixels of the longer side at most. Pictures are never enlarged."""
    format: Literal["jpg", "png", "webp"] = "png"
    """Kind of file. png and webp lose nothing; jpg is smaller."""
    quality: Annotated[int, Field(ge=1, le=100)] = 95
    """Quality of jpg."""
    skip_existing: bool = True
    """Leave copies alone that are there."""


class FramesJob(Job):
    """Pictures from videos."""

    title: ClassVar[str] = "Frames of videos"
    kind: Literal["frames"] = "frames"
    path: str
    """A video, or a folder with videos."""
    to: str
    """Folder for the pictures: one folder in it for each video."""
    every: Annotated[float, Field(gt=0, le=86400)] = 1.0
    """Seconds from one picture to the next."""
    start: Annotated[float, Field(ge=0)] = 0.0
    """Seconds at the beginning that are left out."""
    max_frames: Annotated[int, Field(ge=1)] | None = None
    """Pictures of each video at most."""
    format: Literal["jpg", "png", "webp"] = "png"
    """Kind of file."""


class SplitJob(Job):
    """Split a folder into a part to train on and a part to measure with. The same pictures are drawn each time."""

    title: ClassVar[str] = "Split"
    kind: Literal["split"] = "split"
    path: str
    """Folder with the pictures. It is read, never written."""
    to: str
    """Folder for the two parts, train and validation."""
    caption_ext: str = ".txt"
    """Ending of the captions that go along."""
    share: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the pictures that is not trained on. Pictures named a__1, a__2 stay together."""
    form: Literal["copies", "lists"] = "copies"
    """copies: two folders with copies. lists: train.txt and validation.txt with the names."""
    seed: int = 42
    """Another one draws other pictures."""

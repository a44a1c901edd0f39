"""A job that makes control pictures, and the models that it makes them with."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..base import AnyDtype, Job, Strict
from .masks import ClipSeg, Labels

ControlKind = Literal["canny", "line", "depth", "pose", "mask", "inpaint"]


class Annotators(Strict):
    """How control pictures are made."""

    low: Annotated[float, Field(gt=0, le=1)] = 0.1
    """canny: an edge that goes on from a clear one is kept from this strength on. 1 is the strongest edge there can be."""
    high: Annotated[float, Field(gt=0, le=1)] = 0.2
    """canny: strength of a clear edge."""
    depth_model: str = "depth-anything/Depth-Anything-V2-Small-hf"
    """depth: a folder or a hub id of a model for depth that transformers knows."""
    pose_model: str = "usyd-community/vitpose-base-simple"
    """pose: a folder or a hub id of a ViTPose."""
    person_model: str = "PekingU/rtdetr_r50vd_coco_o365"
    """pose: a folder or a hub id of a detector that knows persons."""
    masker: Annotated[ClipSeg | Labels, Field(discriminator="type")] = ClipSeg(type="clipseg")
    """mask and inpaint: what finds the subject."""
    dtype: AnyDtype = "auto"
    """Precision of the models. auto: bf16 on a graphics card, fp32 on a processor."""


class ControlsJob(Job):
    """Control pictures for the pictures of a folder. For control_path of a data set."""

    title: ClassVar[str] = "Control pictures"
    kind: Literal["controls"] = "controls"
    path: str
    """Folder with the pictures. It is read, never written."""
    to: str
    """Folder for the control pictures: one folder in it for each kind, with PNG under the same names."""
    controls: Annotated[list[ControlKind], Field(min_length=1)]
    """canny and line: edges, without a model. depth, pose: by a model. mask: the subject. inpaint: the picture without the subject."""
    annotators: Annotators = Annotators()
    preview: Annotated[int, Field(ge=0, le=1000)] = 0
    """Show those of so many pictures, the first ones, among the samples of the run, and write no other. 0: write all."""

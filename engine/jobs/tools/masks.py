"""A job that makes masks, and what may decide what is in them."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..base import Job, Strict
from .looking import Model


class ClipSeg(Model):
    """Finds what a few words name (CLIPSeg). Its edges are soft; good for leaving a background out."""

    type: Literal["clipseg"]
    model_name_or_path: str = "CIDAS/clipseg-rd64-refined"
    """A folder, or the id of a model on the Hugging Face hub."""
    prompts: Annotated[list[str], Field(min_length=1)] = ["a person"]
    """What is looked for. Of several, all are in the mask."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """How sure it has to be of a pixel."""


class Labels(Model):
    """Finds the things that a segmentation model knows by name (Mask2Former and others): sharp edges, fixed names."""

    type: Literal["labels"]
    model_name_or_path: str = "facebook/mask2former-swin-small-coco-panoptic"
    """A folder, or the id of a model on the Hugging Face hub: Mask2Former, MaskFormer or SegFormer."""
    labels: Annotated[list[str], Field(min_length=1)] = ["person"]
    """Names as the model has them. All of them are in the mask."""


class Alpha(Strict):
    """What is not transparent in the picture's own file. Needs no model."""

    type: Literal["alpha"]


Masker = Annotated[ClipSeg | Labels | Alpha, Field(discriminator="type")]


class MaskJob(Job):
    """Masks for the pictures of a folder: white is trained, black is left out. For mask_path of a data set."""

    title: ClassVar[str] = "Masks"
    kind: Literal["mask"] = "mask"
    path: str
    """Folder with the pictures. It is read, never written."""
    to: str
    """Folder for the masks, PNG under the same names."""
    masker: Masker = ClipSeg(type="clipseg")
    """What decides."""
    invert: bool = False
    """White is what was not found."""
    grow: Annotated[float, Field(ge=-0.5, le=0.5)] = 0.0
    """Make the white part larger on every side, by this share of the shorter side of the picture; less than 0: smaller."""
    blur: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Soften its edge, by this share of the shorter side of the picture."""
    skip_existing: bool = True
    """Leave masks alone that are there."""
    preview: Annotated[int, Field(ge=0, le=1000)] = 0
    """Show the masks of so many pictures, the first ones, among the samples of the run, and write no other. 0: write all."""

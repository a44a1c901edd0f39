"""Jobs that prepare data: captions, copies in other sizes, frames, masks, control pictures, a validation set.

A folder of the person is read. It is written to only where the job says so: see ``in_place``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import regex
from pydantic import Field, ValidationInfo, field_validator, model_validator

from .base import AnyDtype, Dtype, Job, ModelSection, Strict

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Model(Strict):
    """A model that looks at pictures."""

    dtype: AnyDtype = "auto"
    """Precision of the model. auto: bf16 on a graphics card, fp32 on a processor."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 1
    """Pictures at once. More is faster on a graphics card, and takes more memory."""


class FileName(Strict):
    """The caption is the file's name as words: red_car-02.jpg becomes "red car"."""

    type: Literal["file_name"]
    numbers: bool = False
    """Keep words that are nothing but digits."""


class Template(Strict):
    """The same text for every picture."""

    type: Literal["template"]
    text: Annotated[str, Field(min_length=1)]
    """[name] stands for the file's name as words, [folder] for the folder that it is in. [trigger] stays for the training."""


class Florence2(Model):
    """Florence-2 of Microsoft: fast, and writes plain descriptions. It takes no instructions."""

    type: Literal["florence2"]
    model_name_or_path: str = "florence-community/Florence-2-large"
    """A folder, or the id of a model on the Hugging Face hub, in the form that transformers reads without code of its own."""
    detail: Literal["caption", "detailed_caption", "more_detailed_caption"] = "more_detailed_caption"
    """How much is told: a few words, a sentence or two, a paragraph."""
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 256
    """The longest caption, in tokens."""
    num_beams: Annotated[int, Field(ge=1, le=16)] = 3
    """Captions that are weighed against each other. 1 is the fastest."""


class QwenVl(Model):
    """Qwen2.5-VL and Qwen3-VL: follow instructions, and know what is in a picture best."""

    type: Literal["qwen_vl"]
    model_name_or_path: str = "Qwen/Qwen3-VL-4B-Instruct"
    """A folder, or the id of a model on the Hugging Face hub: Qwen2.5-VL or Qwen3-VL, of any size."""
    caption_prompt: Annotated[str, Field(min_length=1)] = "Describe this picture in one paragraph. Begin with the description itself."
    """What it is asked, for example: describe everything except the person."""
    max_res: Annotated[int, Field(ge=56, le=4096)] = 768
    """It sees the picture with the area of a square of so many pixels a side. More shows more details, and takes longer."""
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 256
    """The longest caption, in tokens."""


class Blip(Model):
    """BLIP: small, one short sentence."""

    type: Literal["blip"]
    model_name_or_path: str = "Salesforce/blip-image-captioning-large"
    """A folder, or the id of a model on the Hugging Face hub."""
    caption_prompt: str = ""
    """Words that the caption begins with; the model goes on from there."""
    max_new_tokens: Annotated[int, Field(ge=1, le=512)] = 64
    """The longest caption, in tokens."""


class Tagger(Model):
    """Tags as image boards have them, such as "1girl, outdoors": models with one yes or no for each tag, as WD tagger v3."""

    type: Literal["tagger"]
    model_name_or_path: str = "p1atdev/wd-swinv2-tagger-v3-hf"
    """A folder, or the id of a model on the Hugging Face hub, in the form of transformers: not timm's and not ONNX."""
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.35
    """How sure it has to be of a tag."""
    exclude_tags: list[str] = []
    """Tags that are left out, for example those that the trigger words stand for."""


Captioner = Annotated[FileName | Template | Florence2 | QwenVl | Blip | Tagger, Field(discriminator="type")]


class CaptionsJob(Job):
    """A folder with captions, and where they may be written."""

    path: str
    """Folder with the pictures."""
    caption_ext: str = ".txt"
    """A caption is the text file beside the picture, with this ending."""
    write_to: str | None = None
    """Another folder for the captions, under the same names. Left out: beside the pictures, if in_place allows it."""
    in_place: bool = False
    """Captions may be written beside the pictures. Data sets made in the app are written to in any case, other folders only with this."""


class CaptionJob(CaptionsJob):
    """Write a caption for each picture of a folder. Stopped or cut off, it goes on with the pictures that have none."""

    title: ClassVar[str] = "Caption"
    kind: Literal["caption"] = "caption"
    captioner: Captioner = Florence2(type="florence2")
    """Who writes them."""
    prefix: str = ""
    """Text before each caption, for example the trigger words and a comma."""
    suffix: str = ""
    """Text after each caption."""
    skip_existing: bool = True
    """Leave pictures alone that have a caption."""
    preview: Annotated[int, Field(ge=0, le=1000)] = 0
    """Show the captions of so many pictures, the first ones, and write nothing. 0: write all."""


class Append(Strict):
    """Text behind the caption. It is left out where the caption ends with it already."""

    type: Literal["append"]
    text: Annotated[str, Field(min_length=1)]
    """As it is to stand there, with its comma or space."""


class Prepend(Strict):
    """Text before the caption. It is left out where the caption begins with it already."""

    type: Literal["prepend"]
    text: Annotated[str, Field(min_length=1)]
    """As it is to stand there, with its comma or space."""


class Replace(Strict):
    """Find and replace."""

    type: Literal["replace"]
    find: Annotated[str, Field(min_length=1, max_length=1000)]
    """What is looked for."""
    replacement: str = ""
    """What takes its place. Of a regular expression, \\\\1 is its first group."""
    regular_expression: bool = False
    """find is a regular expression."""
    ignore_case: bool = False
    """Capital and small letters count as the same."""

    @model_validator(mode="after")
    def _can_be_read(self) -> Replace:
        if self.regular_expression:
            try:
                regex.compile(self.find)
            except regex.error as error:
                raise ValueError(f"{self.find!r} is no regular expression: {error}.") from None
            try:
                regex.sub(f"(?:{self.find})|", self.replacement, "", timeout=1)  # fits anything, and has the same groups
            except (regex.error, IndexError):
                raise ValueError(f"{self.replacement!r} names a group that {self.find!r} does not have.") from None
        return self


class Trim(Strict):
    """No spaces at the ends and no doubled ones, no empty or doubled commas, no comma at the end."""

    type: Literal["trim"]


Edit = Annotated[Append | Prepend | Replace | Trim, Field(discriminator="type")]


class EditCaptionsJob(CaptionsJob):
    """Change the captions of a folder. What they were is kept with the run, so that it can be undone."""

    title: ClassVar[str] = "Edit captions"
    kind: Literal["edit_captions"] = "edit_captions"
    edits: list[Edit] = []
    """What is done to each caption, in this order."""
    dry_run: bool = False
    """List what would change, and write nothing."""
    undo: Annotated[str | None, Field(validate_default=True)] = None
    """Name or folder of a run that wrote captions: they become what they were before it. Given alone, without edits."""

    @field_validator("undo")
    @classmethod
    def _one_of_both(cls, value: str | None, info: ValidationInfo) -> str | None:
        if "edits" in info.data and bool(value) == bool(info.data["edits"]):
            raise ValueError("it is given either edits, or a run to undo.")
        return value


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
    max_frames: Count | None = None
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
    blur: Share = 0.0
    """Soften its edge, by this share of the shorter side of the picture."""
    skip_existing: bool = True
    """Leave masks alone that are there."""
    preview: Annotated[int, Field(ge=0, le=1000)] = 0
    """Show the masks of so many pictures, the first ones, among the samples of the run, and write no other. 0: write all."""


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


ControlKind = Literal["canny", "line", "depth", "pose", "mask", "inpaint"]


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


class EmaJob(Job):
    """One set of weights out of several checkpoints of a run: steadier than the last, and chosen when the training is over."""

    title: ClassVar[str] = "Average checkpoints"
    kind: Literal["ema"] = "ema"
    paths: Annotated[list[str], Field(min_length=1)]
    """The folder of a run, or checkpoints of one: .safetensors files or folders of weights. They are read, never written."""
    profile: Literal["power", "ema", "mean"] = "power"
    """How much each counts. power: the later, the more, over a share of the run; ema: falls by ema_decay at each step back from the last; mean: all alike."""
    sigma_rel: Annotated[float, Field(ge=0.01, le=0.28)] = 0.1
    """power: how wide the average is, as a share of the whole run. 0.05 is narrow, 0.25 nearly all of it."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """ema: what is left of a step's part one step later. 0.999 looks back about 1000 steps."""
    weights: list[Annotated[float, Field(ge=0)]] = []
    """How much each counts, in your own numbers, oldest first, in place of a profile. Left out: by the profile."""
    start_step: Annotated[int, Field(ge=0)] = 0
    """Leave out checkpoints before this step."""
    end_step: Annotated[int | None, Field(ge=1)] = None
    """Leave out checkpoints after this step."""


class ExtractJob(Job):
    """A LoRA out of a model that was trained whole: what it has learned beyond its base, in as few numbers as you say."""

    title: ClassVar[str] = "Extract a LoRA"
    kind: Literal["extract"] = "extract"
    model: ModelSection
    """The model that the other one was made from."""
    extract_model: str
    """The model that was trained: a folder in diffusers layout, a hub id, or one .safetensors of the denoiser or of all."""
    mode: Literal["fixed", "threshold", "ratio", "quantile"] = "fixed"
    """How many ranks each layer gets. fixed: as many as linear says. By its singular values: threshold keeps those above a number, ratio those above
    a share of the largest, quantile as many of the largest as make up a share of the sum of all."""
    linear: Annotated[float | None, Field(ge=0)] = None
    """Number of the mode: a rank, a value, or a share. Left out: 64 for fixed, 0 for threshold, 0.5 for ratio and quantile."""
    conv: Annotated[float | None, Field(ge=0)] = None
    """The same for convolutions larger than 1x1. Left out: they are not in the LoRA."""
    all_layers: bool = False
    """Every linear layer of the denoiser, and not only those that the family trains. Not all programs read all of them."""
    extract_unet: bool = True
    """The denoiser, of any family."""
    extract_text_encoder: bool = True
    """The text encoders too, where the family has LoRAs of them and they differ."""
    parameter_threshold: Annotated[int, Field(ge=0)] = 0
    """Leave out layers with fewer weights than this."""
    dtype: Dtype = "fp16"
    """Precision of the file."""
    format: Literal["auto", "diffusers", "comfyui", "kohya"] = "auto"
    """Names in the file. auto: those that most tools read for this family."""

    @field_validator("linear", "conv")
    @classmethod
    def _fits_the_mode(cls, value: float | None, info: ValidationInfo) -> float | None:
        mode = info.data.get("mode")
        if value is not None and mode == "fixed" and (value < 1 or value != int(value)):
            raise ValueError("it is a rank for mode fixed: a whole number of 1 or more.")
        if value is not None and mode in ("ratio", "quantile") and value > 1:
            raise ValueError(f"it is a share for mode {mode}: from 0 to 1.")
        return value


JOBS: tuple[type[Job], ...] = (CaptionJob, EditCaptionsJob, ResizeJob, FramesJob, SplitJob, MaskJob, ControlsJob, EmaJob, ExtractJob)

"""One data set of a training: which files it takes, which words go with them, and how they are shown to the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from PIL import ImageColor
from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from .base import Strict
from .tools.controls import ControlKind


def _as_list(value: Any) -> Any:
    return [] if value is None else value if isinstance(value, list) else [value]


Size = Annotated[list[Annotated[int, Field(ge=16, le=8192)]], Field(min_length=2, max_length=2)]


def _as_sizes(value: Any) -> Any:
    if value is False:
        raise ValueError(
            "false is AI Toolkit's way to ask for squares. Set square_crop: true, and upscale: true to enlarge small pictures."
        )
    return [] if value in (None, True) else [value] if isinstance(value, list) and value and isinstance(value[0], int) else value


def _with_bars(replacements: list[str]) -> list[str]:
    for one in replacements:
        if one.count("|") != 1 or one.startswith("|"):
            raise ValueError(f"{one!r} does not say from|to.")
    return replacements


def _is_colour(name: str) -> str:
    ImageColor.getrgb(name)  # raises ValueError with what it knows
    return name


class Augmentation(Strict):
    """One way to change a picture a little each time it is shown."""

    method: str
    """Its name, as in Albumentations: RandomBrightnessContrast, HueSaturationValue, ColorJitter, Rotate, GaussianBlur, Sharpen, ToGray …"""
    p: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the times that it is done."""
    params: dict[str, Any] = {}
    """Its settings, for example limit of Rotate, in degrees."""

    @model_validator(mode="before")
    @classmethod
    def _share_among_settings(cls, given: Any) -> Any:
        """Albumentations has p among them."""
        if not isinstance(given, Mapping) or "p" not in (params := given.get("params") or {}):
            return given
        return {"p": params["p"], **given, "params": {key: value for key, value in params.items() if key != "p"}}


class Dataset(Strict):
    """One folder of pictures with captions."""

    path: Annotated[str, Field(validation_alias=AliasChoices("path", "folder_path"))]
    """Folder with the pictures. It is read, never written. Or a .json map of pictures and captions, a .parquet or .tar file, or hf://owner/name."""
    image_column: str | None = None
    """Column of the pictures in a .parquet file or a data set of the hub. Left out: image, img, or the like."""
    hf_config: str | None = None
    """Which of the configurations of a data set of the hub."""
    hf_split: str = "train"
    """Which part of a data set of the hub, for example train or validation."""
    caption_ext: str = ".txt"
    """A caption is the text file beside the picture, with this ending. Without one, a .json beside it or metadata.jsonl or .csv in the folder is read."""
    default_caption: str | None = None
    """Caption of pictures that have none. Left out: a picture without a caption is an error."""
    trigger_word: str | None = None
    """Trigger words of this data set, instead of the run's."""
    control_path: Annotated[list[str], BeforeValidator(_as_list)] = []
    """Folder with the reference pictures of an edit model: what each picture was made from, under the same name. A list: several for each."""
    control_from_same_folder: bool = False
    """The reference pictures of each picture are others of its own folder, chosen by chance once."""
    num_controls_from_same_folder: Annotated[int, Field(ge=1, le=16)] = 1
    """How many reference pictures control_from_same_folder chooses."""
    clip_image_path: str | None = None
    """Folder with the pictures that an adapter of the type ip or redux looks at, under the same names. Left out: the pictures themselves."""
    clip_image_from_same_folder: bool = False
    """Such an adapter looks at another picture of the same folder, chosen by chance once: it learns what they have in common."""
    controls: Annotated[list[ControlKind], BeforeValidator(_as_list)] = []
    """Reference pictures that are made of each picture, besides those of control_path and after them: canny and line, edges; depth, pose, mask and inpaint, by a model."""
    caption_dropout_rate: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Share of steps in which the caption is left empty. Keeps guidance working."""
    use_short_captions: bool = False
    """Take the short caption (caption_short, of a .json or of metadata) of each picture that has one."""
    caption_column: str | None = None
    """Column of the captions in metadata.jsonl, metadata.csv, a .parquet file or a data set of the hub. Left out: text, caption or prompt, the first of them that is there."""
    kohya_folders: bool | None = None
    """Folders named 10_name: their pictures come 10 times as often, and without a caption they are called name. Left out: where all folders in the data set are named so."""
    replacements: Annotated[list[str], BeforeValidator(_as_list), AfterValidator(_with_bars)] = []
    """Changes in the captions, in this order: from|to, letter by letter. Nothing behind the bar takes the words out."""
    shuffle_tokens: bool = False
    """Put the parts of a caption that are between commas into a new order each time. For tags; it breaks sentences."""
    keep_tokens: Annotated[int, Field(ge=0, le=1000)] = 0
    """So many parts at the front stay where they are, and are never left out."""
    token_dropout_rate: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of the parts of a caption that are left out each time."""
    random_triggers: Annotated[list[str], BeforeValidator(_as_list)] = []
    """Words that are added to captions at random; or a text file, .txt, with one a line."""
    random_triggers_max: Annotated[int, Field(ge=1, le=1000)] = 1
    """1: one of random_triggers is always added. More: none, or up to so many."""
    caption_variants: Annotated[int, Field(ge=1, le=1000)] = 8
    """So many versions of each caption are made when its parts are shuffled, left out or added. Each takes as much room on the disk as a caption."""
    resolution: list[Annotated[int, Field(ge=16, le=4096)]] | Annotated[int, Field(ge=16, le=4096)] | None = None
    """Pixels of a side of the square with the same area; several train at several sizes. Left out: what the model is made for."""
    buckets: Annotated[list[Size], BeforeValidator(_as_sizes)] = []
    """Sizes to train at instead of resolution, as [width, height]: each picture at the one nearest to its shape. Left out: sizes by the shapes of the pictures."""
    square_crop: bool = False
    """Cut each picture to a square."""
    crop: Literal["center", "top", "subject"] = "center"
    """What stays where a picture is cut to its size: the middle; the top, which keeps heads; or the subject, where <name>.box.json or <name>.json beside the picture has its box."""
    random_crop: bool = False
    """Cut somewhere else each time. Pictures are then encoded again in each step, which is slower."""
    random_scale: bool = False
    """Zoom in each time, at most until a pixel of the picture is a pixel of the training. Pictures are then encoded again in each step, which is slower."""
    scale: Annotated[float, Field(gt=0, le=16)] = 1.0
    """Take pictures for so much larger or smaller before their size is chosen: 0.5 for pictures that were enlarged without gaining detail."""
    num_repeats: Annotated[int, Field(ge=1, le=10000)] = 1
    """How often each picture comes in one round."""
    weight: Annotated[float | None, Field(gt=0, le=1000)] = None
    """Share of the batches that come from this data set, beside the weights of the others. Left out: as many as it has pictures for."""
    flip_x: bool = False
    """Show each picture mirrored as well. Not for faces with a parting, or for letters."""
    flip_y: bool = False
    """Show each picture upside down as well. For textures and things seen from above."""
    augmentations: list[Augmentation] = []
    """Change pictures a little each time. They are then encoded again in each step, which is slower."""
    alpha_color: Annotated[str, AfterValidator(_is_colour)] = "white"
    """Colour behind what is transparent: a name, or #rrggbb."""
    mask_path: str | None = None
    """Folder with a mask for each picture, under the same name: what is white is learned, what is black is not."""
    alpha_mask: bool = False
    """The pictures are their own masks: what is transparent is not learned."""
    auto_mask: Annotated[list[str], BeforeValidator(_as_list)] = []
    """Words for what is learned of each picture, such as a person: a model (CLIPSeg) looks for it when a training starts, and the masks are kept in the cache."""
    invert_mask: bool = False
    """What is black, or transparent, is learned, and the rest is not."""
    mask_min_value: Annotated[float, Field(ge=0, le=1)] = 0.0
    """How much black still counts: 0.1 lets the rest of the picture be learned a little."""
    inpaint_path: str | None = None
    """Folder with a copy of each picture, under the same name, of which a part is erased: what is transparent there is drawn anew, and the rest is shown to the model. For Flex.2."""
    auto_inpaint: Annotated[list[str], BeforeValidator(_as_list)] = []
    """Words for what is drawn anew of each picture, such as a person: a model (CLIPSeg) looks for it when a training starts. For Flex.2."""
    allow_missing: bool = False
    """A picture without a mask is learned whole, and one that is not in inpaint_path is drawn as a whole. Left off: that is an error."""
    is_reg: bool = False
    """Pictures of what the model is not to forget: every other batch comes from such sets. They carry no trigger words."""
    prior_reg: bool = False
    """What is learned from these pictures is what the base model says of them, not what they show: it stays as it was."""
    loss_multiplier: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """How much these pictures count beside those of other sets."""
    network_weight: Annotated[float, Field(ge=-10, le=10)] = 1.0
    """Strength of the LoRA while it learns from these pictures. -1 teaches it their opposite."""
    upscale: bool = False
    """Enlarge pictures that are smaller than the resolution. Left off: they are trained at their own size."""
    num_frames: Annotated[int | None, Field(ge=1, le=1000)] = None
    """Frames of each video that are learned: 5, 9, 13 and so on for Wan. 1: the first frame of each, as a picture. Left out: videos are left aside."""
    fps: Annotated[float | None, Field(gt=0, le=240)] = None
    """Frames a second that are taken where they are not spread over the whole video. Left out: as many as the model's own videos have."""
    shrink_video_to_frames: bool = True
    """Spread the frames evenly over the whole video. Off: take them at fps, from a place that chance chooses once for each video."""
    auto_frame_count: bool = False
    """Take as many frames of each video as it has at fps, up to num_frames where that is given, else to 241."""
    trim_auto_frame_count_tail: bool = True
    """With auto_frame_count: what is left at the end is left out. Off: the frames are spread over the whole video."""
    do_i2v: bool = False
    """Show the model the first frame of each video, so that it learns to go on from a picture. For models that do both."""

    @field_validator("buckets", "square_crop", "control_from_same_folder")
    @classmethod
    def _contradicts_nothing(cls, value: Any, info: ValidationInfo) -> Any:
        other = {"buckets": "resolution", "square_crop": "buckets", "control_from_same_folder": "control_path"}[str(info.field_name)]
        if value and info.data.get(other):
            raise ValueError(f"{other} is given too. Leave one of them out.")
        return value

    @property
    def is_masked(self) -> bool:
        """Whether only a part of each of its pictures is learned."""
        return bool(self.mask_path or self.alpha_mask or self.auto_mask)

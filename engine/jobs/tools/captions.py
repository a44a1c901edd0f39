"""A job that writes captions, and who may write them: the file's name, a text, or a model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..base import Job, Strict
from .looking import Model


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

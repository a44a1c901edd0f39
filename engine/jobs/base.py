"""What every job has in common: strict, frozen, made of plain data. No torch here."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Strict(BaseModel):
    """An unknown key is an error; the sentence under a field is its help everywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=True)


class Job(Strict):
    """What is to be done. ``kind`` finds the function that does it."""

    title: ClassVar[str] = "Job"
    kind: str
    name: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[\w][\w .+-]*$")]
    """Name of the run, and of its folder."""
    version: Literal[1] = 1
    """Version of this vocabulary."""


def _canonical_dtype(value: Any) -> Any:
    return {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32", "float": "fp32"}.get(value, value)


Dtype = Annotated[Literal["bf16", "fp16", "fp32"], BeforeValidator(_canonical_dtype)]
AnyDtype = Annotated[Literal["auto", "bf16", "fp16", "fp32"], BeforeValidator(_canonical_dtype)]


class ModelSection(Strict):
    """Which base model."""

    name_or_path: str
    """A folder in diffusers layout, or the id of a model on the Hugging Face hub."""
    arch: str | None = None
    """Model family, for example flux. Left out: found from the model's own files."""
    revision: str | None = None
    """Branch, tag or commit of a hub model. Left out: the newest."""
    dtype: AnyDtype = "auto"
    """Precision that the frozen weights are held in. auto: bf16 on a graphics card, fp32 on a processor."""


class SampleItem(Strict):
    """One sample prompt; what is left out follows from the sample section."""

    prompt: str
    """What to draw."""
    neg: str | None = None
    """What to keep away from."""
    width: Annotated[int, Field(ge=16, le=8192)] | None = None
    """Pixels."""
    height: Annotated[int, Field(ge=16, le=8192)] | None = None
    """Pixels."""
    seed: int | None = None
    """The same seed gives the same picture."""
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    """How closely the prompt is followed."""
    sample_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Denoising steps."""
    network_multiplier: Annotated[float, Field(ge=-10, le=10)] | None = None
    """Strength of the LoRA."""
    num_frames: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Frames of a video."""
    fps: Annotated[int, Field(ge=1, le=120)] | None = None
    """Frames a second of a video."""
    ctrl_img: str | None = None
    """Reference picture of an edit model, or the first frame of a video."""
    ctrl_img_1: str | None = None
    """The first of several reference pictures."""
    ctrl_img_2: str | None = None
    """The second reference picture."""
    ctrl_img_3: str | None = None
    """The third reference picture."""


class SampleSettings(Strict):
    """How pictures are made. What is left out is what the base model asks for."""

    prompts: list[str] = []
    """Sample prompts, one a line. [trigger] stands for the trigger words."""
    samples: list[SampleItem] = []
    """Prompts with settings of their own; they come after the plain prompts."""
    neg: str = ""
    """What to keep away from, where the model has a negative prompt."""
    width: Annotated[int, Field(ge=16, le=8192)] | None = None
    """Pixels. Left out: what the model is made for."""
    height: Annotated[int, Field(ge=16, le=8192)] | None = None
    """Pixels. Left out: what the model is made for."""
    sample_steps: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Denoising steps. Left out: what the model asks for."""
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    """How closely the prompt is followed. Left out: what the model asks for."""
    num_frames: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Frames of a video. Left out: what the model is made for."""
    fps: Annotated[int, Field(ge=1, le=120)] | None = None
    """Frames a second of a video. Left out: what the model is made for."""
    seed: int = 42
    """The same seed gives the same picture, so that checkpoints can be compared."""
    walk_seed: bool = True
    """Each prompt takes the next seed, so that pictures differ."""
    network_multiplier: Annotated[float, Field(ge=-10, le=10)] = 1.0
    """Strength of the LoRA."""
    format: Literal["jpg", "png", "webp"] = "jpg"
    """File type of the pictures."""

"""What every job has in common: strict, frozen, made of plain data. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator


class Strict(BaseModel):
    """An unknown key is an error; the sentence under a field is its help everywhere."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, populate_by_name=True)

    def differs(self, *keys: str) -> list[str]:
        """Those of ``keys`` that are not as they are by default. What was written down does not tell: a run's config.yaml has every default in it."""
        fields = type(self).model_fields
        return [key for key in keys if getattr(self, key) != fields[key].get_default(call_default_factory=True)]


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


def _canonical_qtype(value: Any) -> Any:
    return {"qfloat8_e4m3fn": "qfloat8", "float8_e4m3fn": "float8"}.get(value, value)


QuantizedType = Annotated[
    Literal["qfloat8", "qint8", "qint4", "qint2", "int8", "nf4", "fp4", "float8", "uint2", "uint3", "uint4", "uint5", "uint6", "uint7"],
    BeforeValidator(_canonical_qtype),
]
Patterns = Annotated[list[str], BeforeValidator(lambda value: [value] if isinstance(value, str) else value or [])]


class QuantizedLayers(Strict):
    """Which layers of the denoiser are held in few bits."""

    include: Patterns = []
    """Only layers whose names fit one of these. * stands for any letters."""
    exclude: Patterns = []
    """No layer whose name fits one of these, for example *time_text_embed*."""


class ModelSection(Strict):
    """Which base model."""

    name_or_path: str
    """A folder in diffusers layout, or the id of a model on the Hugging Face hub. Or one .safetensors of the denoiser or of all."""
    arch: str | None = None
    """Model family, for example flux. Left out: found from the model's own files."""
    revision: str | None = None
    """Branch, tag or commit of a hub model. Left out: the newest."""
    dtype: AnyDtype = "auto"
    """Precision that the frozen weights are held in. auto: bf16 on a graphics card, fp32 on a processor."""
    extras_name_or_path: str | None = None
    """Whole model that gives all parts but the denoiser, where name_or_path has only that. Left out: the first model of arch."""
    unet_path: str | None = None
    """Another denoiser: a folder, a hub id, or a .safetensors in the layout of diffusers, ComfyUI or the original model."""
    vae_path: str | None = None
    """Another autoencoder, named in the same ways."""
    te_name_or_path: str | None = None
    """Other text encoders, named in the same ways: those that fit take the place of the model's own. Tokenizers stay."""
    lora_path: str | None = None
    """LoRA that is added to the model when it is loaded, and is part of it from then on. A file, or owner/name/file on the hub."""
    assistant_lora_path: str | None = None
    """LoRA that is there while training and not in samples: it takes a model apart that was distilled to few steps."""
    inference_lora_path: str | None = None
    """LoRA that is there in samples and not while training, for example one for fewer steps."""
    model_kwargs: dict[str, Any] = {}
    """Settings that only this family has, for example train_high_noise of Wan 2.2."""
    quantize: bool = False
    """Hold the frozen weights in few bits: half or a quarter of the memory, and a little less exact. Not with network full."""
    qtype: QuantizedType = "qfloat8"
    """How few. qfloat8, qint8, int8, float8: half the memory, hardly a difference; qint4, nf4, fp4: a quarter; qint2: for trying;
    uint2 to uint7: so many bits, for an accuracy recovery adapter."""
    accuracy_recovery_adapter: str | None = None
    """LoRA that makes up for the errors of qtype uint2 to uint7, in training and in samples, and is not saved. A file, or owner/name/file
    on the hub; also written qtype: uint3|owner/name/file."""
    quantize_te: bool | None = None
    """The same for the text encoders. Left out: as quantize."""
    qtype_te: QuantizedType = "qfloat8"
    """How few bits the weights of the text encoders have."""
    quantize_kwargs: QuantizedLayers = QuantizedLayers()
    """Which layers are quantized."""
    low_vram: bool = False
    """Quantize layer by layer, so that the model never has to fit on the card as it was. For cards that it does not fit on."""
    layer_offloading: bool = False
    """Keep frozen weights in the computer's memory, and copy each to the card when its layer computes. Slower. Not with network full."""
    layer_offloading_transformer_percent: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the denoiser's blocks that are kept there. 1 is all of them."""
    compile: Literal["blocks"] | None = None
    """blocks: compile the blocks that the denoiser repeats. The first step of each picture size takes minutes, the others are faster."""

    @model_validator(mode="before")
    @classmethod
    def _adapter_after_the_bar(cls, given: Any) -> Any:
        kind, bar, adapter = str(given.get("qtype")).partition("|") if isinstance(given, Mapping) else ("", "", "")
        return {**given, "qtype": kind, "accuracy_recovery_adapter": adapter} if bar else given


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

"""Jobs that make weights out of weights that were trained: the average of checkpoints, a LoRA out of a whole model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from ..base import Dtype, Job, ModelSection


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

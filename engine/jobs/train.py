"""The train job: a LoRA or all weights, of any family. Sections and keys are named as AI Toolkit names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from .base import AnyDtype, Dtype, Job, ModelSection, SampleSettings, Strict
from .data import Dataset


class TrainModel(ModelSection):
    """Which base model is trained."""

    only_if_contains: list[str] = []
    """Train only the weights whose names contain one of these. Only with network full."""
    ignore_if_contains: list[str] = []
    """Leave the weights alone whose names contain one of these. Only with network full."""

    def for_drawing(self) -> ModelSection:
        """The same model, as pictures are made with it."""
        return ModelSection(**self.model_dump(include=set(ModelSection.model_fields)))


class Adapter(Strict):
    """A small file of changes that other tools load on top of the base model."""

    type: str
    rank: Annotated[int, Field(ge=1, le=1024, validation_alias=AliasChoices("rank", "linear"))] = 16
    """Size of the update. 16 suits a character, 32 to 64 a style."""
    alpha: Annotated[
        float | None, Field(gt=0, validation_alias=AliasChoices("alpha", "linear_alpha"))
    ] = None
    """Scale of the update; the update is multiplied by alpha / rank. Left out: the same as rank."""
    conv: Annotated[int | None, Field(ge=1, le=1024)] = None
    """Size of the update of 3x3 convolutions, in models that have them. Left out: they are not trained."""
    conv_alpha: Annotated[float | None, Field(gt=0)] = None
    """Scale of the update of 3x3 convolutions. Left out: the same as conv."""
    only_if_contains: list[str] = []
    """Attach only to layers whose names contain one of these."""
    ignore_if_contains: list[str] = []
    """Leave out layers whose names contain one of these."""


class Lora(Adapter):
    """Two thin matrices beside each layer. Small, and read by every tool."""

    type: Literal["lora"] = "lora"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the inputs that are left out at random in each step. Helps against learning by heart."""


class Lokr(Adapter):
    """Few numbers that act on whole layers: a product of two factors. For ComfyUI and Forge."""

    type: Literal["lokr"] = "lokr"
    lokr_full_rank: bool = True
    """Learn both factors as whole matrices. Then rank and alpha have no effect."""
    lokr_factor: Annotated[int | None, Field(ge=2, le=1024), BeforeValidator(lambda value: None if value == -1 else value)] = None
    """Size of the smaller factor. A larger one gives a smaller file: 4 learns most, 32 least. Left out, or -1: as large as the other."""


class Loha(Adapter):
    """The product of two LoRAs, value by value: richer than its size, slower to train. For ComfyUI and Forge."""

    type: Literal["loha"] = "loha"


class Dora(Adapter):
    """A LoRA that learns direction and strength of each layer apart. Learns more with a low rank, and takes longer."""

    type: Literal["dora"] = "dora"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the inputs that are left out at random in each step. Helps against learning by heart."""


class Full(Strict):
    """All weights of the model. Needs several times the memory; gives a whole model."""

    type: Literal["full"] = "full"


def _a_lora_unless_said(value: Any) -> Any:
    return {"type": "lora", **value} if isinstance(value, Mapping) else value


Network = Annotated[Lora | Lokr | Loha | Dora | Full, Field(discriminator="type"), BeforeValidator(_a_lora_unless_said)]


class Ema(Strict):
    """A running average of the weights: steadier results from long runs."""

    use_ema: bool = False
    """Sample and save the average instead of the newest weights."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """How slowly the average follows. 0.99 suits hundreds of steps, 0.999 thousands."""


OptimizerName = Literal["adamw", "adamw8bit"]
ScheduleName = Literal[
    "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial", "warmup_stable_decay"
]
TimestepType = Literal["sigmoid", "linear", "shift", "flux_shift"]


class Train(Strict):
    """How it learns."""

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 2000
    """Optimizer steps in all."""
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Learning rate: size of a step. Halve it when colours turn harsh early."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 1
    """Pictures at once. More is steadier and needs memory."""
    gradient_accumulation: Annotated[
        int, Field(ge=1, le=1024, validation_alias=AliasChoices("gradient_accumulation", "gradient_accumulation_steps"))
    ] = 1
    """Batches that make one step: N of them learn exactly as a batch N times as large, in the memory of one."""
    optimizer: OptimizerName = "adamw8bit"
    """How steps are taken. adamw8bit saves memory; on a processor it is adamw."""
    optimizer_params: dict[str, Any] = {}
    """Further settings of the optimizer, for example weight_decay."""
    lr_scheduler: ScheduleName = "constant"
    """How the learning rate changes over the run."""
    lr_warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps in which the learning rate rises from nothing."""
    lr_scheduler_params: dict[str, Any] = {}
    """Further settings of the schedule, for example num_decay_steps."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients longer than this are shortened to it."""
    timestep_type: TimestepType | None = None
    """Which noise levels are practised most. sigmoid: the middle; shift, flux_shift: the high ones; linear: all alike. Left out: what suits the model."""
    dtype: AnyDtype = "auto"
    """Precision of the arithmetic. auto: bf16 on a graphics card, fp32 on a processor."""
    gradient_checkpointing: bool = True
    """Saves much memory for about a third more time."""
    train_text_encoder: bool = False
    """Train the text encoders too. A LoRA trains those of Stable Diffusion only; all weights are trained of any model."""
    ema_config: Ema = Ema()
    """Running average of the weights."""
    switch_boundary_every: Annotated[int, Field(ge=1, le=10000)] = 1
    """Batches in a row for each of the two experts of a model that has them."""
    seed: int = 42
    """Order of pictures, noise and everything else that is drawn follows from it."""


class Sample(SampleSettings):
    """Pictures made during the run."""

    sample_every: Annotated[int, Field(ge=1)] | None = 250
    """Steps between rounds of samples. Left empty: none."""
    skip_first_sample: bool = False
    """Do not make pictures with the base model before the first step."""


class Save(Strict):
    """What is kept."""

    save_every: Annotated[int, Field(ge=1)] | None = 250
    """Steps between checkpoints. Left empty: only at the end."""
    max_step_saves_to_keep: Annotated[int, Field(ge=0, le=10000)] = 8
    """Checkpoints kept besides the final one; older ones make room. 0 keeps only the final one."""
    max_states_to_keep: Annotated[int, Field(ge=1, le=100)] = 1
    """Checkpoints whose exact state is kept too, so that the run can continue from them. A state is several times larger."""
    dtype: Dtype = "bf16"
    """Precision of the saved weights."""
    format: Literal["auto", "diffusers", "comfyui", "kohya"] = "auto"
    """Names inside the file. auto: those that most tools read for this family."""


class Logging(Strict):
    """What is told while it runs."""

    log_every: Annotated[int, Field(ge=1)] = 1
    """Steps between lines of the log."""


class TrainJob(Job):
    """Teach a model from pictures."""

    title: ClassVar[str] = "Train"
    kind: Literal["train"] = "train"
    trigger_word: str | None = None
    """Words that call it up in a prompt. They take the place of [trigger] in captions and sample prompts."""
    model: TrainModel
    network: Network = Lora()
    """What is trained."""
    datasets: Annotated[list[Dataset], Field(min_length=1)]
    """Folders of pictures."""
    train: Train = Train()
    sample: Sample = Sample()
    save: Save = Save()
    logging: Logging = Logging()

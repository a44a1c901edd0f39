"""The train job: a LoRA or all weights, of any family. Sections and keys are named as AI Toolkit names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, BeforeValidator, Field, model_validator

from .adapters import AdapterSection
from .base import AnyDtype, Dtype, Job, ModelSection, SampleSettings, Strict
from .data import Dataset
from .networks import Decorator, Embedding, Lora, Network
from .validation import Validation


class TrainModel(ModelSection):
    """Which base model is trained."""

    only_if_contains: list[str] = []
    """Train only the weights whose names contain one of these. Only with network full."""
    ignore_if_contains: list[str] = []
    """Leave the weights alone whose names contain one of these. Only with network full."""

    def for_drawing(self) -> ModelSection:
        """The same model, as pictures are made with it."""
        return ModelSection(**self.model_dump(include=set(ModelSection.model_fields)))


class Ema(Strict):
    """A running average of the weights: steadier results from long runs."""

    use_ema: bool = False
    """Sample and save the average instead of the newest weights."""
    ema_decay: Annotated[float, Field(gt=0, lt=1)] = 0.99
    """How slowly the average follows. 0.99 suits hundreds of steps, 0.999 thousands."""


OptimizerName = Literal[
    "adamw", "adamw8bit", "adam", "adam8bit", "adafactor", "adagrad", "ademamix", "ademamix8bit", "automagic", "came",
    "dadaptadagrad", "dadaptadam", "dadaptlion", "lion", "lion8bit", "muon",
    "prodigy", "prodigy8bit", "prodigy-schedule-free", "schedule-free",
]  # fmt: skip
OTHER_SPELLINGS: dict[str, OptimizerName] = {
    "adam8": "adam8bit", "adamw8": "adamw8bit", "prodigyopt": "prodigy", "prodigyplus": "prodigy-schedule-free",
    "dadaptation": "dadaptadam", "dadaptationadam": "dadaptadam", "dadaptationlion": "dadaptlion", "dadaptationadagrad": "dadaptadagrad",
    "schedulefree": "schedule-free", "schedule-free-adamw": "schedule-free", "adamw-schedule-free": "schedule-free",
    "adamwschedulefree": "schedule-free", "prodigyschedulefree": "prodigy-schedule-free",
}  # fmt: skip
"""As other tools write the names → ours."""
ScheduleName = Literal[
    "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial", "step", "piecewise_constant",
    "warmup_stable_decay",
]  # fmt: skip


def _ours(name: Any) -> Any:
    plain = str(name).lower().replace("_", "-")
    return OTHER_SPELLINGS.get(plain, plain)


TimestepType = Literal[
    "sigmoid", "linear", "weighted", "shift", "flux_shift", "lumina2_shift", "lognorm_blend",
    "next_sample", "one_step", "two_step", "four_step", "eight_step",
]  # fmt: skip
Bias = Literal["balanced", "content", "style"]
LossType = Literal["mse", "mae", "pseudo_huber", "smooth_l1", "wavelet", "stepped"]


class Train(Strict):
    """How it learns."""

    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 2000
    """Optimizer steps in all."""
    start_step: Annotated[int, Field(ge=0)] = 0
    """Begin to count at this step, where weights from elsewhere are trained further (network.pretrained_lora_path): so many of the steps count as done."""
    lr: Annotated[float, Field(gt=0, le=1)] = 1e-4
    """Learning rate: size of a step. Halve it when colours turn harsh early."""
    unet_lr: Annotated[float | None, Field(gt=0, le=1)] = None
    """Learning rate of the model that draws. Left out: lr."""
    text_encoder_lr: Annotated[float | None, Field(gt=0, le=1)] = None
    """Learning rate of the text encoders, where they are trained. Left out: lr."""
    embedding_lr: Annotated[float | None, Field(gt=0, le=1)] = None
    """Learning rate of the new word of an embedding. Left out: lr."""
    loraplus_lr_ratio: Annotated[float | None, Field(ge=1, le=256)] = None
    """LoRA+: the second matrix of each layer of a LoRA or DoRA learns so many times faster than the first; 16 is usual. Left out: both alike."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 1
    """Pictures at once. More is steadier and needs memory."""
    gradient_accumulation: Annotated[
        int, Field(ge=1, le=1024, validation_alias=AliasChoices("gradient_accumulation", "gradient_accumulation_steps"))
    ] = 1
    """Batches that make one step: N of them learn exactly as a batch N times as large, in the memory of one."""
    optimizer: Annotated[OptimizerName, BeforeValidator(_ours)] = "adamw8bit"
    """How steps are taken. Names with 8bit save memory on a graphics card; on a processor they are those without. prodigy and dadapt… find the
    learning rate by themselves (set lr to 1), and wait for the card in each step; automagic finds one for each weight; schedule-free needs no schedule and averages the weights."""
    optimizer_params: dict[str, Any] = {}
    """Further settings of the optimizer, for example weight_decay. Those that it does not have are an error."""
    lr_scheduler: ScheduleName = "constant"
    """How the learning rate changes over the run. linear, cosine, polynomial: down to the end; cosine_with_restarts: down, and up again, num_cycles times;
    step: times gamma every step_size steps; piecewise_constant: as step_rules say; warmup_stable_decay: down over the last num_decay_steps."""
    lr_warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps in which the learning rate rises from nothing."""
    lr_scheduler_params: dict[str, Any] = {}
    """Further settings of the schedule, for example num_decay_steps. Those that it does not have are an error."""
    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Gradients longer than this are shortened to it. Left empty: never."""
    fused_backward_pass: bool = False
    """With network full, each weight makes its step as soon as its gradient is there, and the gradient is let go: saves their memory.
    max_grad_norm holds for each weight by itself then."""
    timestep_type: TimestepType | None = None
    """Which noise levels are practised most. sigmoid: the middle; shift, flux_shift, lumina2_shift, lognorm_blend: the high ones; linear: all alike;
    weighted: all alike, and the high ones count more; next_sample, one_step to eight_step: those of a sampler with so many steps. Left out: what suits the model."""
    content_or_style: Bias = "balanced"
    """content: more of the high noise levels, where it is decided what is where; style: more of the low ones, where it is drawn."""
    min_denoising_steps: Annotated[int, Field(ge=0, le=998)] = 0
    """Leave out the noisiest so many of 1000 noise levels."""
    max_denoising_steps: Annotated[int, Field(ge=1, le=999)] = 999
    """Leave out the noise levels after that one of 1000, counted from the noisiest."""
    next_sample_timesteps: Annotated[int, Field(ge=2, le=1000)] = 8
    """Steps of the sampler whose noise levels next_sample takes."""
    stratified_timesteps: bool = False
    """Spread the noise levels of a batch evenly instead of drawing each by itself: a steadier loss at the same cost."""
    linear_timesteps: bool = False
    """The middle noise levels count most in the loss, the outermost not at all."""
    linear_timesteps2: bool = False
    """The same for the high noise levels; the low ones all count as the middle does."""
    loss_type: LossType = "mse"
    """How a wrong answer counts. mse: by its square; mae: by its size; pseudo_huber, smooth_l1: between the two, so that outliers count less;
    wavelet: details count twice; stepped: by how far one sampler step would lead astray."""
    max_loss: Annotated[float | None, Field(gt=0)] = None
    """A picture whose loss is larger counts only as much as if it were this."""
    min_snr_gamma: Annotated[float | None, Field(gt=0)] = None
    """Noise levels with little noise count less: 5 is usual. Only for models that learnt to denoise, such as Stable Diffusion."""
    snr_gamma: Annotated[float | None, Field(gt=0)] = None
    """The same, and those with much noise count more. Only for models that learnt to denoise."""
    noise_offset: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Add a shade to the noise, so that very dark and very light pictures can be learned: 0.05 is usual, for Stable Diffusion."""
    noise_multiplier: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Strength of the noise."""
    random_noise_multiplier: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Vary the strength of the noise from picture to picture, by so much."""
    random_noise_shift: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Vary the mean of the noise in each channel, by so much."""
    optimal_noise_pairing_samples: Annotated[int, Field(ge=1, le=1024)] = 1
    """Draw so many noises for each picture and take the one that is nearest to it."""
    force_consistent_noise: bool = False
    """Each picture always gets the same noise."""
    do_differential_guidance: bool = False
    """Aim past the right answer, further the more wrong the answer is: learns faster, and overshoots sooner."""
    differential_guidance_scale: Annotated[float, Field(ge=0, le=100)] = 3.0
    """How far. 1 is the right answer itself."""
    do_guidance_loss: bool = False
    """Learn the answer as guidance would change it, away from that for unconditional_prompt: for models that are asked without guidance."""
    guidance_loss_target: Annotated[float, Field(ge=0, le=100)] | tuple[float, float] = 3.0
    """How strong that guidance is; two numbers: drawn between them."""
    do_guidance_loss_cfg_zero: bool = False
    """Measure it as CFG-Zero* does, which fits the unguided answer to the right one first."""
    guidance_loss_schedule: Literal["constant", "sigma"] = "constant"
    """sigma: less of it where there is less noise."""
    do_cfg: bool = False
    """Ask the model with guidance in training too, so that its guided answer is what learns. Takes twice the time and memory."""
    cfg_scale: Annotated[float, Field(ge=0, le=100)] = 1.0
    """How strong that guidance is. 1 is none."""
    max_cfg_scale: Annotated[float | None, Field(gt=0, le=100)] = None
    """Draw it anew for each picture, between cfg_scale and this."""
    bypass_guidance_embedding: bool = False
    """Train FLUX as if it had no guidance embedding: what it is told about guidance is left aside, and is there again when pictures are drawn. Flex is always trained so."""
    unconditional_prompt: str = ""
    """The prompt that guidance leads away from."""
    mean_flow: bool = False
    """Experimental, for models that learnt a flow: learn the way to the picture in one step, instead of the direction here. Samples then take sample_steps 1; with
    more they get worse. timestep_type linear or shift suits it."""
    t0_loss_target: bool = False
    """Compare the pictures that answers lead to, instead of the answers: levels with little noise count little. With timestep_type one_step to eight_step: those of a
    sampler with few steps, which is experimental."""
    do_fft_loss: bool = False
    """Compare how strongly each frequency is in those pictures too: against results that are too smooth. For models that learnt a flow."""
    do_fft_velocity_equiv_weight: bool = False
    """Let all noise levels count about alike in that."""
    diff_output_preservation: bool = False
    """Keep what the model knew of the class: with its word in the place of the trigger words, answers are to stay as they were. Needs trigger_word; takes twice as long."""
    diff_output_preservation_class: str = ""
    """The word for the class, for example woman."""
    diff_output_preservation_multiplier: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """How much that counts."""
    blank_prompt_preservation: bool = False
    """Keep what the model draws without a prompt. Takes twice as long."""
    blank_prompt_preservation_multiplier: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """How much that counts."""
    dtype: AnyDtype = "auto"
    """Precision of the arithmetic. auto: bf16 on a graphics card, fp32 on a processor."""
    weights_dtype: Literal["fp32", "bf16"] = "fp32"
    """With network full, precision of the weights that learn. bf16 halves the memory of weights and gradients; steps are rounded at random, so that small ones still add up.
    Needs dtype bf16."""
    gradient_checkpointing: bool = True
    """Saves much memory for about a third more time."""
    train_unet: bool = True
    """Train the model that draws. Off: the text encoders alone, with train_text_encoder."""
    train_text_encoder: bool = False
    """Train the text encoders too. A LoRA trains those of Stable Diffusion only; all weights are trained of any model."""
    ema_config: Ema = Ema()
    """Running average of the weights."""
    reg_weight: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """How much the pictures of regularisation sets (is_reg) count."""
    inverted_mask_prior: bool = False
    """Where masks are black, hold on to what the base model says, instead of leaving it to chance."""
    inverted_mask_prior_multiplier: Annotated[float, Field(ge=0, le=1000)] = 0.5
    """How much that counts."""
    merge_network_on_save: bool = False
    """Save whole models instead of small files: every save_every steps what was learned becomes part of the base model, and a new LoRA begins on top of it."""
    merge_network_on_save_strength: Annotated[float, Field(gt=0, le=10)] = 1.0
    """How strongly it becomes part of it."""
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
    force_first_sample: bool = False
    """Make pictures each time that the run goes on too, before its next step."""
    sample_start_step: Annotated[int, Field(ge=0)] = 0
    """No rounds of samples before this step, besides those before the first."""


class Save(Strict):
    """What is kept."""

    save_every: Annotated[int, Field(ge=1)] | None = 250
    """Steps between checkpoints. Left empty: only at the end."""
    max_step_saves_to_keep: Annotated[int, Field(ge=0, le=10000)] = 8
    """Checkpoints kept besides the final one; older ones make room. 0: while it runs only the newest is there, at the end only the final one."""
    max_states_to_keep: Annotated[int, Field(ge=1, le=100)] = 1
    """Checkpoints whose exact state is kept too, so that the run can continue from them. A state is several times larger."""
    dtype: Dtype = "bf16"
    """Precision of the saved weights."""
    format: Literal["auto", "diffusers", "comfyui", "kohya"] = "auto"
    """Names inside the file. auto: those that most tools read for this family."""
    push_to_hub: bool = False
    """At the end, upload the weights to the Hugging Face hub, with a page that shows the samples. Needs hf_repo_id and a token in the settings."""
    hf_repo_id: str | None = None
    """Where to, as owner/name. It is made if it is not there."""
    hf_private: bool = False
    """Make it so that only you can see it."""


class Logging(Strict):
    """What is told while it runs."""

    log_every: Annotated[int, Field(ge=1)] = 1
    """Steps between lines of the log."""
    performance_log_every: Annotated[int | None, Field(ge=1)] = None
    """Steps between measurements of speed: where the time goes, pictures a second, and the share of what the device can do. Left empty: none, at no cost."""
    log_dir: str | None = None
    """Folder for TensorBoard, which finds each run under its name in it. Needs the package tensorboardX."""
    use_wandb: bool = False
    """Send figures and samples to Weights & Biases. Needs the package wandb, and its login."""
    use_trackio: bool = False
    """Keep figures and samples for Trackio, on this computer. Needs the package trackio."""
    project_name: str = "darkroom"
    """Project there."""
    run_name: str | None = None
    """Name of the run there. Left out: its own."""
    offline: bool = False
    """Keep what is meant for Weights & Biases in the run's folder, to be sent later with wandb sync."""


class Slider(Strict):
    """A LoRA that is turned from one thing to its opposite by its strength. Pictures give only the layout; their captions are not used."""

    target_class: str
    """What is changed, for example: a woman."""
    positive_prompt: str
    """What it becomes at full strength, for example: an old woman."""
    negative_prompt: str = ""
    """What it becomes at the strength -1, for example: a young woman."""
    anchor_class: str | None = None
    """What is to stay as it is, for example: a man."""
    guidance_strength: Annotated[float, Field(gt=0, le=100)] = 3.0
    """How far it goes."""
    anchor_strength: Annotated[float, Field(ge=0, le=100)] = 1.0
    """How much the anchor counts."""


class PairSlider(Strict):
    """A LoRA that is turned from one picture to its opposite by its strength. Each picture's opposite lies in control_path, under the same name.

    For a model that is shown reference pictures, those come first, and the folder of the opposites is the last.
    """

    target_class: str | None = None
    """What both pictures of a pair are called, for example: a face. Left out: each pair has the caption of its picture."""
    strength: Annotated[float, Field(gt=0, le=10)] = 1.0
    """Strength at which it is as the pictures, and with a minus as their opposites. Lower: it goes on beyond them at 1."""


class Replacement(Strict):
    """What is drawn instead of something."""

    concept: Annotated[str, Field(min_length=1)]
    """Words in the captions."""
    replacement: str
    """Words that the base model is asked with in their place; its answer is what is learned."""


class TrainJob(Job):
    """Teach a model from pictures."""

    title: ClassVar[str] = "Train"
    kind: Literal["train"] = "train"
    trigger_word: str | None = None
    """Words that call it up in a prompt. They take the place of [trigger] in captions and sample prompts."""
    model: TrainModel
    network: Network = Lora()
    """What is trained."""
    embedding: Embedding | None = None
    """Teach the text encoders a new word, beside the network; alone with network.type none, which is what it is where network is left out."""
    decorator: Decorator | None = None
    """Learn vectors that go with every prompt, beside the network or alone."""
    adapter: AdapterSection | None = None
    """Train a small model beside the frozen base model, which follows control pictures. It is trained alone: network is left out."""
    datasets: Annotated[list[Dataset], Field(min_length=1)]
    """Folders of pictures."""
    slider: Slider | None = None
    """Train a slider, from words alone."""
    pair_slider: PairSlider | None = None
    """Train a slider from pairs of pictures."""
    replacements: list[Replacement] = []
    """Make the model draw one thing where another is asked for, from words alone."""
    train: Train = Train()
    validation: Validation = Validation()
    sample: Sample = Sample()
    first_sample: SampleSettings | None = None
    """What is drawn before the first step, with prompts and settings of its own. Left out: as in sample."""
    save: Save = Save()
    logging: Logging = Logging()

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, given: Any) -> Any:
        """An embedding, a decorator or an adapter without a network is trained alone."""
        beside = isinstance(given, Mapping) and any(given.get(section) is not None for section in ("embedding", "decorator", "adapter"))
        return {**given, "network": {"type": "none"}} if beside and "network" not in given else given

    @property
    def triggers(self) -> str | None:
        """What [trigger] stands for."""
        return self.trigger_word or (self.embedding.trigger if self.embedding else None)

    def trigger_of(self, dataset: Dataset) -> str | None:
        """Of one of its data sets. Regularisation shows what is known already, so it carries none."""
        return None if dataset.is_reg else dataset.trigger_word or self.triggers

    @property
    def reads_in_steps(self) -> bool:
        """Whether the text encoders read the prompts in every step, because something of them learns."""
        return self.train.train_text_encoder or self.embedding is not None

"""What the engine must know about one model architecture.

The stock diffusers pipeline already knows how to load, to encode prompts and to sample. A family adds what training
needs: latents from pixels, and the model's answer to noisy latents. Shapes: B batch, C latent channels, F frames, H and W
latent height and width, L text tokens, D features. Latents are BCHW, and BCFHW where the family is one of videos.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from diffusers import DiffusionPipeline
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .defaults import ModelDefaults
from .sources import Source

Conditioning = dict[str, Tensor]
"""Text features, named as the pipeline's ``__call__`` names its arguments. The first dimension is the batch.

Latents of reference pictures stand beside them in training: control_0, control_1 and so on.
"""


@dataclass(frozen=True)
class Request:
    """One picture, or one video, to be made. Sizes in pixels."""

    prompt: str
    negative: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    strength: float = 1.0
    controls: tuple[str, ...] = ()
    """Paths of reference pictures."""
    frames: int = 1
    fps: int = 16


@dataclass(frozen=True)
class Stage:
    """A denoiser, and the noise levels that it is asked at: from ``low`` to ``high``, as shares of noise."""

    part: str
    low: float = 0.0
    high: float = 1.0
    title: str = ""
    """What its file is called by, after the name of the run; empty where there is one file."""


@dataclass(frozen=True)
class Guest:
    """A part that is a model of its own, which the base model's repository does not hold."""

    setting: str
    """The one of ``model.model_kwargs`` that says where it is."""
    class_name: str
    """In transformers."""
    tokenizer: str
    """The pipeline's part that is its tokenizer."""


class ModelFamily(ABC):
    """One architecture on a diffusers pipeline, whose parts may be loaded or absent."""

    name: ClassVar[str]
    pipeline_class: ClassVar[type[DiffusionPipeline]]
    lora_targets: ClassVar[str]
    """Regular expression over the names of the denoiser's modules."""
    text_lora_targets: ClassVar[Mapping[str, str]] = {}
    """The same for each text encoder that can carry a LoRA, by its part. Empty: only all their weights can be trained."""
    word_keys: ClassVar[Mapping[str, str]] = {}
    """Text encoder that can be taught a new word → what its vectors are called in files. Empty: none can."""
    decorated: ClassVar[str | None] = None
    """Of the conditioning, the text features that learned vectors can be put behind: nothing in them is hidden by a mask. None: none can."""
    latent_multiple: ClassVar[int] = 2
    """Sides of the latents are multiples of this: the denoiser's patch."""
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder",)
    vae_parts: ClassVar[tuple[str, ...]] = ("vae",)
    denoiser_part: ClassVar[str] = "transformer"
    experts: ClassVar[tuple[str, ...]] = ()
    """Further denoisers of the pipeline, for other noise levels."""
    drawing_parts: ClassVar[tuple[str, ...]] = ()
    """Further models that are asked only while pictures are drawn: never trained, and on the device only then."""
    kwargs: Mapping[str, Any] = {}
    """Settings of its own, in ``model.model_kwargs``, and their defaults."""
    guests: ClassVar[Mapping[str, Guest]] = {}
    """Parts that come from elsewhere unless the base model has them."""
    pipeline_options: ClassVar[Mapping[str, Any]] = {}
    """What the pipeline is opened with, for example None for a part that is never needed."""
    default_form: ClassVar[Literal["diffusers", "comfyui", "kohya"]] = "diffusers"
    """Names in saved LoRA files that most tools read for this family."""
    objective: ClassVar[Literal["flow", "denoising"]] = "flow"
    """What ``predict`` answers: the velocity of rectified flow, or what the scheduler's ``prediction_type`` says."""
    bypasses_guidance: bool | None = None
    """Whether it is trained as if it had no guidance embedding, and drawn with it. None: it has none to bypass."""
    is_video: ClassVar[bool] = False
    min_controls: ClassVar[int] = 0
    """Reference pictures that must go with a prompt."""
    max_controls: ClassVar[int] = 0
    """Reference pictures that may go with a prompt."""
    inpaints: ClassVar[bool] = False
    """Whether it looks at pictures of which a part is drawn anew: ``practise`` is told which by ``anew``, B 1 h w of 0 and 1, in the conditioning."""
    own_frame: ClassVar[bool] = False
    """Whether the reference picture is the first frame of the video itself, where the data names no other."""
    keeps_reference_sizes: ClassVar[bool] = False
    """Whether ``reference_size`` says something else than the size of the picture."""
    sees_controls: ClassVar[bool] = False
    """Whether the text encoder reads the reference pictures too: then ``encode_prompts`` takes them."""
    text_batch: ClassVar[int] = 32
    """Prompts that are encoded at once; 1 where features are as long as the prompt, so that they do not depend on its neighbours."""

    def __init__(self, pipe: DiffusionPipeline, defaults: ModelDefaults, folder: Path):
        self.pipe, self.defaults, self.folder = pipe, defaults, folder
        self.sources: dict[str, Source] = {}

    @classmethod
    def own_parts(cls, folder: Path) -> dict[str, Any]:
        """Small parts of the model in ``folder`` that diffusers cannot load by itself, by name."""
        return {}

    @property
    def title(self) -> str:
        """What people call it."""
        return self.defaults.title or self.name

    @property
    def denoiser(self) -> torch.nn.Module:
        return getattr(self.pipe, self.denoiser_part)

    @classmethod
    def denoiser_parts(cls) -> tuple[str, ...]:
        """All denoisers of the pipeline."""
        return cls.denoiser_part, *cls.experts

    @classmethod
    def model_parts(cls) -> tuple[str, ...]:
        """All that is loaded after texts and pictures are encoded, and held alike."""
        return *cls.denoiser_parts(), *cls.drawing_parts

    @property
    def denoisers(self) -> list[torch.nn.Module]:
        return [getattr(self.pipe, part) for part in self.denoiser_parts()]

    @classmethod
    def trained_parts(cls, kwargs: Mapping[str, Any]) -> tuple[str, ...]:
        """Denoisers that learn, with these settings of ``model.model_kwargs``."""
        return cls.denoiser_parts()

    @property
    def stages(self) -> tuple[Stage, ...]:
        """What is trained, one after the other."""
        return (Stage(self.denoiser_part),)

    @property
    def pixel_multiple(self) -> int:
        """Sides of a picture are multiples of this."""
        return self.pipe.vae_scale_factor * self.latent_multiple

    @property
    def frame_multiple(self) -> int:
        """Frames of a video are a multiple of this, and one."""
        return 1

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """Text features of ``prompts``; carries gradients where the caller allows them.

        A family that ``sees_controls`` takes a second argument: the reference pictures of each prompt, as a list of lists.
        """

    @abstractmethod
    def predict(self, noisy: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """What the model says of ``noisy`` at ``sigma`` [B] in [0, 1], in the shape of ``noisy``.

        For flow that is the velocity (noise - clean), and sigma the share of noise; else sigma is the timestep over
        the number of training timesteps.
        """

    def predict_within(self, span: tuple[float, float], noisy: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """As ``predict``, where all of ``sigma`` are known to lie in ``span``, so that no denoiser is chosen by looking at them."""
        return self.predict(noisy, sigma, cond)

    @torch.no_grad()
    def encode_pixels(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the normalised latents of ``pixels``, BCHW in [-1, 1]."""
        vae = self.pipe.vae
        encoded = vae.encode(pixels.to(vae.device, vae.dtype))
        shift, scale = getattr(vae.config, "shift_factor", None) or 0.0, vae.config.scaling_factor
        if "latent" in encoded:  # of a DC-AE, which knows one answer and no distribution
            return (encoded.latent - shift) * scale, torch.zeros_like(encoded.latent)
        posterior = encoded.latent_dist
        return (posterior.mean - shift) * scale, posterior.std * scale

    @classmethod  # noqa: B027
    def check_settings(cls, kwargs: Mapping[str, Any]) -> None:
        """A JobError where settings of ``model.model_kwargs`` contradict each other. Asked before anything is loaded."""

    def encode_reference(self, pixels: Tensor, frames: int = 1) -> Tensor:
        """Latents of a reference picture, BCHW in [-1, 1], for a picture or a video of so many frames."""
        return self.encode_pixels(pixels)[0]

    def reference_size(self, width: int, height: int, beside: tuple[int, int]) -> tuple[int, int]:
        """Width and height at which a reference picture of that size is shown beside a picture of ``beside``, in pixels."""
        return beside

    def practise(self, clean: Tensor, cond: Conditioning, rng: torch.Generator) -> Conditioning:
        """The conditioning of a training step, where the family makes some of it from the ``clean`` latents or leaves some out."""
        return cond

    def without_effect(self, erased: bool) -> list[str]:
        """Settings of ``model.model_kwargs`` that change nothing; ``erased``: the data says what of some pictures is drawn anew."""
        return []

    def counts(self, noisy: Tensor, cond: Conditioning) -> Tensor | None:
        """1 where an answer counts in the loss and 0 where the model is shown the truth; None where all count."""
        return None

    def sample(
        self, cond: Conditioning, negative: Conditioning | None, request: Request, pictures: Sequence[Image.Image] = (), **more: Any
    ) -> Image.Image | list[Image.Image]:
        """One picture, or the frames of a video, made by the stock pipeline.

        ``negative`` is given when ``wants_negative`` says so; ``pictures`` are the request's reference pictures.
        """
        generator = torch.Generator().manual_seed(request.seed)  # on the CPU: the same picture on every device
        arguments = {
            **cond,
            **(negative_names(negative) if negative else {}),
            **self.guidance(request),
            **self.references(pictures),
            **more,
        }
        if self.is_video:
            arguments |= {"num_frames": request.frames, "output_type": "pil"}
        made = self.pipe(
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            generator=generator,
            **arguments,
        )
        return made.frames[0] if self.is_video else made.images[0]

    def references(self, pictures: Sequence[Image.Image]) -> dict[str, Any]:
        """The pipeline's arguments for reference pictures."""
        return {"image": pictures[0] if self.max_controls == 1 else list(pictures)} if pictures else {}

    def guidance(self, request: Request) -> dict[str, Any]:
        """The pipeline's arguments for the request's guidance."""
        return {"guidance_scale": request.guidance}

    def wants_negative(self, request: Request) -> bool:
        """Whether the request is drawn with classifier-free guidance."""
        return request.guidance > 1


def negative_names(cond: Conditioning) -> Conditioning:
    """The same features under the names that diffusers' pipelines give the negative prompt."""
    return {f"negative_{name}": value for name, value in cond.items()}


def cut_to_size(pictures: Sequence[Image.Image], request: Request) -> list[Image.Image]:
    """Reference pictures in the size of the picture that is made, cut as in training."""
    return [ImageOps.fit(picture, (request.width, request.height), Image.Resampling.LANCZOS) for picture in pictures]


def controls_in(cond: Conditioning) -> list[Tensor]:
    """Latents of the reference pictures, in their order."""
    return [cond[f"control_{index}"] for index in range(len(cond)) if f"control_{index}" in cond]


def stack(conditionings: Sequence[Conditioning]) -> Conditioning:
    """One batch from features without a batch dimension. Shorter texts are filled up with zeros at their end, masks too."""
    return {name: pad_sequence([cond[name] for cond in conditionings], batch_first=True) for name in conditionings[0]}

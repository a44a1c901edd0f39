"""What the engine must know about one model architecture.

The stock diffusers pipeline already knows how to load, to encode prompts and to sample. A family adds what training
needs: latents from pixels, and a velocity from noisy latents. Shapes: B batch, C latent channels, F frames, H and W
latent height and width, L text tokens, D features.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import Tensor

from .defaults import ModelDefaults

Conditioning = dict[str, Tensor]
"""Text features, named as the pipeline's ``__call__`` names its arguments. The first dimension is the batch."""


@dataclass(frozen=True)
class Request:
    """One picture to be made. Sizes in pixels."""

    prompt: str
    negative: str
    width: int
    height: int
    steps: int
    guidance: float
    seed: int
    strength: float = 1.0


class ModelFamily(ABC):
    """One architecture on a diffusers pipeline, whose parts may be loaded or absent."""

    name: ClassVar[str]
    pipeline_class: ClassVar[type[DiffusionPipeline]]
    lora_targets: ClassVar[str]
    """Regular expression over the names of the denoiser's modules."""
    latent_multiple: ClassVar[int] = 2
    """Sides of the latents are multiples of this: the denoiser's patch."""
    text_parts: ClassVar[tuple[str, ...]] = ("text_encoder",)
    vae_parts: ClassVar[tuple[str, ...]] = ("vae",)
    denoiser_part: ClassVar[str] = "transformer"
    default_form: ClassVar[Literal["diffusers", "comfyui"]] = "diffusers"
    """Names in saved LoRA files that most tools read for this family."""

    def __init__(self, pipe: DiffusionPipeline, defaults: ModelDefaults, folder: Path):
        self.pipe, self.defaults, self.folder = pipe, defaults, folder

    @property
    def denoiser(self) -> torch.nn.Module:
        return getattr(self.pipe, self.denoiser_part)

    @property
    def pixel_multiple(self) -> int:
        """Sides of a picture are multiples of this."""
        return self.pipe.vae_scale_factor * self.latent_multiple

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> Conditioning:
        """Text features of ``prompts``; carries gradients where the caller allows them."""

    @abstractmethod
    def predict(self, noisy: Tensor, sigma: Tensor, cond: Conditioning) -> Tensor:
        """Velocity (noise - clean) for ``noisy`` at ``sigma`` [B] in [0, 1], in the shape of ``noisy``."""

    @torch.no_grad()
    def encode_pixels(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the normalised latents of ``pixels``, BCHW in [-1, 1]."""
        vae = self.pipe.vae
        posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        shift, scale = getattr(vae.config, "shift_factor", None) or 0.0, vae.config.scaling_factor
        return (posterior.mean - shift) * scale, posterior.std * scale

    def sample(
        self, cond: Conditioning, negative: Conditioning | None, request: Request, **more: Any
    ) -> Image.Image:
        """One picture, made by the stock pipeline. ``negative`` is given when ``wants_negative`` says so."""
        generator = torch.Generator().manual_seed(
            request.seed
        )  # on the CPU: the same picture on every device
        arguments = {
            **cond,
            **(negative_names(negative) if negative else {}),
            **self.guidance(request),
            **more,
        }
        return self.pipe(
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            generator=generator,
            **arguments,
        ).images[0]

    def guidance(self, request: Request) -> dict[str, Any]:
        """The pipeline's arguments for the request's guidance."""
        return {"guidance_scale": request.guidance}

    def wants_negative(self, request: Request) -> bool:
        """Whether the request is drawn with classifier-free guidance."""
        return request.guidance > 1


def negative_names(cond: Conditioning) -> Conditioning:
    """The same features under the names that diffusers' pipelines give the negative prompt."""
    return {f"negative_{name}": value for name, value in cond.items()}


def stack(conditionings: Sequence[Conditioning]) -> Conditioning:
    """One batch from features without a batch dimension."""
    return {name: torch.stack([cond[name] for cond in conditionings]) for name in conditionings[0]}

"""The vae job: train the autoencoder that turns pictures into latents and back."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .base import Job, Strict


class VaeDataset(Strict):
    """One folder of pictures. Captions are not read."""

    path: str
    """Folder with the pictures. It is read, never written."""


class VaeTrain(Strict):
    """How it learns."""

    steps: Annotated[int, Field(ge=1)] = 1000
    """Optimizer steps in all."""
    lr: Annotated[float, Field(gt=0, le=1)] = 2e-3
    """Learning rate at its highest; it warms up, then falls to nothing along a cosine."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Pictures at once."""
    resolution: Annotated[int, Field(ge=16, le=2048)] = 64
    """Pixels of a side; pictures are cropped to a square."""
    holdout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the pictures that is never trained on, and measured instead."""
    mse_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the squared difference."""
    mae_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the plain difference."""
    edge_weight: Annotated[float, Field(ge=0)] = 0.5
    """Weight of the difference between neighbouring pixels: keeps edges sharp."""
    kld_weight: Annotated[float, Field(ge=0)] = 3e-4
    """Weight that keeps latents near a normal distribution."""
    perceptual_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the difference that perceptual_model sees, as in LPIPS: keeps textures that plain differences smooth away. 0.1 to 1 is usual."""
    perceptual_model: str | None = None
    """A vision model of transformers, a folder or an id on the hub: microsoft/resnet-18, facebook/dinov2-small. It looks and does not learn."""
    critic_weight: Annotated[float, Field(ge=0)] = 0.0
    """Weight of a critic that learns to tell restored pictures from real ones: sharper, and less true. 0.05 is usual, late in a training."""
    critic_start: Annotated[int, Field(ge=0)] = 0
    """Steps before the critic begins."""
    critic_lr: Annotated[float, Field(gt=0, le=1)] = 2e-4
    """Learning rate of the critic."""
    train_encoder: bool = True
    """Off: only the decoder learns. Latents stay as they are, so that models which were trained on them still fit."""
    dtype: Literal["auto", "bf16", "fp32"] = "auto"
    """Precision of the arithmetic. auto: bf16 on a graphics card, fp32 on a processor."""
    validate_every: Annotated[int, Field(ge=1)] = 250
    """Steps between measurements on the held-out pictures."""
    save_every: Annotated[int, Field(ge=1)] = 250
    """Steps between checkpoints."""
    seed: int = 42
    """Everything that is drawn follows from it."""


class VaeJob(Job):
    """Train an autoencoder."""

    title: ClassVar[str] = "Train a VAE"
    kind: Literal["vae"] = "vae"
    vae_path: str
    """Folder of the autoencoder in diffusers layout: config.json, and weights unless from_scratch."""
    from_scratch: bool = False
    """Begin with random weights of the shape that config.json gives."""
    datasets: Annotated[list[VaeDataset], Field(min_length=1)]
    """Folders of pictures."""
    train: VaeTrain = VaeTrain()

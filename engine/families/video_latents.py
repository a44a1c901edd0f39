"""Latents of autoencoders for videos (Wan, Qwen-Image), which normalise each channel by its own mean and deviation."""

from __future__ import annotations

import torch
from torch import Tensor


@torch.no_grad()
def encode_frames(vae: torch.nn.Module, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the normalised latents of ``frames``, BCFHW in [-1, 1], F = 4n + 1. Both are BCFHW."""
    posterior = vae.encode(frames.to(vae.device, vae.dtype)).latent_dist
    mean, std = (
        torch.tensor(values, device=vae.device, dtype=vae.dtype).view(1, -1, 1, 1, 1)
        for values in (vae.config.latents_mean, vae.config.latents_std)
    )
    return (posterior.mean - mean) / std, posterior.std / std

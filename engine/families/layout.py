"""Latents to tokens and back, for the transformers that read 2x2 patches.

B batch, C latent channels, H and W latent height and width, L tokens.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from diffusers import AutoencoderKLFlux2
from einops import rearrange
from torch import Tensor


def pack(latents: Tensor) -> Tensor:
    """BCHW to B L (4 C), in the order of diffusers' ``_pack_latents``."""
    return rearrange(latents, "b c (h p) (w q) -> b (h w) (c p q)", p=2, q=2)


def unpack(tokens: Tensor, *, like: Tensor) -> Tensor:
    """The first tokens, in the shape of ``like``: tokens of reference pictures that follow are dropped."""
    h, w = like.shape[-2] // 2, like.shape[-1] // 2
    return rearrange(tokens[:, : h * w], "b (h w) (c p q) -> b c (h p) (w q)", h=h, w=w, p=2, q=2)


@torch.no_grad()
def encode_by_token(
    vae: AutoencoderKLFlux2, pixels: Tensor, pack: Callable[[Tensor], Tensor], unpack: Callable[..., Tensor]
) -> tuple[Tensor, Tensor]:
    """Mean and deviation BCHW, normalised by what the autoencoder knows of each number of a token, in the order of ``pack``."""
    posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
    shift, scale = vae.bn.running_mean, (vae.bn.running_var + vae.config.batch_norm_eps).sqrt()
    mean, std = (pack(posterior.mean) - shift) / scale, pack(posterior.std) / scale
    return unpack(mean, like=posterior.mean), unpack(std, like=posterior.std)

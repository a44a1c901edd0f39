"""Latents to tokens and back, for the transformers that read 2x2 patches.

B batch, C latent channels, H and W latent height and width, L tokens.
"""

from __future__ import annotations

from einops import rearrange
from torch import Tensor


def pack(latents: Tensor) -> Tensor:
    """BCHW to B L (4 C), in the order of diffusers' ``_pack_latents``."""
    return rearrange(latents, "b c (h p) (w q) -> b (h w) (c p q)", p=2, q=2)


def unpack(tokens: Tensor, *, like: Tensor) -> Tensor:
    """The first tokens, in the shape of ``like``: tokens of reference pictures that follow are dropped."""
    h, w = like.shape[-2] // 2, like.shape[-1] // 2
    return rearrange(tokens[:, : h * w], "b (h w) (c p q) -> b c (h p) (w q)", h=h, w=w, p=2, q=2)

"""FLUX.1 dev and schnell, and whatever has their architecture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from diffusers import FluxPipeline
from diffusers.models.embeddings import CombinedTimestepTextProjEmbeddings
from torch import nn

from .base import ModelFamily
from .layout import pack, unpack


class Flux(ModelFamily):
    name = "flux"
    pipeline_class = FluxPipeline
    lora_targets = (
        r".*transformer_blocks\.\d+\."
        r"(attn\.(to_[qkv]|add_[qkv]_proj|to_out\.0|to_add_out)|ff(_context)?\.net\.(0\.proj|2)|proj_mlp|proj_out)"
    )
    text_parts = ("text_encoder", "text_encoder_2")
    word_keys = {"text_encoder": "clip_l", "text_encoder_2": "t5xxl"}
    decorated = "prompt_embeds"
    bypasses_guidance = False

    def encode_prompts(self, prompts):
        length = self.defaults.max_sequence_length or 512
        embeds, pooled, _ = self.pipe.encode_prompt(list(prompts), None, max_sequence_length=length)
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}

    def image_tokens(self, latents, cond):
        b, _, h, w = latents.shape
        ids = FluxPipeline._prepare_latent_image_ids(b, h // 2, w // 2, latents.device, latents.dtype)
        return pack(latents), ids

    def predict(self, noisy, sigma, cond):
        text = cond["prompt_embeds"]
        tokens, ids = self.image_tokens(noisy, cond)
        bypassed = self.bypasses_guidance and self.has_guidance_embedding
        with without_guidance(self.denoiser.time_text_embed) if bypassed else nullcontext():
            velocity = self.denoiser(
                hidden_states=tokens,
                encoder_hidden_states=text,
                pooled_projections=cond["pooled_prompt_embeds"],
                timestep=sigma,
                guidance=torch.ones_like(sigma) if self.has_guidance_embedding else None,
                img_ids=ids,
                txt_ids=text.new_zeros(text.shape[1], 3),
                return_dict=False,
            )[0]
        return unpack(velocity, like=noisy)

    @property
    def has_guidance_embedding(self) -> bool:
        return self.denoiser.config.guidance_embeds

    def guidance(self, request):
        # a model without the embedding can only be guided by a second, empty prompt
        return {"guidance_scale" if self.has_guidance_embedding else "true_cfg_scale": request.guidance}

    def wants_negative(self, request):
        return not self.has_guidance_embedding and request.guidance > 1


@contextmanager
def without_guidance(embedding: nn.Module) -> Iterator[None]:
    """Inside, time and text are embedded as in a model that has no guidance embedding."""
    embedding.forward = lambda time, guidance, text: CombinedTimestepTextProjEmbeddings.forward(embedding, time, text)
    try:
        yield
    finally:
        del embedding.forward

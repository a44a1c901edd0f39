"""Chroma1 Radiance: Chroma in pixel space. What it learns from are the pixels themselves."""

from __future__ import annotations

import torch

from .base import ModelFamily
from .own_pipeline import needed
from .radiance_pipeline import RadiancePipeline


class ChromaRadiance(ModelFamily):
    name = "chroma_radiance"
    pipeline_class = RadiancePipeline
    lora_targets = r"double_blocks\.\d+\.(img|txt)_(attn\.(qkv|proj)|mlp\.[02])|single_blocks\.\d+\.linear[12]"
    vae_parts = ()
    default_form = "comfyui"
    latent_multiple = 16
    text_batch = 1

    @property
    def pixel_multiple(self):
        return 32  # some of its checkpoints read patches of 32 pixels

    def encode_prompts(self, prompts, pictures=()):
        embeds, mask = self.pipe.encode_prompt(list(prompts), self.defaults.max_sequence_length or 512)
        return {"prompt_embeds": embeds, "prompt_attention_mask": mask}

    def encode_pixels(self, pixels):
        return pixels, torch.zeros_like(pixels)

    def predict(self, noisy, sigma, cond):
        return self.denoiser(noisy, sigma, cond["prompt_embeds"], needed(cond["prompt_attention_mask"]))

"""Stable Diffusion 3 and 3.5."""

from __future__ import annotations

from diffusers import StableDiffusion3Pipeline

from .base import ModelFamily
from .sd import CLIP


class SD3(ModelFamily):
    name = "sd3"
    pipeline_class = StableDiffusion3Pipeline
    lora_targets = (
        r"transformer_blocks\.\d+\."
        r"(attn2?\.(to_[qkv]|add_[qkv]_proj|to_out\.0|to_add_out)|ff(_context)?\.net\.(0\.proj|2))"
    )
    text_parts = ("text_encoder", "text_encoder_2", "text_encoder_3")
    word_keys = {"text_encoder": "clip_l", "text_encoder_2": "clip_g", "text_encoder_3": "t5xxl"}
    decorated = "prompt_embeds"
    text_lora_targets = {"text_encoder": CLIP, "text_encoder_2": CLIP}  # T5 is too large, and diffusers reads none for it

    def encode_prompts(self, prompts, pictures=()):
        length = self.defaults.max_sequence_length or 256
        embeds, _, pooled, _ = self.pipe.encode_prompt(
            list(prompts), None, None, do_classifier_free_guidance=False, max_sequence_length=length
        )
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}

    def predict(self, noisy, sigma, cond):
        return self.denoiser(
            hidden_states=noisy,
            timestep=sigma * self.pipe.scheduler.config.num_train_timesteps,
            encoder_hidden_states=cond["prompt_embeds"],
            pooled_projections=cond["pooled_prompt_embeds"],
            return_dict=False,
        )[0]

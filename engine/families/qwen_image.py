"""Qwen-Image."""

from __future__ import annotations

import torch
from diffusers import QwenImagePipeline

from .base import ModelFamily, controls_in
from .layout import pack, unpack
from .video_latents import encode_frames


class QwenImage(ModelFamily):
    name = "qwen_image"
    pipeline_class = QwenImagePipeline
    lora_targets = (
        r"transformer_blocks\.\d+\."
        r"(attn\.(to_[qkv]|add_[qkv]_proj|to_out\.0|to_add_out)|(img|txt)_mlp\.net\.(0\.proj|2))"
    )
    default_form = "comfyui"
    text_batch = 1

    def encode_prompts(self, prompts, pictures=()):
        length = self.defaults.max_sequence_length or 512
        return with_mask(*self.pipe.encode_prompt(list(prompts), max_sequence_length=length))

    def encode_pixels(self, pixels):
        # its VAE is a video VAE: one frame
        mean, std = encode_frames(self.pipe.vae, pixels[:, :, None])
        return mean[:, :, 0], std[:, :, 0]

    def predict(self, noisy, sigma, cond):
        shown = (noisy, *controls_in(cond))
        velocity = self.denoiser(
            hidden_states=torch.cat([pack(latents) for latents in shown], dim=1),
            timestep=sigma,
            encoder_hidden_states=cond["prompt_embeds"],
            # one text alone is never filled up
            encoder_hidden_states_mask=cond["prompt_embeds_mask"] if len(noisy) > 1 else None,
            img_shapes=[[(1, latents.shape[-2] // 2, latents.shape[-1] // 2) for latents in shown]] * len(noisy),
            return_dict=False,
        )[0]
        return unpack(velocity, like=noisy)

    def guidance(self, request):
        return {"true_cfg_scale": request.guidance}


def with_mask(embeds, mask):
    """Features BLD with a mask BL beside them, which the pipeline leaves out where all tokens are text."""
    if mask is None:
        mask = torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
    return {"prompt_embeds": embeds, "prompt_embeds_mask": mask}

"""Stable Diffusion XL."""

from __future__ import annotations

import torch
from diffusers import StableDiffusionXLPipeline

from .sd import CLIP, UNetFamily


class SDXL(UNetFamily):
    name = "sdxl"
    pipeline_class = StableDiffusionXLPipeline
    text_parts = ("text_encoder", "text_encoder_2")
    text_lora_targets = {"text_encoder": CLIP, "text_encoder_2": CLIP}
    word_keys = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
    latent_multiple = 4

    def encode_prompts(self, prompts, pictures=()):
        embeds, _, pooled, _ = self.pipe.encode_prompt(list(prompts), do_classifier_free_guidance=False)
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}

    def added(self, noisy, cond):
        h, w = (side * self.pipe.vae_scale_factor for side in noisy.shape[-2:])
        # original size, corner of the crop, size of the picture: the pipeline's own defaults
        ids = torch.tensor([h, w, 0, 0, h, w], dtype=torch.float32, device=noisy.device)
        return {"text_embeds": cond["pooled_prompt_embeds"], "time_ids": ids.expand(len(noisy), -1)}

    def encode_pixels(self, pixels):
        if self.pipe.vae.dtype == torch.float16 and self.pipe.vae.config.force_upcast:
            self.pipe.vae.float()  # its activations are too large for half precision
        return super().encode_pixels(pixels)

    def sample(self, *request, **more):
        vae = self.pipe.vae

        def decode(latents, **options):
            # the pipeline puts it in full precision where it must, which autocast would undo
            with torch.autocast(latents.device.type, enabled=False):
                return type(vae).decode(vae, latents.to(vae.dtype), **options)

        vae.decode = decode
        try:
            return super().sample(*request, **more)
        finally:
            del vae.decode

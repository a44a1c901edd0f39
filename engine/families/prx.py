"""PRX: the tokens of a picture look at the text, which stays as it is. One model makes latents, the other the pixels themselves."""

from __future__ import annotations

import torch
from diffusers import PRXPipeline, PRXPixelPipeline

from ..errors import JobError
from .base import ModelFamily


class Prx(ModelFamily):
    name = "prx"
    pipeline_class = PRXPipeline
    lora_targets = r"blocks\.\d+\.(attention\.(img_qkv_proj|txt_kv_proj|to_out\.0)|(gate|up|down)_proj)"

    def encode_prompts(self, prompts, pictures=()):
        encoder = self.pipe.text_encoder
        try:
            words, mask = self.pipe._tokenize_prompts(list(prompts), encoder.device)
        except NameError as error:  # diffusers (0.42) takes for granted that it is there
            raise JobError(
                f"{self.title} mends prompts with the package ftfy, which is not installed.", "Install ftfy into Darkroom's environment."
            ) from error
        features = encoder(input_ids=words, attention_mask=mask, output_hidden_states=True)["last_hidden_state"]
        return {"prompt_embeds": features, "prompt_attention_mask": mask}

    def predict(self, noisy, sigma, cond):
        return self.denoiser(
            hidden_states=noisy,
            timestep=sigma,
            encoder_hidden_states=cond["prompt_embeds"],
            attention_mask=cond["prompt_attention_mask"],
            return_dict=False,
        )[0]

    def sample(self, cond, negative, request, pictures=(), **more):
        # sizes are those that are asked for
        return super().sample(cond, negative, request, pictures, **{"use_resolution_binning": False, **more})


class PrxPixel(Prx):
    """It answers with the picture. Its noise is stronger than everybody's: what is learned from are pixels that are as much weaker."""

    name = "prx_pixel"
    pipeline_class = PRXPixelPipeline
    vae_parts = ()
    latent_multiple = 16

    @property
    def pixel_multiple(self):
        return self.latent_multiple

    @property
    def strength(self):
        """Deviation of the noise that the model knows."""
        return self.pipe.config.noise_scale

    def encode_pixels(self, pixels):
        return pixels / self.strength, torch.zeros_like(pixels)

    def predict(self, noisy, sigma, cond):
        seen = noisy * self.strength
        picture = super().predict(seen, sigma, cond)
        return (seen - picture) / sigma.clamp(min=0.05).view(-1, 1, 1, 1) / self.strength  # the pipeline divides by no less

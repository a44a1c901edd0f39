"""LTX-Video: videos from text, whose latents stand for 32 x 32 pixels of eight frames each. Pictures are videos of one frame."""

from __future__ import annotations

import torch
from diffusers import LTXPipeline
from einops import rearrange

from .base import ModelFamily


class LtxVideo(ModelFamily):
    name = "ltx_video"
    pipeline_class = LTXPipeline
    lora_targets = r"transformer_blocks\.\d+\.(attn[12]\.(to_[qkv]|to_out\.0)|ff\.net\.(0\.proj|2))"
    latent_multiple = 1
    default_form = "comfyui"
    is_video = True

    @property
    def pixel_multiple(self):
        return self.pipe.vae_spatial_compression_ratio * self.latent_multiple

    @property
    def frame_multiple(self):
        return self.pipe.vae_temporal_compression_ratio

    def encode_prompts(self, prompts, pictures=()):
        length = self.defaults.max_sequence_length or 128
        embeds, mask, _, _ = self.pipe.encode_prompt(list(prompts), None, False, max_sequence_length=length)
        return {"prompt_embeds": embeds, "prompt_attention_mask": mask}

    @torch.no_grad()
    def encode_pixels(self, pixels):
        vae, frames = self.pipe.vae, pixels if pixels.ndim == 5 else pixels[:, :, None]
        posterior = vae.encode(frames.to(vae.device, vae.dtype)).latent_dist
        mean, std = (values.view(1, -1, 1, 1, 1).to(posterior.mean) for values in (vae.latents_mean, vae.latents_std))
        scale = vae.config.scaling_factor / std
        return (posterior.mean - mean) * scale, posterior.std * scale

    def predict(self, noisy, sigma, cond):
        frames, height, width = noisy.shape[2:]
        side = self.pipe.vae_spatial_compression_ratio
        answer = self.denoiser(
            hidden_states=rearrange(noisy, "b c f h w -> b (f h w) c"),
            encoder_hidden_states=cond["prompt_embeds"],
            timestep=sigma * self.pipe.scheduler.config.num_train_timesteps,
            encoder_attention_mask=cond["prompt_attention_mask"],
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=(self.frame_multiple / self.defaults.fps, side, side),  # where each latent is, in seconds and pixels
            return_dict=False,
        )[0]
        return rearrange(answer, "b (f h w) c -> b c f h w", f=frames, h=height)

    def guidance(self, request):
        return {**super().guidance(request), "frame_rate": self.defaults.fps}

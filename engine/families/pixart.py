"""PixArt-Sigma. Its model answers with the noise and, in as many channels again, with a variance that nobody asks for."""

from __future__ import annotations

from diffusers import PixArtSigmaPipeline

from .base import ModelFamily


class PixArtSigma(ModelFamily):
    name = "pixart_sigma"
    pipeline_class = PixArtSigmaPipeline
    lora_targets = r"transformer_blocks\.\d+\.(attn[12]\.(to_[qkv]|to_out\.0)|ff\.net\.(0\.proj|2))"
    objective = "denoising"

    def encode_prompts(self, prompts, pictures=()):
        length = self.defaults.max_sequence_length or 300
        embeds, mask, _, _ = self.pipe.encode_prompt(list(prompts), False, max_sequence_length=length)
        return {"prompt_embeds": embeds, "prompt_attention_mask": mask}

    def predict(self, noisy, sigma, cond):
        answer = self.denoiser(
            noisy,
            encoder_hidden_states=cond["prompt_embeds"],
            encoder_attention_mask=cond["prompt_attention_mask"],
            timestep=sigma * self.pipe.scheduler.config.num_train_timesteps,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None},
            return_dict=False,
        )[0]
        return answer[:, : noisy.shape[1]]

    def sample(self, cond, negative, request, pictures=(), **more):
        # its own negative prompt must go where features are given; and sizes are those that are asked for
        more = {"negative_prompt": None, "use_resolution_binning": False} | more
        return super().sample(cond, negative, request, pictures, **more)

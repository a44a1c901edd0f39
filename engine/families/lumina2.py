"""Lumina-Image 2.0. Its model counts time from noise to picture and answers with the way back; the pipeline turns both round."""

from __future__ import annotations

from diffusers import Lumina2Pipeline

from .base import ModelFamily


class Lumina2(ModelFamily):
    name = "lumina2"
    pipeline_class = Lumina2Pipeline
    lora_targets = r"(layers|noise_refiner|context_refiner)\.\d+\.(attn\.(to_[qkv]|to_out\.0)|feed_forward\.linear_[123])"

    def encode_prompts(self, prompts, pictures=()):
        """Words follow the pipeline's system prompt; no words at all are just that, as in its negative prompt."""
        length = self.defaults.max_sequence_length or 256
        full = [f"{self.pipe.system_prompt} <Prompt Start> {prompt}" if prompt else "" for prompt in prompts]
        embeds, mask = self.pipe._get_gemma_prompt_embeds(full, self.pipe.text_encoder.device, length)
        return {"prompt_embeds": embeds, "prompt_attention_mask": mask}

    def predict(self, noisy, sigma, cond):
        return -self.denoiser(
            hidden_states=noisy,
            timestep=1 - sigma,
            encoder_hidden_states=cond["prompt_embeds"],
            encoder_attention_mask=cond["prompt_attention_mask"],
            return_dict=False,
        )[0]

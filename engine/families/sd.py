"""Stable Diffusion 1.x and 2.x, and what all UNets have in common."""

from __future__ import annotations

from diffusers import StableDiffusionPipeline

from .base import ModelFamily

CLIP = r"(text_model\.)?encoder\.layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])"
"""Layers of a CLIP text encoder that carry a LoRA."""


class UNetFamily(ModelFamily):
    """A UNet that reads the latents as they are, and the timestep that its scheduler counts."""

    lora_targets = r".*attentions\.\d+\.(proj_in|proj_out|transformer_blocks\.\d+\.(attn[12]\.(to_[qkv]|to_out\.0)|ff\.net\.(0\.proj|2)))"
    denoiser_part = "unet"
    default_form = "kohya"
    objective = "denoising"
    decorated = "prompt_embeds"

    def predict(self, noisy, sigma, cond):
        return self.denoiser(
            noisy,
            sigma * self.pipe.scheduler.config.num_train_timesteps,
            encoder_hidden_states=cond["prompt_embeds"],
            added_cond_kwargs=self.added(noisy, cond),
            return_dict=False,
        )[0]

    def added(self, noisy, cond):
        """What the UNet is told besides the text."""
        return None


class SD15(UNetFamily):
    name = "sd15"
    pipeline_class = StableDiffusionPipeline
    text_lora_targets = {"text_encoder": CLIP}
    word_keys = {"text_encoder": "clip_l"}
    latent_multiple = 8
    # the checker would be held on the processor, where no sample is
    pipeline_options = {"safety_checker": None, "feature_extractor": None, "image_encoder": None, "requires_safety_checker": False}

    def encode_prompts(self, prompts, pictures=()):
        return {"prompt_embeds": self.pipe.encode_prompt(list(prompts), None, 1, False)[0]}


class SD21(SD15):
    name = "sd21"

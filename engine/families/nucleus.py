"""Nucleus-Image: a mixture of experts. Its model answers with the way from noise to picture; the pipeline turns it round."""

from __future__ import annotations

import json

from diffusers import NucleusMoEImagePipeline
from transformers import AutoTokenizer

from .base import ModelFamily
from .layout import pack, unpack
from .qwen_image import with_mask
from .video_latents import encode_frames


class NucleusImage(ModelFamily):
    name = "nucleus_image"
    pipeline_class = NucleusMoEImagePipeline
    # the routed experts are no layers but blocks of numbers
    lora_targets = r"transformer_blocks\.\d+\.(attn\.(to_[qkv]|add_[kv]_proj|to_out\.0)|img_mlp\.(shared_expert\.)?net\.(0\.proj|2))"
    text_batch = 1

    @classmethod
    def own_parts(cls, folder):
        # it names a processor of pictures and words, which wants torchvision; only words go through it
        words = AutoTokenizer.from_pretrained(folder / "processor", local_files_only=True)
        template = folder / "processor" / "chat_template.json"
        if words.chat_template is None and template.is_file():
            words.chat_template = json.loads(template.read_text("utf-8"))["chat_template"]
        return {"processor": words}

    def encode_prompts(self, prompts, pictures=()):
        return with_mask(*self.pipe.encode_prompt(list(prompts), max_sequence_length=self.defaults.max_sequence_length))

    def encode_pixels(self, pixels):
        # its VAE is a video VAE: one frame
        mean, std = encode_frames(self.pipe.vae, pixels[:, :, None])
        return mean[:, :, 0], std[:, :, 0]

    def predict(self, noisy, sigma, cond):
        mask = cond["prompt_embeds_mask"]
        velocity = self.denoiser(
            hidden_states=pack(noisy),
            timestep=sigma,
            encoder_hidden_states=cond["prompt_embeds"],
            encoder_hidden_states_mask=None if mask.all() else mask,
            img_shapes=[(1, noisy.shape[-2] // 2, noisy.shape[-1] // 2)] * len(noisy),
            return_dict=False,
        )[0]
        return unpack(-velocity, like=noisy)

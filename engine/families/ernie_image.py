"""ERNIE-Image. Its latents are those of FLUX.2's autoencoder, four neighbours as one: a token each."""

from __future__ import annotations

import torch
from diffusers import ErnieImagePipeline
from torch.nn.utils.rnn import pad_sequence

from .base import ModelFamily


class ErnieImage(ModelFamily):
    name = "ernie_image"
    pipeline_class = ErnieImagePipeline
    lora_targets = r"layers\.\d+\.(self_attention\.(to_[qkv]|to_out\.0)|mlp\.(gate_proj|up_proj|linear_fc2))"
    default_form = "comfyui"
    latent_multiple = 1
    text_batch = 1
    # what would write longer prompts: a prompt is taken as it is
    pipeline_options = {"pe": None, "pe_tokenizer": None}

    def encode_prompts(self, prompts, pictures=()):
        texts = [self.encode(prompt) for prompt in prompts]
        masks = [text.new_ones(len(text), dtype=torch.bool) for text in texts]
        return {"prompt_embeds": pad_sequence(texts, batch_first=True), "prompt_mask": pad_sequence(masks, batch_first=True)}

    def encode(self, prompt):
        """Features LD: what the pipeline's encode_prompt gives, which lets no gradients through."""
        tokenizer, encoder = self.pipe.tokenizer, self.pipe.text_encoder
        words = tokenizer(prompt, truncation=True)["input_ids"] or [tokenizer.bos_token_id or 0]
        return encoder(torch.tensor([words], device=encoder.device), output_hidden_states=True).hidden_states[-2][0]

    @torch.no_grad()
    def encode_pixels(self, pixels):
        vae = self.pipe.vae
        posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        shift, variance = (each.view(1, -1, 1, 1) for each in (vae.bn.running_mean, vae.bn.running_var))
        scale = (variance + 1e-5).sqrt()  # as its pipeline, not as the autoencoder's own configuration
        return (self.pipe._patchify_latents(posterior.mean) - shift) / scale, self.pipe._patchify_latents(posterior.std) / scale

    def predict(self, noisy, sigma, cond):
        return self.denoiser(
            hidden_states=noisy,
            timestep=sigma * self.pipe.scheduler.config.num_train_timesteps,
            text_bth=cond["prompt_embeds"],
            text_lens=cond["prompt_mask"].sum(1),
            return_dict=False,
        )[0]

    def sample(self, cond, negative, request, pictures=(), **more):
        return super().sample(texts(cond), negative and texts(negative), request, pictures, **more)


def texts(cond):
    """The features as the pipeline takes them: a list, each of its own length."""
    return {"prompt_embeds": [text[mask] for text, mask in zip(cond["prompt_embeds"], cond["prompt_mask"], strict=True)]}

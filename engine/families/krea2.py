"""Krea 2. Its text features are many layers of the text encoder beside each other: a text keeps no more tokens than it has."""

from __future__ import annotations

from diffusers import Krea2Pipeline
from torch.nn.utils.rnn import pad_sequence

from .base import ModelFamily, stack
from .layout import pack, unpack
from .video_latents import encode_frames


class Krea2(ModelFamily):
    name = "krea2"
    pipeline_class = Krea2Pipeline
    lora_targets = r"transformer_blocks\.\d+\.(attn\.(to_[qkv]|to_gate|to_out\.0)|ff\.(gate|up|down))"
    default_form = "comfyui"
    text_batch = 1

    def encode_prompts(self, prompts, pictures=()):
        embeds, mask = self.pipe.encode_prompt(list(prompts), max_sequence_length=self.defaults.max_sequence_length or 512)
        # what fills a text up is masked, and no text token has a place of its own: without the filling nothing changes
        pairs = list(zip(embeds, mask, strict=True))
        return {
            "prompt_embeds": pad_sequence([text[real] for text, real in pairs], batch_first=True),
            "prompt_embeds_mask": pad_sequence([real[real] for _, real in pairs], batch_first=True),
        }

    def encode_pixels(self, pixels):
        # its VAE is a video VAE: one frame
        mean, std = encode_frames(self.pipe.vae, pixels[:, :, None])
        return mean[:, :, 0], std[:, :, 0]

    def predict(self, noisy, sigma, cond):
        text = cond["prompt_embeds"]
        velocity = self.denoiser(
            hidden_states=pack(noisy),
            encoder_hidden_states=text,
            timestep=sigma,
            position_ids=self.pipe.prepare_position_ids(text.shape[1], noisy.shape[-2] // 2, noisy.shape[-1] // 2, noisy.device),
            encoder_attention_mask=cond["prompt_embeds_mask"],
            return_dict=False,
        )[0]
        return unpack(velocity, like=noisy)

    def sample(self, cond, negative, request, pictures=(), **more):
        if negative:  # the pipeline takes for granted that both texts are of one length
            both = stack([{name: value[0] for name, value in part.items()} for part in (cond, negative)])
            cond, negative = ({name: value[row : row + 1] for name, value in both.items()} for row in (0, 1))
        return super().sample(cond, negative, request, pictures, **more)

    def guidance(self, request):
        # the pipeline adds this much of the difference to the answer: its 0 is everybody's 1
        return {"guidance_scale": request.guidance - 1}

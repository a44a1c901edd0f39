"""CogView4. Its model is told the place in the schedule, which is not the share of noise: larger pictures are noisier at the same place."""

from __future__ import annotations

import torch
from diffusers import CogView4Pipeline
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .base import ModelFamily


class CogView4(ModelFamily):
    name = "cogview4"
    pipeline_class = CogView4Pipeline
    lora_targets = r"transformer_blocks\.\d+\.(attn1\.(to_[qkv]|to_out\.0)|ff\.net\.(0\.proj|2))"
    text_batch = 1

    def encode_prompts(self, prompts, pictures=()):
        length = self.defaults.max_sequence_length or 1024
        # one by one: the pipeline fills a text up in front, to sixteen tokens, and its model hides none of them
        texts = [self.pipe.encode_prompt([prompt], None, False, max_sequence_length=length)[0][0] for prompt in prompts]
        masks = [text.new_ones(len(text), dtype=torch.bool) for text in texts]
        return {"prompt_embeds": pad_sequence(texts, batch_first=True), "prompt_mask": pad_sequence(masks, batch_first=True)}

    def predict(self, noisy, sigma, cond):
        if len(noisy) > 1 and not cond["prompt_mask"].all():  # texts of several lengths: diffusers (0.42) has no mask that hides
            rows = ({name: value[row : row + 1] for name, value in cond.items()} for row in range(len(noisy)))
            return torch.cat([self.predict(noisy[row : row + 1], sigma[row : row + 1], one) for row, one in enumerate(rows)])
        text = cond["prompt_embeds"][:, : cond["prompt_mask"][0].sum()]
        size = text.new_tensor([[side * self.pipe.vae_scale_factor for side in noisy.shape[-2:]]]).expand(len(noisy), 2)
        return self.denoiser(
            hidden_states=noisy,
            encoder_hidden_states=text,
            timestep=self.place(sigma, noisy) * self.pipe.scheduler.config.num_train_timesteps,
            original_size=size,
            target_size=size,
            crop_coords=torch.zeros_like(size),
            return_dict=False,
        )[0]

    def place(self, sigma: Tensor, noisy: Tensor) -> Tensor:
        """The place in the schedule, in [0, 1], where the share of noise is ``sigma``: the scheduler's linear shift turned round."""
        schedule = self.pipe.scheduler.config
        if not schedule.use_dynamic_shifting:
            return sigma
        tokens = noisy.shape[-2] * noisy.shape[-1] / self.latent_multiple**2
        shift = schedule.base_shift + schedule.max_shift * (tokens / schedule.base_image_seq_len) ** 0.5
        return sigma / (sigma + shift * (1 - sigma))

    def sample(self, cond, negative, request, pictures=(), **more):
        return super().sample(text_of(cond), negative and text_of(negative), request, pictures, **more)


def text_of(cond):
    """The features without their mask, as the pipeline takes them."""
    return {"prompt_embeds": cond["prompt_embeds"]}

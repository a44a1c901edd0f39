"""Z-Image: base, Turbo and De-Turbo.

Its model counts time from noise to picture and answers with the way back; the pipeline turns both round.
"""

from __future__ import annotations

import torch
from diffusers import ZImagePipeline
from torch.nn.utils.rnn import pad_sequence

from .base import ModelFamily


class ZImage(ModelFamily):
    name = "zimage"
    pipeline_class = ZImagePipeline
    lora_targets = r"layers\.\d+\.(attention\.(to_[qkv]|to_out\.0)|feed_forward\.w[123])"
    default_form = "comfyui"
    text_batch = 1

    def encode_prompts(self, prompts, pictures=()):
        length = self.defaults.max_sequence_length or 512
        device = self.pipe.text_encoder.device
        texts, _ = self.pipe.encode_prompt(list(prompts), device, do_classifier_free_guidance=False, max_sequence_length=length)
        masks = [text.new_ones(len(text), dtype=torch.bool) for text in texts]
        return {"prompt_embeds": pad_sequence(texts, batch_first=True), "prompt_mask": pad_sequence(masks, batch_first=True)}

    def predict(self, noisy, sigma, cond):
        pictures = list(noisy.unsqueeze(2))
        answers = self.denoiser(pictures, 1 - sigma, self.texts(cond)["prompt_embeds"], return_dict=False)[0]
        return -torch.stack(answers).squeeze(2)

    def texts(self, cond):
        """The features as the pipeline takes them: a list, each of its own length."""
        return {"prompt_embeds": [text[mask] for text, mask in zip(cond["prompt_embeds"], cond["prompt_mask"], strict=True)]}

    def sample(self, cond, negative, request, pictures=(), **more):
        return super().sample(self.texts(cond), negative and self.texts(negative), request, pictures, **more)

    def guidance(self, request):
        # the pipeline adds this much of the difference to the answer: its 0 is everybody's 1
        return {"guidance_scale": request.guidance - 1}

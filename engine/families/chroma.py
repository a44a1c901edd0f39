"""Chroma: FLUX.1 schnell with a small model in place of the modulation layers, T5 alone, and true guidance.

Its text is hidden from it but for the words and one token of padding after them. Text has no places, so leaving the rest
out is the same, and quicker. The stock pipeline (diffusers 0.42) means the same and misses it: it hands attention a mask of
numbers, ones and zeros, which weigh instead of hiding (huggingface/diffusers#12116). Features without padding need no mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import ChromaPipeline, FluxPipeline
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .base import ModelFamily
from .flux import Flux
from .layout import pack, unpack


class Chroma(ModelFamily):
    name = "chroma"
    pipeline_class = ChromaPipeline
    lora_targets = Flux.lora_targets
    word_keys = {"text_encoder": "t5xxl"}
    default_form = "comfyui"
    text_batch = 1

    def encode_prompts(self, prompts, pictures=()):
        length = self.defaults.max_sequence_length or 512
        embeds, _, mask, *_ = self.pipe.encode_prompt(
            list(prompts), device=self.pipe.text_encoder.device, do_classifier_free_guidance=False, max_sequence_length=length
        )
        texts = [text[seen] for text, seen in zip(embeds, mask.bool(), strict=True)]
        masks = [text.new_ones(len(text), dtype=torch.bool) for text in texts]
        return {
            "prompt_embeds": pad_sequence(texts, batch_first=True),
            "prompt_attention_mask": pad_sequence(masks, batch_first=True),
        }

    def predict(self, noisy, sigma, cond):
        b, _, h, w = noisy.shape
        text, seen = cond["prompt_embeds"], cond["prompt_attention_mask"]
        tokens = pack(noisy)
        mask = torch.cat([seen, seen.new_ones(b, tokens.shape[1])], 1) if b > 1 else None
        with self.masked_checkpoints(mask):
            velocity = self.denoiser(
                hidden_states=tokens,
                encoder_hidden_states=text,
                timestep=sigma,
                img_ids=FluxPipeline._prepare_latent_image_ids(b, h // 2, w // 2, noisy.device, noisy.dtype),
                txt_ids=text.new_zeros(text.shape[1], 3),
                attention_mask=mask,
                return_dict=False,
            )[0]
        return unpack(velocity, like=noisy)

    @contextmanager
    def masked_checkpoints(self, mask: Tensor | None) -> Iterator[None]:
        """Inside, gradient checkpointing gives single blocks their mask, which diffusers (0.42) forgets."""
        plain = getattr(self.denoiser, "_gradient_checkpointing_func", None)
        if mask is None or plain is None:
            yield
            return
        single = type(self.denoiser.single_transformer_blocks[0])
        self.denoiser._gradient_checkpointing_func = lambda block, *arguments: plain(
            block, *arguments, *([mask] if isinstance(block, single) and len(arguments) == 3 else [])
        )
        try:
            yield
        finally:
            self.denoiser._gradient_checkpointing_func = plain

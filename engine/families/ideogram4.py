"""Ideogram 4. Words and picture are one row of tokens. What guidance turns away from is the answer of a second model, which reads no words."""

from __future__ import annotations

import torch
from diffusers import Ideogram4Pipeline
from diffusers.models.transformers.transformer_ideogram4 import (
    IMAGE_POSITION_OFFSET,
    LLM_TOKEN_INDICATOR,
    OUTPUT_IMAGE_INDICATOR,
    SEQUENCE_PADDING_INDICATOR,
)
from einops import rearrange
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ..errors import JobError
from .base import ModelFamily
from .flux2 import grid
from .layout import encode_by_token


class Ideogram4(ModelFamily):
    name = "ideogram4"
    pipeline_class = Ideogram4Pipeline
    lora_targets = r"layers\.\d+\.(attention\.(to_[qkv]|to_out\.0)|feed_forward\.w[123])"
    drawing_parts = ("unconditional_transformer",)
    default_form = "comfyui"
    text_batch = 1
    # what would write longer prompts: a prompt is taken as it is
    pipeline_options = {"prompt_enhancer_head": None}

    def encode_prompts(self, prompts, pictures=()):
        texts = [self.encode(prompt) for prompt in prompts]
        masks = [text.new_ones(len(text), dtype=torch.bool) for text in texts]
        return {"prompt_embeds": pad_sequence(texts, batch_first=True), "prompt_mask": pad_sequence(masks, batch_first=True)}

    def encode(self, prompt):
        """Features LD, as exact as the text encoder computes them. The pipeline puts others before them, up to its longest prompt."""
        encoder, length = self.pipe.text_encoder, self.defaults.max_sequence_length or 2048
        try:
            features, _, _, kinds = self.pipe.encode_prompt(prompt, 0, 0, length, encoder.device)
        except ValueError as error:  # it cuts nothing off
            raise JobError(f"A prompt is too long for {self.title}: {prompt[:60]!r}…", f"It takes {length} tokens: {error}.") from error
        return features[0, kinds[0] == LLM_TOKEN_INDICATOR].to(encoder.dtype)

    def encode_pixels(self, pixels):
        return encode_by_token(self.pipe.vae, pixels, pack, unpack)

    def predict(self, noisy, sigma, cond):
        text, mask = cond["prompt_embeds"], cond["prompt_mask"]
        places, segments, kinds = layout(mask, noisy.shape[-2] // 2, noisy.shape[-1] // 2)
        tokens, words = pack(noisy), text.shape[1]
        answer = self.denoiser(
            hidden_states=torch.cat([tokens.new_zeros(len(tokens), words, tokens.shape[2]), tokens], 1),
            timestep=1 - sigma,
            encoder_hidden_states=torch.cat([text, text.new_zeros(*tokens.shape[:2], text.shape[2])], 1),
            position_ids=places,
            segment_ids=segments,
            indicator=kinds,
            return_dict=False,
        )[0]
        return -unpack(answer[:, words:], like=noisy)

    def sample(self, cond, negative, request, pictures=(), **more):
        text = cond["prompt_embeds"]
        words = text.shape[1]  # of one prompt: it is not filled up

        def encoded(prompt, grid_h, grid_w, max_sequence_length, device):
            features = torch.cat([text, text.new_zeros(len(text), grid_h * grid_w, text.shape[2])], 1)
            return features, *self.pipe._prepare_ids([words] * len(text), grid_h, grid_w, words, device)

        # the pipeline takes words, and no features of them
        self.pipe.encode_prompt = encoded
        try:
            return super().sample({}, None, request, pictures, prompt=request.prompt, max_sequence_length=words, **more)
        finally:
            del self.pipe.encode_prompt

    def guidance(self, request):
        return {"guidance_scale": request.guidance, "guidance_schedule": None}

    def wants_negative(self, request):
        return False  # what it is guided away from is no prompt


def layout(mask: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Places BL3, segments BL and kinds BL of the tokens: words, of which ``mask`` BT hides some, and a picture of ``height`` x ``width``."""
    words = torch.arange(mask.shape[1], device=mask.device)[:, None].expand(-1, 3)
    picture = mask.new_ones(len(mask), height * width)
    places = torch.cat([words, grid(mask.device, 1, height, width) + IMAGE_POSITION_OFFSET])
    segments = torch.where(torch.cat([mask, picture], 1), 1, SEQUENCE_PADDING_INDICATOR)
    kinds = torch.cat([mask * LLM_TOKEN_INDICATOR, picture * OUTPUT_IMAGE_INDICATOR], 1)
    return places.expand(len(mask), -1, -1), segments, kinds


def pack(latents: Tensor) -> Tensor:
    """BCHW to B L (4 C). Unlike FLUX.2's, a token has all channels of one of its four neighbours after those of the other."""
    return rearrange(latents, "b c (h p) (w q) -> b (h w) (p q c)", p=2, q=2)


def unpack(tokens: Tensor, *, like: Tensor) -> Tensor:
    """Tokens in the shape of ``like``."""
    return rearrange(tokens, "b (h w) (p q c) -> b c (h p) (w q)", h=like.shape[-2] // 2, p=2, q=2)

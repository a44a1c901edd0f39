"""FLUX.2 dev and Klein: one stream of tokens for text, picture and reference pictures, with places of four coordinates.

A place is (sheet, row, column, word): the picture is sheet 0, reference pictures are sheets 10, 20 and so on.
"""

from __future__ import annotations

import math

import torch
from diffusers import Flux2KleinPipeline, Flux2Pipeline
from PIL import Image, ImageOps
from torch import Tensor
from transformers import AutoTokenizer

from .base import ModelFamily, controls_in
from .layout import encode_by_token, pack, unpack

LARGEST = 1024 * 1024
"""Pixels of a reference picture: the pipeline makes larger ones smaller."""


class Flux2(ModelFamily):
    name = "flux2"
    pipeline_class = Flux2Pipeline
    lora_targets = (
        r"transformer_blocks\.\d+\.(attn\.(to_[qkv]|add_[qkv]_proj|to_out\.0|to_add_out)|ff(_context)?\.linear_(in|out))"
        r"|single_transformer_blocks\.\d+\.attn\.(to_qkv_mlp_proj|to_out)"
    )
    default_form = "comfyui"
    max_controls = 3
    keeps_reference_sizes = True
    kwargs = {"match_target_res": False}

    def encode_prompts(self, prompts, pictures=()):
        length = self.defaults.max_sequence_length or 512
        embeds, _ = self.pipe.encode_prompt(list(prompts), self.pipe.text_encoder.device, max_sequence_length=length)
        return {"prompt_embeds": embeds}

    def encode_pixels(self, pixels):
        return encode_by_token(self.pipe.vae, pixels, pack, unpack)

    def predict(self, noisy, sigma, cond):
        text, sheets = cond["prompt_embeds"], [noisy, *controls_in(cond)]
        velocity = self.denoiser(
            hidden_states=torch.cat([pack(sheet) for sheet in sheets], 1),
            encoder_hidden_states=text,
            timestep=sigma,
            guidance=torch.ones_like(sigma) if self.denoiser.config.guidance_embeds else None,
            img_ids=torch.cat([places(sheet, 10 * index) for index, sheet in enumerate(sheets)]),
            txt_ids=grid(text.device, 1, 1, 1, text.shape[1]),
            return_dict=False,
        )[0]
        return unpack(velocity, like=noisy)

    def reference_size(self, width, height, beside):
        """Its own up to a million pixels, as the pipeline shows it; with match_target_res as many pixels as the picture has."""
        area = math.prod(beside) if self.kwargs["match_target_res"] else min(width * height, LARGEST)
        scale, multiple = math.sqrt(area / (width * height)), self.pixel_multiple
        return max(int(width * scale) // multiple, 1) * multiple, max(int(height * scale) // multiple, 1) * multiple

    def sample(self, cond, negative, request, pictures=(), **more):
        if self.kwargs["match_target_res"]:
            size = request.width, request.height
            sizes = [self.reference_size(each.width, each.height, size) for each in pictures]
            pictures = [ImageOps.fit(each, own, Image.Resampling.LANCZOS) for each, own in zip(pictures, sizes, strict=True)]
        return super().sample(cond, negative, request, pictures, **more)

    @classmethod
    def own_parts(cls, folder):
        # dev names a processor of pictures and words, which wants torchvision; only words go through it
        return {"tokenizer": AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)}

    def wants_negative(self, request):
        return False  # guidance is an input of the model


class Flux2Klein(Flux2):
    """Its text encoder is Qwen3, and its guidance is a second pass; the distilled ones know none."""

    name = "flux2_klein"
    pipeline_class = Flux2KleinPipeline

    def wants_negative(self, request):
        return request.guidance > 1 and not self.pipe.config.is_distilled


def grid(device: torch.device, *sizes: int) -> Tensor:
    """Every place in a box of these sizes, the last coordinate fastest: L4."""
    return torch.cartesian_prod(*(torch.arange(size, device=device) for size in sizes))


def places(latents: Tensor, sheet: int) -> Tensor:
    """Places of the tokens of ``latents`` on a sheet: L4."""
    ids = grid(latents.device, 1, latents.shape[-2] // 2, latents.shape[-1] // 2, 1)
    ids[:, 0] = sheet
    return ids

"""CogView4."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import CogView4Pipeline, CogView4Transformer2DModel, FlowMatchEulerDiscreteScheduler
from tokenizers import processors
from transformers import GlmConfig, GlmModel

from ..case import Case
from ..parts import tokenizer
from .sd import unshifted_vae


def cogview4() -> CogView4Pipeline:
    """Eight marks open each text, so that some are longer than sixteen tokens and some are not."""
    torch.manual_seed(0)
    transformer = CogView4Transformer2DModel(
        in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8, num_attention_heads=4, text_embed_dim=16, time_embed_dim=8,
        condition_dim=4, rope_axes_dim=(16, 16),
    )  # fmt: skip
    encoder = GlmModel(
        GlmConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
            vocab_size=200, pad_token_id=0, eos_token_id=2,
        )
    )  # fmt: skip
    words = tokenizer(64)
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(single="</s> " * 8 + "$A", special_tokens=[("</s>", 2)])
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, time_shift_type="linear", base_shift=0.25, max_shift=0.75)
    return CogView4Pipeline(words, encoder, unshifted_vae(), transformer, scheduler)


def share(scheduler: Any, t: torch.Tensor) -> torch.Tensor:
    """The pipeline counts time along the schedule; the noise is what the scheduler makes of it."""
    return scheduler.sigmas[:-1][scheduler.timesteps == t]


CASES = [Case("cogview 4", "cogview4", cogview4, targets=12, guided=4.0, share=share)]

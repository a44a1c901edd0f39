"""HiDream I1."""

from __future__ import annotations

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, HiDreamImagePipeline, HiDreamImageTransformer2DModel
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, LlamaConfig, LlamaForCausalLM

from engine.families.hidream import side_of

from ..case import Case
from ..parts import t5, tokenizer, vae


def clip() -> CLIPTextModelWithProjection:
    config = CLIPTextConfig(
        hidden_size=32, intermediate_size=37, num_attention_heads=4, num_hidden_layers=2, vocab_size=200,
        projection_dim=16, eos_token_id=2, bos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    return CLIPTextModelWithProjection(config)


def hidream() -> HiDreamImagePipeline:
    torch.manual_seed(0)
    transformer = HiDreamImageTransformer2DModel(
        patch_size=2, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        caption_channels=[32, 16], text_emb_dim=32, num_routed_experts=4, num_activated_experts=2, axes_dims_rope=(8, 4, 4),
        max_resolution=(24, 24), llama_layers=[0, 1],
    )  # fmt: skip
    llama = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, vocab_size=200,
            bos_token_id=1, eos_token_id=2, pad_token_id=0,
        )
    )  # fmt: skip
    return HiDreamImagePipeline(
        FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae(4), clip(), tokenizer(64), clip(), tokenizer(64), t5(),
        tokenizer(64), llama, tokenizer(64), transformer,
    )  # fmt: skip


def mend(pipe: HiDreamImagePipeline) -> None:
    """By itself it draws a million pixels, whatever it is asked for."""
    pipe.default_sample_size = side_of(48, 32) / pipe.vae_scale_factor


CASES = [Case("hidream", "hidream", hidream, guided=3.0, targets=21, mend=mend)]  # theirs does not read .alpha

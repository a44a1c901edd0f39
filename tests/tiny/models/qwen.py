"""Qwen-Image, Qwen-Image-Edit and Edit-Plus."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
)
from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit import calculate_dimensions
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from engine.families.qwen_edit import tell_kinds
from engine.families.qwen_processor import Qwen2VLProcessor

from ..case import Case, tokens_2x2
from ..parts import byte_words

MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def tokenizer() -> Qwen2Tokenizer:
    """One token a byte, and the marks of a conversation."""
    return Qwen2Tokenizer(vocab=byte_words(MARKS), merges=[], model_max_length=4096, additional_special_tokens=MARKS[1:])


def text_encoder() -> Qwen2_5_VLForConditionalGeneration:
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
            "vocab_size": 300, "max_position_embeddings": 4096, "bos_token_id": 0, "eos_token_id": 2, "rope_scaling": {"type": "mrope", "mrope_section": [1, 1, 2]},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 24, "num_heads": 2, "out_hidden_size": 16, "fullatt_block_indexes": [0],
        },
        vision_start_token_id=3, vision_end_token_id=4, image_token_id=5, video_token_id=6,
        bos_token_id=0, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    return Qwen2_5_VLForConditionalGeneration(config)


def parts(zero_cond_t: bool = False) -> dict[str, Any]:
    """Of a tiny Qwen-Image."""
    torch.manual_seed(0)
    transformer = QwenImageTransformer2DModel(
        in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=16,
        axes_dims_rope=(4, 6, 6), zero_cond_t=zero_cond_t,
    )  # fmt: skip
    vae = AutoencoderKLQwenImage(
        base_dim=4, z_dim=4, dim_mult=[1, 2], num_res_blocks=1, temperal_downsample=[False],
        latents_mean=[0.1, -0.2, 0.3, 0.0], latents_std=[1.5, 0.7, 1.0, 2.0],
    )  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    return {"scheduler": scheduler, "vae": vae, "text_encoder": text_encoder(), "tokenizer": tokenizer(), "transformer": transformer}


def qwen_image() -> QwenImagePipeline:
    return QwenImagePipeline(**parts())


def with_processor(zero_cond_t: bool = False) -> dict[str, Any]:
    pictures = Qwen2VLImageProcessorPil(patch_size=14, merge_size=2, min_pixels=28 * 28, max_pixels=28 * 28 * 16)
    return {**parts(zero_cond_t), "processor": Qwen2VLProcessor(pictures, tokenizer())}


def small(area: float, ratio: float) -> tuple[float, ...]:
    """The pipelines make a million pixels of every reference picture; tests are content with these."""
    return calculate_dimensions(64 * 32, ratio)


EDIT = "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit"
COMMON: dict[str, Any] = {
    "guided": 3.0, "unpack": tokens_2x2, "width": 64, "height": 32, "latents": (16, 32), "targets": 24, "reads": ("diffusers", "comfyui"),
    "defaults": {"max_sequence_length": 512},  # a token a letter, and the pipelines put their own words in front
}  # fmt: skip


def mend(pipe: QwenImageEditPipeline) -> None:
    pipe.text_encoder.register_forward_pre_hook(tell_kinds, with_kwargs=True)


CASES = [
    Case("qwen image", "qwen_image", qwen_image, **COMMON),
    Case(
        "qwen image edit", "qwen_image_edit", lambda: QwenImageEditPipeline(**with_processor()), controls=1, mend=mend,
        patches={f"{EDIT}.calculate_dimensions": small}, **COMMON,
    ),
    Case(
        "qwen image edit plus", "qwen_image_edit_plus", lambda: QwenImageEditPlusPipeline(**with_processor(zero_cond_t=True)),
        controls=2, mend=mend, patches={f"{EDIT}_plus.calculate_dimensions": lambda *given: small(*given)[:2]}, **COMMON,
    ),
]  # fmt: skip

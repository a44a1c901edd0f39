"""HiDream, to draw and to edit."""

from __future__ import annotations

from ..defaults import ModelDefaults
from ..rows import BaseInfo

HIDREAM = [
    BaseInfo(
        id="hidream-full",
        title="HiDream I1",
        note="Free for any use; its Llama is a model of its own. 48 GB card",
        name_or_path="HiDream-ai/HiDream-I1-Full",
        family="hidream",
        size_gb=47.0,
        licence="MIT",
        preset="hidream_lora_48gb.yaml",
        defaults=ModelDefaults(title="HiDream I1", family="hidream", sample_steps=50, guidance_scale=5.0, max_sequence_length=128),
        parameters=17.11,
        text_parameters=13.6,
        memory_gb={"bf16": 48, "qfloat8": 32, "qint4": 24},
    ),
    BaseInfo(
        id="hidream-e1-1",
        title="HiDream E1.1",
        note="Edits pictures, free for any use; its Llama is a model of its own. 48 GB card",
        name_or_path="HiDream-ai/HiDream-E1-1",
        family="hidream_e1",
        size_gb=47.0,
        licence="MIT",
        preset="hidream_e1_lora_48gb.yaml",
        defaults=ModelDefaults(title="HiDream E1.1", family="hidream_e1", sample_steps=28, guidance_scale=3.0, max_sequence_length=128),
        parameters=17.11,
        text_parameters=13.6,
        memory_gb={"bf16": 48, "qfloat8": 32, "qint4": 24},
        needs="reference picture",
    ),
    BaseInfo(
        id="hidream-e1-full",
        title="HiDream E1-Full",
        note="The one before E1.1, for pictures of up to 768 pixels; its Llama is a model of its own. 48 GB card",
        name_or_path="HiDream-ai/HiDream-E1-Full",
        family="hidream_e1",
        size_gb=47.0,
        licence="MIT",
        preset="hidream_e1_full_lora_48gb.yaml",
        defaults=ModelDefaults(
            title="HiDream E1-Full",
            family="hidream_e1",
            width=768,
            height=768,
            sample_steps=28,
            guidance_scale=5.0,
            max_sequence_length=128,
            resolution=[768],
        ),
        parameters=17.11,
        text_parameters=13.6,
        memory_gb={"bf16": 48, "qfloat8": 32, "qint4": 24},
        needs="reference picture",
    ),
]

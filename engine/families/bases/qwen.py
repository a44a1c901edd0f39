"""Qwen-Image, to draw and to edit."""

from __future__ import annotations

from ..defaults import ModelDefaults
from ..rows import BaseInfo

QWEN = [
    BaseInfo(
        id="qwen-image",
        title="Qwen-Image",
        note="Writes words in pictures. 24 GB card",
        name_or_path="Qwen/Qwen-Image",
        family="qwen_image",
        size_gb=57.7,
        licence="Apache-2.0",
        preset="qwen_image_lora_48gb.yaml",
        defaults=ModelDefaults(
            title="Qwen-Image", family="qwen_image", width=1328, height=1328, sample_steps=50, guidance_scale=4.0,
            max_sequence_length=512,
        ),
        parameters=20.43,
        text_parameters=8.29,
        memory_gb={"bf16": 80, "qfloat8": 32, "qint4": 24},
    ),
    BaseInfo(
        id="qwen-image-2512",
        title="Qwen-Image 2512",
        note="Newer, with more natural people. 24 GB card",
        name_or_path="Qwen/Qwen-Image-2512",
        family="qwen_image",
        size_gb=57.7,
        licence="Apache-2.0",
        preset="qwen_image_2512_lora_48gb.yaml",
        defaults=ModelDefaults(
            title="Qwen-Image 2512", family="qwen_image", width=1328, height=1328, sample_steps=50, guidance_scale=4.0,
            max_sequence_length=512,
        ),
        parameters=20.43,
        text_parameters=8.29,
        memory_gb={"bf16": 80, "qfloat8": 32, "qint4": 24},
    ),
    BaseInfo(
        id="qwen-image-edit",
        title="Qwen-Image-Edit",
        note="Changes a picture as it is told. 24 GB card",
        name_or_path="Qwen/Qwen-Image-Edit",
        family="qwen_image_edit",
        size_gb=57.7,
        licence="Apache-2.0",
        preset="qwen_image_edit_lora_48gb.yaml",
        defaults=ModelDefaults(
            title="Qwen-Image-Edit", family="qwen_image_edit", sample_steps=50, guidance_scale=4.0, resolution=[1024],
        ),
        parameters=20.43,
        text_parameters=8.29,
        memory_gb={"bf16": 80, "qfloat8": 48, "qint4": 24},
        needs="reference picture",
    ),
    BaseInfo(
        id="qwen-image-edit-2509",
        title="Qwen-Image-Edit 2509",
        note="Up to three reference pictures. 24 GB card",
        name_or_path="Qwen/Qwen-Image-Edit-2509",
        family="qwen_image_edit_plus",
        size_gb=57.7,
        licence="Apache-2.0",
        preset="qwen_image_edit_2509_lora_48gb.yaml",
        defaults=ModelDefaults(
            title="Qwen-Image-Edit 2509", family="qwen_image_edit_plus", sample_steps=40, guidance_scale=4.0, resolution=[1024],
        ),
        parameters=20.43,
        text_parameters=8.29,
        memory_gb={"bf16": 80, "qfloat8": 48, "qint4": 24},
        needs="reference picture",
    ),
    BaseInfo(
        id="qwen-image-edit-2511",
        title="Qwen-Image-Edit 2511",
        note="Newer, keeps people like themselves. 24 GB card",
        name_or_path="Qwen/Qwen-Image-Edit-2511",
        family="qwen_image_edit_plus",
        size_gb=57.7,
        licence="Apache-2.0",
        preset="qwen_image_edit_2511_lora_48gb.yaml",
        defaults=ModelDefaults(
            title="Qwen-Image-Edit 2511", family="qwen_image_edit_plus", sample_steps=40, guidance_scale=4.0, resolution=[1024],
        ),
        parameters=20.43,
        text_parameters=8.29,
        memory_gb={"bf16": 80, "qfloat8": 48, "qint4": 24},
        needs="reference picture",
        architecture="Qwen-Image-Edit-2511",
    ),
]

"""FLUX.2 and its small ones."""

from __future__ import annotations

from ..defaults import ModelDefaults
from ..rows import BaseInfo

FLUX2 = [
    BaseInfo(
        id="flux2-dev",
        title="FLUX.2 dev",
        note="The largest FLUX; edits too. 48 GB card",
        name_or_path="black-forest-labs/FLUX.2-dev",
        family="flux2",
        size_gb=112.8,
        licence="FLUX [dev] Non-Commercial",
        gated=True,
        preset="flux2_lora_48gb.yaml",
        defaults=ModelDefaults(title="FLUX.2 dev", family="flux2", sample_steps=50, guidance_scale=4.0, max_sequence_length=512),
        parameters=32.2,
        text_parameters=24.0,
        memory_gb={"bf16": 80, "qfloat8": 48, "nf4": 24},
    ),
    BaseInfo(
        id="flux2-klein-base-4b",
        title="FLUX.2 Klein base 4B",
        note="Small, quick to train, edits too. Free to use for work. 16 GB card",
        name_or_path="black-forest-labs/FLUX.2-klein-base-4B",
        family="flux2_klein",
        size_gb=16.0,
        licence="Apache-2.0",
        preset="flux2_klein_4b_lora_16gb.yaml",
        defaults=ModelDefaults(
            title="FLUX.2 Klein base 4B", family="flux2_klein", sample_steps=50, guidance_scale=4.0, max_sequence_length=512
        ),
        parameters=3.88,
        text_parameters=4.02,
        memory_gb={"bf16": 16, "qfloat8": 12},
        sampled_on="flux2-klein-4b",
        featured=True,
    ),
    BaseInfo(
        id="flux2-klein-4b",
        title="FLUX.2 Klein 4B",
        note="Draws in four steps; train on the base. Free to use for work. 16 GB card",
        name_or_path="black-forest-labs/FLUX.2-klein-4B",
        family="flux2_klein",
        size_gb=16.0,
        licence="Apache-2.0",
        preset="flux2_klein_4b_distilled_lora_16gb.yaml",
        defaults=ModelDefaults(title="FLUX.2 Klein 4B", family="flux2_klein", sample_steps=4, guidance_scale=1.0, max_sequence_length=512),
        parameters=3.88,
        text_parameters=4.02,
        memory_gb={"bf16": 16, "qfloat8": 12},
    ),
    BaseInfo(
        id="flux2-klein-base-9b",
        title="FLUX.2 Klein base 9B",
        note="Better pictures than 4B; edits too. 24 GB card",
        name_or_path="black-forest-labs/FLUX.2-klein-base-9B",
        family="flux2_klein",
        size_gb=34.7,
        licence="FLUX Non-Commercial",
        gated=True,
        preset="flux2_klein_9b_lora_24gb.yaml",
        defaults=ModelDefaults(
            title="FLUX.2 Klein base 9B", family="flux2_klein", sample_steps=50, guidance_scale=4.0, max_sequence_length=512
        ),
        parameters=9.08,
        text_parameters=8.19,
        memory_gb={"bf16": 32, "qfloat8": 24, "nf4": 16},
        sampled_on="flux2-klein-9b",
        architecture="Flux.2-klein-9b",
    ),
    BaseInfo(
        id="flux2-klein-9b",
        title="FLUX.2 Klein 9B",
        note="Draws in four steps; train on the base. 24 GB card",
        name_or_path="black-forest-labs/FLUX.2-klein-9B",
        family="flux2_klein",
        size_gb=34.7,
        licence="FLUX Non-Commercial",
        gated=True,
        preset="flux2_klein_9b_distilled_lora_24gb.yaml",
        defaults=ModelDefaults(title="FLUX.2 Klein 9B", family="flux2_klein", sample_steps=4, guidance_scale=1.0, max_sequence_length=512),
        parameters=9.08,
        text_parameters=8.19,
        memory_gb={"bf16": 32, "qfloat8": 24, "nf4": 16},
        architecture="Flux.2-klein-9b",
    ),
]

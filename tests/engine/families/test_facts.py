"""What is asked of a family before its module is loaded is what its class says."""

from __future__ import annotations

import inspect

import pytest

from engine.families.catalog import FAMILIES, load_family
from engine.families.facts import FACTS, Facts
from engine.network.guides.making import GUIDES

BUILT_IN = [name for name, info in FAMILIES.items() if not info.dotted.partition(":")[0].count(".")]


def test_every_family_is_in_the_table_and_no_other():
    assert set(FACTS) == set(BUILT_IN)


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_table_says_what_the_class_says(name):
    family = load_family(name)
    denoiser = inspect.signature(family.pipeline_class.__init__).parameters[family.denoiser_part].annotation
    denoiser = denoiser if isinstance(denoiser, str) else getattr(denoiser, "__name__", "")
    plain = not family.max_controls and not family.is_video
    assert FACTS.get(name) == Facts(
        family.objective, family.is_video, family.min_controls, family.max_controls, family.inpaints, family.own_frame,
        tuple(family.text_lora_targets), tuple(family.word_keys), family.decorated,
        tuple(kind for kind, known in GUIDES.items() if plain and denoiser in known),
    )  # fmt: skip

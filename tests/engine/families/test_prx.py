"""PRX: what its pipelines take for granted, and the stronger noise of the one that makes pixels."""

from __future__ import annotations

import pytest
import tiny
import torch
from test_parity import wrapped

from engine.errors import JobError
from engine.families.catalog import multiple_of

CASES = {case.name: case for case in tiny.CASES if case.family.startswith("prx")}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_without_the_package_that_mends_prompts_it_says_what_to_install(case, monkeypatch):
    def clean(*given):
        raise NameError("name 'ftfy' is not defined")

    (cleaner,) = case.patches
    monkeypatch.setattr(cleaner, clean)
    with pytest.raises(JobError, match="ftfy") as error:
        wrapped(case).encode_prompts(["a red fox"])
    assert "Install" in error.value.hint


def test_of_pixels_the_noise_is_as_strong_as_what_the_pipeline_begins_with():
    family = wrapped(CASES["prx of pixels"])
    begun = family.pipe.prepare_latents(1, 3, 64, 64, torch.float32, torch.device("cpu"), torch.Generator().manual_seed(0))
    drawn = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn * family.strength, begun)
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1
    mean, std = family.encode_pixels(pixels)
    torch.testing.assert_close(mean * family.strength, pixels)
    assert not std.any()


def test_the_catalog_knows_how_coarse_the_latents_of_a_dc_ae_are(tmp_path):
    for name in ("prx", "prx with a dc-ae"):
        case = CASES[name]
        assert multiple_of(str(tiny.save(case.make(), tmp_path / name, **case.defaults)), "prx") == wrapped(case).pixel_multiple == 4

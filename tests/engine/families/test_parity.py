"""The velocity that a family predicts is the velocity that the stock pipeline hands to its scheduler."""

from __future__ import annotations

import pytest
import tiny
import torch

from engine.families.base import Request
from engine.families.defaults import ModelDefaults
from engine.families.flux import Flux
from engine.families.layout import pack, unpack

FAMILIES = {
    "flux": lambda: Flux(tiny.flux(), ModelDefaults.model_validate(tiny.DEFAULTS), None),
    "flux with guidance": lambda: Flux(
        tiny.flux(guidance_embeds=True), ModelDefaults.model_validate(tiny.DEFAULTS), None
    ),
}


@pytest.fixture(params=FAMILIES)
def family(request):
    made = FAMILIES[request.param]()
    made.pipe.set_progress_bar_config(disable=True)
    return made


def as_latents(tensor: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return unpack(tensor, like=torch.empty(1, 1, height, width)) if tensor.ndim == 3 else tensor


def test_predicts_what_the_pipeline_predicts(family, monkeypatch):
    """A picture that is not square, so that swapped sides are seen; the words matter, so that dropped text is seen."""
    seen = []
    scheduler = type(family.pipe.scheduler)
    step = scheduler.step

    def spy(self, velocity, t, sample, *rest, **named):
        seen.append((velocity, t, sample))
        return step(self, velocity, t, sample, *rest, **named)

    monkeypatch.setattr(scheduler, "step", spy)
    with torch.no_grad():
        cond = family.encode_prompts(["a red fox"])
        request = Request("a red fox", "", width=48, height=32, steps=3, guidance=1.0, seed=0)
        family.sample(cond, None, request)
        assert len(seen) == 3
        for velocity, t, sample in seen:
            ours = family.predict(as_latents(sample, 16, 24), t.view(1) / 1000, cond)
            torch.testing.assert_close(ours, as_latents(velocity, 16, 24))
            other = family.predict(
                as_latents(sample, 16, 24), t.view(1) / 1000, family.encode_prompts(["blue"])
            )
            assert not torch.equal(ours, other)


def test_latents_are_what_the_pipeline_decodes(family):
    """Latents made by encode_pixels, decoded as the pipeline decodes, are the VAE's own reconstruction."""
    pixels = torch.rand(1, 3, 32, 48) * 2 - 1
    vae = family.pipe.vae
    with torch.no_grad():
        mean, std = family.encode_pixels(pixels)
        ours = vae.decode(mean / vae.config.scaling_factor + vae.config.shift_factor).sample
        theirs = vae.decode(vae.encode(pixels).latent_dist.mean).sample
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(std / vae.config.scaling_factor, vae.encode(pixels).latent_dist.std)


def test_tokens_are_in_the_pipelines_order():
    latents = torch.randn(2, 3, 8, 6)
    stock = tiny.flux()._pack_latents(latents, 2, 3, 8, 6)
    assert torch.equal(pack(latents), stock)
    assert torch.equal(unpack(stock, like=latents), latents)

"""Chroma Radiance: its real size, a single file beside a folder of Chroma, and pixels in the place of latents."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import save_file
from test_parity import as_pixels, request_of, wrapped

from engine.errors import JobError
from engine.families.catalog import BASES, family_name, load_family, pipeline_in
from engine.families.radiance_transformer import RadianceTransformer2DModel
from engine.jobs import ModelSection
from engine.runtime.hub import base_name
from engine.runtime.loading import load_parts, open_family
from engine.runtime.saving import save_pipeline
from engine.settings import Settings, save_settings

CASES = {case.name: case for case in tiny.CASES}
CPU = torch.device("cpu")


@pytest.fixture
def chroma(tmp_path) -> Path:
    """A whole model of Chroma."""
    return tiny.save(CASES["chroma"].make(), tmp_path / "chroma", max_sequence_length=32)


def checkpoint(chroma: Path, file: Path, *marks: str) -> dict[str, torch.Tensor]:
    """Weights of the size that Chroma's configuration says, in one file, marked as published ones are."""
    torch.manual_seed(1)
    weights = RadianceTransformer2DModel.from_config(RadianceTransformer2DModel.load_config(chroma / "transformer")).state_dict()
    save_file({**weights, **{mark: torch.zeros(0) for mark in marks}}, file)
    return weights


def section(chroma: Path, file: Path) -> ModelSection:
    return ModelSection(name_or_path=str(file), arch="chroma_radiance", extras_name_or_path=str(chroma))


@pytest.mark.parametrize("marks", [(), ("__x0__",), ("__x0__", "__32x32__")])
def test_a_single_file_is_opened_beside_a_folder_of_chroma(chroma, tmp_path, marks):
    weights = checkpoint(chroma, tmp_path / "radiance.safetensors", *marks)
    family = open_family(section(chroma, tmp_path / "radiance.safetensors"), torch.float32)
    list(load_parts(family, ("text_encoder", "transformer"), CPU, torch.float32))
    assert family.name == "chroma_radiance" and not hasattr(family.pipe, "vae")
    assert (family.denoiser.config.use_x0, family.denoiser.config.use_patch_size_32) == ("__x0__" in marks, "__32x32__" in marks)
    assert all(torch.equal(weight, weights[name]) for name, weight in family.denoiser.state_dict().items())
    with torch.no_grad():
        answer = family.predict(torch.randn(1, 3, 32, 64), torch.tensor([0.5]), family.encode_prompts(["a red fox"]))
    assert answer.shape == (1, 3, 32, 64) and answer.isfinite().all()


def test_all_weights_that_were_trained_are_opened_again_without_being_told_what_they_are(chroma, tmp_path):
    checkpoint(chroma, tmp_path / "radiance.safetensors", "__x0__")
    family = open_family(section(chroma, tmp_path / "radiance.safetensors"), torch.float32)
    list(load_parts(family, ("transformer",), CPU, torch.float32))
    save_pipeline(family, tmp_path / "trained", "fp32")
    assert family_name(None, pipeline_in(tmp_path / "trained"), tmp_path / "trained") == "chroma_radiance"
    assert family_name(None, pipeline_in(chroma), chroma) == "chroma"
    again = open_family(ModelSection(name_or_path=str(tmp_path / "trained")), torch.float32)
    list(load_parts(again, ("transformer",), CPU, torch.float32))
    assert again.denoiser.config.use_x0
    assert all(torch.equal(weight, again.denoiser.state_dict()[name]) for name, weight in family.denoiser.state_dict().items())


def test_an_autoencoder_is_refused_in_a_sentence(chroma, tmp_path):
    checkpoint(chroma, tmp_path / "radiance.safetensors")
    given = section(chroma, tmp_path / "radiance.safetensors").model_copy(update={"vae_path": str(chroma)})
    with pytest.raises(JobError, match="works on pixels"):
        open_family(given, torch.float32)


def test_the_published_file_needs_no_more_than_its_name(chroma, tmp_path, monkeypatch):
    """The table knows its family, and where its text encoder is; of another file the family must be said."""
    row = next(row for row in BASES if row.id == "chroma-radiance")
    assert base_name(ModelSection(name_or_path=row.name_or_path)) == "lodestones/Chroma1-HD"
    assert base_name(ModelSection(name_or_path="mine.safetensors", arch="chroma_radiance")) == "lodestones/Chroma1-HD"
    with pytest.raises(JobError, match="single file"):
        base_name(ModelSection(name_or_path="mine.safetensors"))
    save_settings(Settings(models=tmp_path / "models"))
    (tmp_path / "models" / "lodestones" / "Chroma1-Radiance").mkdir(parents=True)
    chroma.rename(tmp_path / "models" / "lodestones" / "Chroma1-HD")
    checkpoint(tmp_path / "models" / "lodestones" / "Chroma1-HD", tmp_path / "models" / row.name_or_path)
    family = open_family(ModelSection(name_or_path=row.name_or_path), torch.float32)
    assert family.name == "chroma_radiance" and family.title == "Chroma1 Radiance"
    assert family.sources["transformer"].file.name == "Chroma1-Radiance.safetensors"


def test_words_are_read_as_chroma_reads_them():
    ours, theirs = (wrapped(CASES[name]).pipe for name in ("radiance", "chroma"))
    ours.text_encoder, ours.tokenizer = theirs.text_encoder, theirs.tokenizer
    prompts = ["a red fox", "blue", "x" * 40]
    chroma = load_family("chroma")(theirs, wrapped(CASES["chroma"]).defaults, None)
    with torch.no_grad():
        embeds, mask = ours.encode_prompt(prompts, max_sequence_length=32)
        expected = chroma.encode_prompts(prompts)
    torch.testing.assert_close(embeds, expected["prompt_embeds"], rtol=1e-4, atol=1e-5)
    assert torch.equal(mask, expected["prompt_attention_mask"])


def test_latents_are_the_pixels(monkeypatch):
    family = wrapped(CASES["radiance"])
    picture = torch.rand(1, 3, 32, 64) * 2 - 1
    mean, std = family.encode_pixels(picture)
    assert torch.equal(mean, picture) and not std.any()
    monkeypatch.setattr(type(family.pipe.scheduler), "step", lambda self, answer, t, sample, **more: (picture,))
    with torch.no_grad():
        drawn = family.sample(family.encode_prompts(["a red fox"]), None, request_of(CASES["radiance"], 1.0, steps=1))
    np.testing.assert_allclose(as_pixels(drawn), picture, atol=1 / 127)


@pytest.mark.parametrize("size", [(64, 32), (128, 128)])
def test_noise_levels_are_those_of_the_published_sampler(monkeypatch, size):
    """exp mu / (exp mu + 1/s - 1), and mu is that of three tokens, whatever the size."""
    family, seen = wrapped(CASES["radiance"]), []
    scheduler = type(family.pipe.scheduler)
    step = scheduler.step
    monkeypatch.setattr(
        scheduler, "step", lambda self, answer, t, sample, **more: seen.append(t.item()) or step(self, answer, t, sample, **more)
    )
    family.pipe("a red fox", width=size[0], height=size[1], num_inference_steps=4, guidance_scale=1.0, max_sequence_length=32)
    mu = 0.5 + (1.15 - 0.5) * (3 - 256) / (4096 - 256)
    expected = [1000 * math.exp(mu) / (math.exp(mu) + 1 / s - 1) for s in (1.0, 0.75, 0.5, 0.25)]
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


def test_in_half_precision_it_says_nearly_the_same():
    """Pixels and their places are reckoned in fp32 even then."""
    family = wrapped(CASES["radiance"])
    with torch.no_grad():
        cond, noisy = family.encode_prompts(["a red fox"]), torch.randn(1, 3, 32, 64)
        exact = family.predict(noisy, torch.tensor([0.5]), cond)
        family.denoiser.to(torch.bfloat16)
        with torch.autocast("cpu", torch.bfloat16):
            half = family.predict(
                noisy, torch.tensor([0.5]), {name: value.bfloat16() if value.is_floating_point() else value for name, value in cond.items()}
            )
    assert (half.float() - exact).norm() < 0.05 * exact.norm()

"""Flex.2: its real size, its published folder, drawing anew where a mask is white, and what it practises."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from test_every_family import load_lora
from test_flux_relatives import NATIVE
from test_parity import as_pixels, conditioning, pictures, request_of, wrapped
from torch.nn.functional import interpolate

from engine.errors import JobError
from engine.families.catalog import family_name, pipeline_in
from engine.families.flex2 import blobs
from engine.jobs import ModelSection, load_job_with_notes
from engine.network.attach import attach
from engine.network.layers import split
from engine.network.reader import read_lora
from engine.runtime.loading import load_parts, open_family
from engine.training.objectives import Batch, FlowMatching, Regression

CASES = {case.name: case for case in tiny.CASES}


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_published_folder_calls_itself_a_flux_pipeline(tmp_path):
    """And is told from FLUX and from Flex.1, which has as many layers, by the channels that it reads."""
    folder = tiny.save(CASES["flex 2"].make(), tmp_path / "base")
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    (folder / "model_index.json").write_text(json.dumps({**index, "_class_name": "FluxPipeline"}))
    family = open_family(ModelSection(name_or_path=str(folder), arch="flex2"), torch.float32)
    list(load_parts(family, (*family.text_parts, "transformer"), torch.device("cpu"), torch.float32))
    fresh = CASES["flex 2"].make().transformer.state_dict()
    assert all(torch.equal(weight, fresh[name]) for name, weight in family.denoiser.state_dict().items())
    settings = {"num_layers": 8, "num_single_layers": 38}
    for channels, name in ((196, "flex2"), (64, "flex1")):
        (folder / "transformer" / "config.json").write_text(json.dumps({**settings, "in_channels": channels}))
        assert family_name(None, pipeline_in(folder), folder) == name
    assert family_name(None, "FluxPipeline") == "flux"


def test_comfyui_reads_the_same_names_as_of_flux(tmp_path):
    family = wrapped(CASES["flex 2"])
    network = attach(load_lora(), {"transformer": family.denoiser}, family.lora_targets, family=family.name)
    network.save(tmp_path / "lora.safetensors", {}, "fp32", "comfyui")
    names = split(read_lora(tmp_path / "lora.safetensors")[0])
    assert {name.removeprefix("diffusion_model.") for name in names} == NATIVE["chroma"]


def test_predicts_what_the_pipeline_predicts_where_a_part_is_drawn_anew(monkeypatch):
    case = CASES["flex 2 control"]
    family, stock, seen, (control,) = wrapped(case), wrapped(case), [], pictures(case)
    case.mend(stock.pipe)
    step = type(stock.pipe.scheduler).step
    monkeypatch.setattr(type(stock.pipe.scheduler), "step", lambda self, *given, **named: seen.append(given) or step(self, *given, **named))
    kept = Image.fromarray(np.random.default_rng(0).integers(0, 255, (case.height, case.width, 3), dtype=np.uint8))
    white = np.zeros((case.height, case.width), np.uint8)
    white[:21, 30:] = 255
    with torch.no_grad():
        cond = conditioning(family, "a red fox", ())
        stock.sample(cond, None, request_of(case, 1.0), [control], inpaint_image=kept, inpaint_mask=Image.fromarray(white))
        latents = family.encode_reference(as_pixels(kept))
        mask = interpolate(torch.from_numpy(white)[None, None].float() / 255, latents.shape[-2:], mode="bilinear")
        cond |= {"control_0": family.encode_reference(as_pixels(control)), "inpaint": torch.cat([latents * (1 - mask), mask], 1)}
        for answer, t, sample in seen:
            noisy, theirs = (case.unpack(tensor, *case.latents) for tensor in (sample, answer))
            ours = family.predict(noisy, t.view(1) / 1000, cond)
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
            other = {**cond, "inpaint": mask.expand(-1, 2, -1, -1)}
            assert not torch.allclose(ours, family.predict(noisy, t.view(1) / 1000, other), atol=1e-6)
    with pytest.raises(ValueError, match="go together"):
        stock.pipe("a red fox", inpaint_image=kept)


def test_a_control_picture_of_another_shape_is_cut_and_seen():
    family = wrapped(CASES["flex 2"])
    with torch.no_grad():
        cond, request = conditioning(family, "a red fox", ()), request_of(CASES["flex 2"], 1.0, steps=1)
        one, other = (family.sample(cond, None, request, [Image.new("RGB", (200, 300), colour)]) for colour in ("red", "blue"))
        nothing = family.sample(cond, None, request)
        wide = Image.new("RGB", (144, 32), "blue")
        wide.paste("red", (48, 0, 96, 32))
        middle = family.sample(cond, None, request, [wide])
    assert one.size == (48, 32) and middle.tobytes() == one.tobytes()
    assert len({one.tobytes(), other.tobytes(), nothing.tobytes()}) == 3
    assert not family.denoiser._forward_pre_hooks


def test_control_pictures_are_left_out_as_often_as_is_asked():
    family = wrapped(CASES["flex 2"])
    clean, cond = torch.randn(400, 1, 4, 4), {"prompt_embeds": torch.zeros(400, 1, 1), "control_0": torch.ones(400, 1, 4, 4)}
    assert family.practise(clean, cond, rng()).keys() == cond.keys()
    family.kwargs = {**family.kwargs, "control_dropout": 0.25}
    shown = family.practise(clean, cond, rng())["control_0"].flatten(1)
    assert set(shown.mean(1).tolist()) == {0.0, 1.0} and 0.2 < 1 - shown.mean() < 0.3
    assert cond["control_0"].all()


def test_a_part_is_drawn_anew_where_that_is_asked_for():
    """What is kept is the picture's own; the rest is empty, and marked."""
    family = wrapped(CASES["flex 2"])
    clean = torch.randn(400, 1, 16, 24)
    family.kwargs = {**family.kwargs, "do_random_inpainting": True, "inpaint_dropout": 0.25}
    kept, mask = family.practise(clean, {}, rng())["inpaint"].split(1, dim=1)
    assert set(mask.unique().tolist()) == {0.0, 1.0} and torch.equal(kept, clean * (1 - mask))
    shares = mask.flatten(1).mean(1)
    assert 0.2 < (shares == 1).float().mean() < 0.3
    assert 0.15 < shares[shares < 1].min() < 0.25 and 0.75 < shares[shares < 1].max() < 0.85
    assert not torch.equal(*blobs(clean, rng())[:2])


def test_training_shows_it_what_it_practises(monkeypatch):
    family, seen = wrapped(CASES["flex 2"]), []
    family.kwargs = {**family.kwargs, "do_random_inpainting": True}
    monkeypatch.setattr(family, "predict", lambda noisy, sigma, cond: seen.append(cond) or noisy)
    batch = Batch(torch.randn(2, 1, 16, 24), torch.zeros(2, 1, 16, 24), {})
    Regression(FlowMatching()).loss(family, batch, rng())
    kept, mask = seen[0]["inpaint"].split(1, dim=1)
    assert torch.equal(kept, batch.mean * (1 - mask)) and mask.any() and not mask.all()


def test_settings_that_it_does_not_have_are_refused(tmp_path):
    folder = tiny.save(CASES["flex 2"].make(), tmp_path / "base")
    family = open_family(ModelSection(name_or_path=str(folder), model_kwargs={"control_dropout": 0.5}), torch.float32)
    assert family.kwargs == {"control_dropout": 0.5, "inpaint_dropout": 0.0, "do_random_inpainting": False}
    with pytest.raises(JobError, match="inpaint_dropout"):
        open_family(ModelSection(name_or_path=str(folder), model_kwargs={"inpaint_dropout": 0.5}), torch.float32)
    with pytest.raises(JobError, match="random_blur_mask"):
        open_family(ModelSection(name_or_path=str(folder), model_kwargs={"random_blur_mask": True}), torch.float32)


def test_a_foreign_job_that_bypasses_guidance_is_done_so_without_a_word():
    process = {
        "type": "sd_trainer", "model": {"name_or_path": "x/y", "arch": "flex2"}, "datasets": [{"folder_path": "x"}],
        "network": {"type": "lora", "linear": 16}, "train": {"steps": 10, "bypass_guidance_embedding": True},
    }  # fmt: skip
    _, notes = load_job_with_notes({"job": "extension", "config": {"name": "x", "process": [process]}})
    assert not any("bypass_guidance_embedding" in note.message for note in notes)

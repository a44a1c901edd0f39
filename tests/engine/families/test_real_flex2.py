"""Flex.2: its real size, its published folder, drawing anew where a mask is white, and what it practises."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from phases import bench_of, ended
from PIL import Image
from test_every_family import load_lora
from test_flux_relatives import NATIVE
from test_parity import as_pixels, conditioning, pictures, request_of, wrapped
from torch.nn.functional import interpolate

from engine.control import Control
from engine.errors import JobError
from engine.families.catalog import family_name, pipeline_in
from engine.families.flex2 import Flex2, blobs
from engine.jobs import ModelSection, TrainJob, load_job_with_notes
from engine.network.attach import attach
from engine.network.layers import split
from engine.network.reader import read_lora
from engine.runtime.loading import load_parts, open_family
from engine.training.checks import inpainting_notes
from engine.training.objectives import Batch, FlowMatching, Regression
from engine.training.prepare import prepare

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


def inpainting(**kwargs: Any) -> Flex2:
    family = wrapped(CASES["flex 2"])
    family.kwargs = {**family.kwargs, **kwargs}
    return family


def half(rows: int) -> torch.Tensor:
    """The right half is drawn anew."""
    return torch.cat([torch.zeros(rows, 1, 16, 12), torch.ones(rows, 1, 16, 12)], -1)


def shown(family: Flex2, clean: torch.Tensor, anew: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What is kept, and where the model is told that it draws anew."""
    cond = family.practise(clean, {"anew": anew}, rng())
    assert "anew" not in cond
    return cond["inpaint"].split(1, dim=1)


def test_what_the_data_erases_is_drawn_anew():
    clean, anew = torch.randn(400, 1, 16, 24), half(400)
    kept, mask = shown(inpainting(), clean, anew)
    assert torch.equal(mask, anew) and torch.equal(kept, clean * (1 - anew))
    kept, mask = shown(inpainting(inpaint_dropout=0.25), clean, anew)
    left_out = mask.flatten(1).all(1)
    assert 0.2 < left_out.float().mean() < 0.3 and not kept[left_out].any() and torch.equal(mask[~left_out], anew[~left_out])
    _, mask = shown(inpainting(inpaint_random_chance=0.25), clean, anew)
    assert 0.2 < 1 - (mask == anew).flatten(1).all(1).float().mean() < 0.3


def test_a_part_is_erased_by_chance_only_where_the_data_erases_none():
    anew = half(4)
    anew[2:] = 1
    _, mask = shown(inpainting(do_random_inpainting=True), torch.randn(4, 1, 16, 24), anew)
    assert torch.equal(mask[:2], anew[:2]) and not mask[2:].flatten(1).all(1).any()
    assert torch.equal(shown(inpainting(), torch.randn(4, 1, 16, 24), anew)[1], anew)


def test_the_mask_is_turned_round_as_often_as_is_asked_but_never_that_of_a_whole_picture():
    clean, anew = torch.ones(400, 1, 16, 24), half(400)
    anew[0] = 1
    kept, mask = shown(inpainting(invert_inpaint_mask_chance=0.25), clean, anew)
    turned = mask[1:, 0, 0, 0] == 1
    assert 0.2 < turned.float().mean() < 0.3 and torch.equal(mask[1:][turned], 1 - anew[1:][turned])
    assert torch.equal(kept[1:], 1 - mask[1:]) and mask[0].all() and not kept[0].any()
    assert shown(inpainting(invert_inpaint_mask_chance=1.0), clean[:1], anew[:1])[1].all()


def test_the_mask_is_softened_and_what_is_kept_with_it():
    clean, anew = torch.ones(400, 1, 16, 24), half(400)
    kept, mask = shown(inpainting(random_blur_mask=True), clean, anew)
    soft = (mask != anew).flatten(1).any(1)
    assert 0.4 < soft.float().mean() < 0.6 and torch.allclose(kept, 1 - mask)
    rows = mask[soft][:, 0, 8]
    assert (rows.diff() > -1e-6).all() and torch.allclose(rows.sum(1), torch.tensor(12.0))
    assert torch.allclose(rows[:, [0, -1]], torch.tensor([0.0, 1.0])) and len(rows.unique(dim=0)) == 4


def test_the_edge_that_is_marked_differs_a_little_from_what_is_kept():
    clean, anew = torch.ones(400, 1, 16, 40), torch.cat([half(400), torch.ones(400, 1, 16, 16)], -1)
    kept, mask = shown(inpainting(random_dialate_mask=True), clean, anew)
    assert torch.equal(kept, 1 - anew) and set(mask.unique().tolist()) == {0.0, 1.0}
    differs = (mask != anew)[:, 0, 8]
    assert differs.any() and not differs[:, :11].any() and not differs[:, 13:].any()


def test_training_shows_it_the_pictures_with_their_erased_parts(tmp_path, make_job):
    values = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
    alpha = np.repeat([[255] * 16 + [0] * 32], 32, 0).astype(np.uint8)
    for folder, picture in (("data", Image.fromarray(values)), ("erased", Image.fromarray(np.dstack([values // 2, alpha]), "RGBA"))):
        (tmp_path / folder).mkdir()
        picture.save(tmp_path / folder / "a.png")
    (tmp_path / "data/a.txt").write_text("a thing")
    base = tiny.save(CASES["flex 2"].make(), tmp_path / "base")

    def job(arch: str = "flex2", **kwargs: Any) -> TrainJob:
        datasets = [{"path": str(tmp_path / "data"), "inpaint_path": str(tmp_path / "erased"), "buckets": [[48, 32]]}]
        return make_job(datasets=datasets, model={"name_or_path": str(base), "arch": arch, **kwargs}, train__batch_size=1)

    bench = bench_of(job())
    batch = bench.batch(0)
    assert batch.cond["anew"].shape[-2:] == batch.mean.shape[-2:] and batch.cond["anew"][0, 0].mean(0).tolist() == [0.0] * 8 + [1.0] * 16
    kept, mask = bench.family.practise(batch.mean, batch.cond, rng())["inpaint"].split([batch.mean.shape[1], 1], 1)
    assert torch.equal(kept, batch.mean * (1 - mask)) and torch.equal(mask, batch.cond["anew"])
    bench.close()

    Image.open(tmp_path / "erased" / "a.png").convert("RGB").save(tmp_path / "erased" / "a.png")
    told, bench = ended(prepare(job(), Control()))
    bench.close()
    (said,) = [event.message for event in told if event.kind == "warned" and "transparent" in event.message]
    assert "erased/a.png" in said and "no part of it is drawn anew" in said


def test_a_model_that_draws_whole_pictures_refuses_erased_ones():
    items: Any = [SimpleNamespace(erased=Path("a.png"))]
    with pytest.raises(JobError, match="inpaint_path; .* draws whole pictures"):
        list(inpainting_notes(wrapped(CASES["flex 1"]), items))
    assert not list(inpainting_notes(inpainting(inpaint_dropout=0.5), items))


def test_settings_that_need_an_erased_part_are_told_where_there_is_none(tmp_path):
    folder = tiny.save(CASES["flex 2"].make(), tmp_path / "base")
    family = open_family(
        ModelSection(name_or_path=str(folder), model_kwargs={"control_dropout": 0.5, "random_blur_mask": True}), torch.float32
    )
    assert family.kwargs["control_dropout"] == 0.5 and family.kwargs["do_random_inpainting"] is False
    items: Any = [SimpleNamespace(erased=None)]
    [note] = list(inpainting_notes(family, items))
    assert note.message.startswith("model.model_kwargs.random_blur_mask has no effect")
    assert not list(inpainting_notes(inpainting(random_blur_mask=True, do_random_inpainting=True), items))
    with pytest.raises(JobError, match="blur_mask"):
        open_family(ModelSection(name_or_path=str(folder), model_kwargs={"blur_mask": True}), torch.float32)


def test_a_foreign_job_that_bypasses_guidance_is_done_so_without_a_word():
    process = {
        "type": "sd_trainer", "model": {"name_or_path": "x/y", "arch": "flex2"}, "datasets": [{"folder_path": "x"}],
        "network": {"type": "lora", "linear": 16}, "train": {"steps": 10, "bypass_guidance_embedding": True},
    }  # fmt: skip
    _, notes = load_job_with_notes({"job": "extension", "config": {"name": "x", "process": [process]}})
    assert not any("bypass_guidance_embedding" in note.message for note in notes)

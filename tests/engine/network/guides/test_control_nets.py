"""ControlNets and T2I-Adapters on the real classes: what stock pipelines say with them, how they are trained, resumed, saved and drawn with."""

from __future__ import annotations

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    FluxControlNetModel,
    FluxControlNetPipeline,
    SD3ControlNetModel,
    StableDiffusion3ControlNetPipeline,
    StableDiffusionAdapterPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLAdapterPipeline,
    StableDiffusionXLControlNetPipeline,
    T2IAdapter,
)
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from guiding import SIZE, control, guided, in_two_steps, opened, saved, stock
from PIL import Image

PIPELINES: dict[tuple[str, str], tuple[type, type]] = {
    ("sd15", "control_net"): (StableDiffusionControlNetPipeline, ControlNetModel),
    ("sd21", "control_net"): (StableDiffusionControlNetPipeline, ControlNetModel),
    ("sdxl", "control_net"): (StableDiffusionXLControlNetPipeline, ControlNetModel),
    ("sd35", "control_net"): (StableDiffusion3ControlNetPipeline, SD3ControlNetModel),
    ("sd35 with dual attention", "control_net"): (StableDiffusion3ControlNetPipeline, SD3ControlNetModel),
    ("flux", "control_net"): (FluxControlNetPipeline, FluxControlNetModel),
    ("flux with guidance", "control_net"): (FluxControlNetPipeline, FluxControlNetModel),
    ("sd15", "t2i"): (StableDiffusionAdapterPipeline, T2IAdapter),
    ("sdxl", "t2i"): (StableDiffusionXLAdapterPipeline, T2IAdapter),
}


@pytest.mark.parametrize(("name", "kind"), PIPELINES)
def test_the_stock_pipeline_says_the_same_with_the_saved_file(name, kind, tmp_path, monkeypatch):
    case, family = opened(name, tmp_path / "base")
    guide, (pipeline, model) = guided(family, kind), PIPELINES[name, kind]
    guide.save(tmp_path / "guide", {}, "fp32", "diffusers")
    pipe = stock(family, pipeline, model.from_pretrained(tmp_path / "guide"))
    case.mend(pipe)
    # the pipelines of FLUX and SD 3 draw from it
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    seen, scheduler = [], type(pipe.scheduler)
    step = scheduler.step

    def spy(self, answer, t, sample, *rest, **named):
        seen.append((answer, t, getattr(self, "scale_model_input", lambda sample, t: sample)(sample, t)))
        return step(self, answer, t, sample, *rest, **named)

    monkeypatch.setattr(scheduler, "step", spy)
    with torch.no_grad():
        cond = family.encode_prompts(["a red fox"])
        given = {"control_image" if "control_image" in inspect.signature(pipe.__call__).parameters else "image": control()}
        in_two_steps(pipe, **cond, **given)
        assert len(seen) == 2
        shown = guide.prepared(family, [saved(tmp_path)], SIZE)
        for answer, t, sample in seen:
            noisy, theirs = (case.unpack(tensor, SIZE[1] // 2, SIZE[0] // 2) for tensor in (sample, answer))
            sigma = case.share(pipe.scheduler, t)
            with guide.shown(shown):
                torch.testing.assert_close(family.predict(noisy, sigma, cond), theirs, rtol=1e-4, atol=1e-5)
                with guide.disabled():
                    without = family.predict(noisy, sigma, cond)
                with guide.scaled(0.0):
                    torch.testing.assert_close(family.predict(noisy, sigma, cond), without)
            assert (without - theirs).abs().max() > 1e-3
            torch.testing.assert_close(without, family.predict(noisy, sigma, cond))


@pytest.mark.parametrize("name", [name for name, kind in PIPELINES if kind == "control_net"])
def test_a_new_control_net_changes_nothing_and_is_a_copy_of_the_models_first_blocks(name, tmp_path):
    _, family = opened(name, tmp_path / "base")
    before = dict(family.denoiser.config)
    guide = guided(family, "control_net", learnt=False)
    noisy, sigma = torch.randn(1, family.pipe.vae.config.latent_channels, 16, 32), torch.tensor([0.5])
    with torch.no_grad():
        cond = family.encode_prompts(["a"])
        with guide.shown(guide.prepared(family, [saved(tmp_path)], SIZE)):
            one = family.predict(noisy, sigma, cond)
        torch.testing.assert_close(one, family.predict(noisy, sigma, cond))
    own, theirs = guide.model.state_dict(), family.denoiser.state_dict()
    shared = [key for key in own if key.startswith(("down_blocks", "transformer_blocks.0.")) and key in theirs]
    assert shared and all(torch.equal(own[key], theirs[key]) for key in shared)
    assert dict(family.denoiser.config) == before


def weights(folder: Path) -> bytes:
    return (folder / "diffusion_pytorch_model.safetensors").read_bytes()


@pytest.mark.parametrize(("name", "kind"), [("sd15", "control_net"), ("sd35", "control_net"), ("flux", "control_net"), ("sdxl", "t2i")])
def test_stopped_and_continued_is_the_same_bytes_and_stock_diffusers_loads_it(job_of, run, tmp_path, name, kind):
    job = job_of(name, adapter={"type": kind})
    events = run(job, "whole")
    assert events[-1].kind == "finished", events[-1]

    def stop(event, control):
        control.stop = event.kind == "step" and event.step == 3

    assert run(job, "cut", stop)[-1].reason == "stopped"
    torch.manual_seed(99)
    assert run(job, "cut")[-1].kind == "finished"
    whole, cut = (tmp_path / root / "tiny" / "tiny" for root in ("whole", "cut"))
    assert weights(whole) == weights(cut)
    loaded = PIPELINES[name, kind][1].from_pretrained(whole)
    assert max(weight.abs().max() for key, weight in loaded.named_parameters() if kind == "t2i" or key.startswith("controlnet_")) > 0
    assert (tmp_path / "whole" / "tiny" / "tiny_000000002" / "config.json").is_file()


def test_it_is_loaded_and_gone_on_with(job_of, run, tmp_path):
    run(job_of("sd15"), "first")
    made = tmp_path / "first" / "tiny" / "tiny"
    events = run(
        job_of("sd15", adapter={"type": "control_net", "name_or_path": str(made)}, train={"steps": 1, "lr": 1e-12, "optimizer": "adamw"}),
        "second",
    )
    assert events[-1].kind == "finished", events[-1]
    before, after = (ControlNetModel.from_pretrained(folder).state_dict() for folder in (made, tmp_path / "second" / "tiny" / "tiny"))
    assert all(torch.allclose(before[key], after[key], atol=1e-9) for key in before)


@pytest.mark.parametrize(("name", "kind"), [("sd15", "control_net"), ("sdxl", "t2i")])
def test_a_sample_is_what_the_stock_pipeline_draws(job_of, run, tmp_path, name, kind):
    """With guidance, where both prompts are asked about at once."""
    Image.fromarray(np.array(control().resize((64, 64)))).save(tmp_path / "control.png")
    sample = {
        "sample_every": 4,
        "samples": [{"prompt": "a red fox", "ctrl_img": str(tmp_path / "control.png")}, {"prompt": "a red fox"}],
        "guidance_scale": 4,
        "walk_seed": False,
    }
    job = job_of(
        name,
        adapter={"type": kind},
        sample=sample | {"width": 64, "height": 64, "format": "png"},
        train={"steps": 4, "lr": 5e-2, "batch_size": 2, "optimizer": "adamw"},
    )
    events = run(job)
    assert events[-1].kind == "finished", events[-1]
    assert any("nothing to follow" in event.message for event in events if event.kind == "warned")
    _, family = opened(name, tmp_path / "again")
    pipeline, model = PIPELINES[name, kind]
    pipe = stock(family, pipeline, model.from_pretrained(tmp_path / "out" / "tiny" / "tiny"))
    theirs = pipe(
        "a red fox", image=Image.open(tmp_path / "control.png"), negative_prompt="", width=64, height=64, num_inference_steps=2, guidance_scale=4.0,
        generator=torch.Generator().manual_seed(42),
    ).images[0]  # fmt: skip
    ours, bare = (Image.open(tmp_path / "out" / "tiny" / event.path) for event in events if event.kind == "sampled" and event.step == 4)
    assert np.abs(np.subtract(ours, theirs, dtype=int)).max() <= 1
    assert np.abs(np.subtract(ours, bare, dtype=int)).max() > 4


def test_control_pictures_are_cut_and_turned_as_their_pictures_are(job_of, tmp_path):
    """The pictures are their own control pictures, so both must be the same pixels."""
    from engine.data.batches import Batches
    from engine.data.captions.options import wording_of
    from engine.data.scan import scan
    from engine.data.sizes.buckets import place
    from engine.training.loader import Loader

    folder = tmp_path / "same"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for index in range(4):
        Image.fromarray(rng.integers(0, 255, (80, 112, 3), dtype=np.uint8)).save(folder / f"{index}.png")
    own = {"path": str(folder), "default_caption": "x", "resolution": [32], "flip_x": True, "random_crop": True, "random_scale": True}
    job = job_of("sd15", datasets=[own])
    items = [replace(item, controls=(item.path,)) for item in scan(job.datasets[0])]
    placed = place(job.datasets, items, [32], 16)
    _, family = opened("sd15", tmp_path / "base")
    loader = Loader(job, family, items, placed, Batches(placed, 2, 0), None, None, None, [wording_of(job.datasets[0])], False, "pixels")
    seen = set()
    for micro in range(8):
        loaded = loader.load(micro)
        (mate,), (pictures,) = loaded.shown, loaded.columns
        assert torch.equal(mate, pictures.pixels)
        seen |= {item.flip for item in loaded.items}
    loader.close()
    assert seen == {False, True}


def test_a_made_control_picture_is_followed_too(job_of, run):
    settings = {key: value for key, value in job_of("sd15").datasets[0].model_dump(exclude_defaults=True).items() if key != "control_path"}
    events = run(job_of("sd15", datasets=[settings | {"controls": ["canny"]}], train={"steps": 1, "optimizer": "adamw"}))
    assert events[-1].kind == "finished", events[-1]


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("sd35", {"adapter": {"type": "t2i"}}, "no adapter of the type t2i"),
        ("sd15", {"network": {"type": "full"}}, "network full does not go together with adapter"),
        ("sd15", {"train": {"train_text_encoder": True}}, "train_text_encoder does not go together with adapter"),
        ("sd15", {"slider": {"target_class": "a", "positive_prompt": "b"}}, "both adapter and slider"),
        ("sd15", {"datasets": "bare"}, "follows 1 control picture with each picture, and datasets[0] names none"),
        ("sd15", {"adapter": {"type": "control_net", "name_or_path": "elsewhere"}}, "is no ControlNetModel"),
        ("flux", {"adapter": {"type": "control_net", "name_or_path": "another"}}, "was made for another model"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(job_of, run, tmp_path, name, changes, told):
    if changes.get("datasets"):
        changes = {"datasets": [{"path": str(tmp_path / "data" / "pictures")}]}
    if "name_or_path" in changes.get("adapter", {}):
        place = tmp_path / "elsewhere"
        place.mkdir()
        if changes["adapter"]["name_or_path"] == "another":
            FluxControlNetModel(
                in_channels=4,
                num_layers=1,
                num_single_layers=0,
                attention_head_dim=8,
                num_attention_heads=2,
                joint_attention_dim=32,
                pooled_projection_dim=32,
                axes_dims_rope=[2, 2, 4],
            ).save_pretrained(place)
        changes = {"adapter": changes["adapter"] | {"name_or_path": str(place)}}
    failed = run(job_of(name, **changes))[-1]
    assert failed.kind == "failed" and told in failed.message and failed.hint and not failed.detail

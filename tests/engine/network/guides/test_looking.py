"""IP-Adapter and Redux on the real classes: what stock pipelines say with their files, how they are trained, resumed and drawn with."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline, FluxPriorReduxPipeline
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from guiding import SIZE, control, in_two_steps, opened, saved
from PIL import Image
from safetensors.torch import load_file
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipImageProcessor,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from engine.control import Control
from engine.jobs.adapters import ControlLora, ControlNet, IpAdapter, Redux, T2i
from engine.network.guides.making import attach_guide, guide_for
from engine.training.looked_at import with_looks
from engine.training.looks import Looks


@pytest.fixture(scope="module")
def eyes(tmp_path_factory) -> dict[str, Path]:
    """A CLIP without a processor beside it, as published ones of IP-Adapter are, and a SigLIP with one."""
    folder = tmp_path_factory.mktemp("eyes")
    torch.manual_seed(3)
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    CLIPVisionModelWithProjection(CLIPVisionConfig(**shape, projection_dim=12)).save_pretrained(folder / "clip")
    SiglipVisionModel(SiglipVisionConfig(**shape)).save_pretrained(folder / "siglip")
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder / "siglip")
    return {"ip": folder / "clip", "redux": folder / "siglip"}


def looking(kind: str, family: Any, eyes: dict[str, Path], path: Path) -> Any:
    """A guide whose weights matter, that has looked at one picture."""
    settings = (IpAdapter if kind == "ip" else Redux)(image_encoder_path=str(eyes[kind]))
    guide = attach_guide(settings, family, torch.device("cpu"), torch.float32, 0, False)
    rng = torch.Generator().manual_seed(7)
    for weight in guide.parameters():
        weight.data += 0.2 * torch.randn(weight.shape, generator=rng)
    guide.look = Looks(settings.image_encoder_path, guide.sight)
    list(guide.look.fill([path], torch.device("cpu"), Control()))
    return guide


def spied(monkeypatch, scheduler: type) -> list[Any]:
    seen: list[Any] = []
    step = scheduler.step

    def spy(self, answer, t, sample, *rest, **named):
        seen.append((answer, t, getattr(self, "scale_model_input", lambda sample, t: sample)(sample, t)))
        return step(self, answer, t, sample, *rest, **named)

    monkeypatch.setattr(scheduler, "step", spy)
    return seen


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_the_stock_pipeline_says_the_same_with_the_ip_adapters_file(name, eyes, tmp_path, monkeypatch):
    case, family = opened(name, tmp_path / "base")
    with torch.no_grad():
        cond = family.encode_prompts(["a red fox"])
    pipe = copy.deepcopy(family.pipe)
    path = saved(tmp_path)
    guide = looking("ip", family, eyes, path)
    guide.save(tmp_path / "ip.safetensors", {}, "fp32", "diffusers")
    pipe.register_modules(
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(eyes["ip"]),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32),
    )
    pipe.load_ip_adapter(tmp_path, subfolder="", weight_name="ip.safetensors", image_encoder_folder=None)
    seen = spied(monkeypatch, type(pipe.scheduler))
    with torch.no_grad():
        in_two_steps(pipe, **cond, ip_adapter_image=control())
        assert len(seen) == 2
        shown = guide.prepared(family, [path], SIZE)
        for answer, t, sample in seen:
            at = case.share(pipe.scheduler, t)
            with guide.shown(shown):
                torch.testing.assert_close(family.predict(sample, at, cond), answer, rtol=1e-4, atol=1e-5)
                with guide.disabled():
                    without = family.predict(sample, at, cond)
                with guide.scaled(0.0):
                    torch.testing.assert_close(family.predict(sample, at, cond), without)
            assert (without - answer).abs().max() > 1e-4
            torch.testing.assert_close(without, opened(name, tmp_path / "again")[1].predict(sample, at, cond), rtol=1e-4, atol=1e-5)


def test_a_new_ip_adapter_reads_the_picture_as_the_words_are_read(eyes, tmp_path):
    _, family = opened("sd15", tmp_path / "base")
    reads = [layer for name, layer in family.denoiser.named_modules() if name.endswith("attn2")]
    theirs = [(layer.to_k.weight.clone(), layer.to_v.weight.clone()) for layer in reads]
    settings = IpAdapter(image_encoder_path=str(eyes["ip"]))
    own, again, another = (
        dict(
            attach_guide(
                settings, opened("sd15", tmp_path / f"{index}")[1], torch.device("cpu"), torch.float32, seed, False
            ).named_parameters()
        )
        for index, seed in enumerate((3, 3, 4))
    )
    for index, (key, value) in enumerate(theirs):
        assert torch.equal(own[f"ip_adapter.{2 * index + 1}.to_k_ip.weight"], key) and torch.equal(
            own[f"ip_adapter.{2 * index + 1}.to_v_ip.weight"], value
        )
    assert len(theirs) * 2 == sum(name.startswith("ip_adapter.") for name in own)
    guide = attach_guide(settings, family, torch.device("cpu"), torch.float32, 3, False)
    noisy, sigma, look = (
        torch.randn(1, family.pipe.vae.config.latent_channels, 16, 32),
        torch.tensor([0.5]),
        torch.randn(1, 1, guide.empty.shape[2]),
    )
    with torch.no_grad(), guide.shown([look]):
        cond = family.encode_prompts(["a red fox"])
        shown = family.predict(noisy, sigma, cond)
        with guide.disabled():
            assert (family.predict(noisy, sigma, cond) - shown).abs().max() > 1e-4  # it says something before it has learned
    assert all(torch.equal(own[name], again[name]) for name in own) and not torch.equal(
        own["image_proj.proj.weight"], another["image_proj.proj.weight"]
    )


def test_the_stock_pipeline_says_the_same_with_the_redux_file(eyes, tmp_path, monkeypatch):
    case, family = opened("flux", tmp_path / "base")
    path = saved(tmp_path)
    parts = {
        name: part for name, part in copy.deepcopy(family.pipe).components.items() if name not in ("image_encoder", "feature_extractor")
    }
    guide = looking("redux", family, eyes, path)
    guide.save(tmp_path / "redux", {}, "fp32", "diffusers")
    pipe = FluxPipeline(**parts)
    pipe.set_progress_bar_config(disable=True)
    prior = FluxPriorReduxPipeline(
        SiglipVisionModel.from_pretrained(eyes["redux"]),
        SiglipImageProcessor.from_pretrained(eyes["redux"]),
        ReduxImageEncoder.from_pretrained(tmp_path / "redux"),
    )
    seen = spied(monkeypatch, type(pipe.scheduler))
    with torch.no_grad():
        cond = family.encode_prompts(["a red fox"])
        tokens = prior.image_embedder(prior.encode_image(control(), torch.device("cpu"), 1)).image_embeds
        told = cond | {"prompt_embeds": torch.cat([cond["prompt_embeds"], tokens], 1)}  # as the prior puts them behind the prompt
        in_two_steps(pipe, **told)
        shown = guide.prepared(family, [path], SIZE)
        for answer, t, sample in seen:
            noisy, theirs = (case.unpack(tensor, SIZE[1] // 2, SIZE[0] // 2) for tensor in (sample, answer))
            with guide.shown(shown):
                torch.testing.assert_close(family.predict(noisy, case.share(pipe.scheduler, t), cond), theirs, rtol=1e-4, atol=1e-5)
            assert (family.predict(noisy, case.share(pipe.scheduler, t), cond) - theirs).abs().max() > 1e-4


@pytest.mark.parametrize(("name", "kind"), [("sd15", "ip"), ("flux", "redux")])
def test_stopped_and_continued_is_the_same_bytes(job_of, run, tmp_path, eyes, name, kind):
    data = [{"path": str(tmp_path / "data" / "pictures"), "resolution": [64], "flip_x": True}]
    job = job_of(name, adapter={"type": kind, "image_encoder_path": str(eyes[kind]), "control_image_dropout": 0.3}, datasets=data)
    events = run(job, "whole")
    assert events[-1].kind == "finished", events[-1]

    def stop(event, control):
        control.stop = event.kind == "step" and event.step == 3

    assert run(job, "cut", stop)[-1].reason == "stopped"
    torch.manual_seed(99)
    assert run(job, "cut")[-1].kind == "finished"
    end = "tiny.safetensors" if kind == "ip" else "tiny/diffusion_pytorch_model.safetensors"
    whole, cut = (tmp_path / root / "tiny" / end for root in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()
    first = tmp_path / "whole" / "tiny" / end.replace("tiny", "tiny_000000002", 1)
    before, after = load_file(first), load_file(whole)
    assert all(not torch.equal(before[key], after[key]) for key in before)


def test_a_sample_is_what_the_stock_pipeline_draws_with_guidance(job_of, run, tmp_path, eyes):
    path = saved(tmp_path)
    sample = {
        "sample_every": 4,
        "samples": [{"prompt": "a red fox", "ctrl_img": str(path)}],
        "guidance_scale": 4,
        "width": 64,
        "height": 64,
        "format": "png",
    }
    data = [{"path": str(tmp_path / "data" / "pictures"), "resolution": [64]}]
    job = job_of(
        "sd15",
        adapter={"type": "ip", "image_encoder_path": str(eyes["ip"])},
        datasets=data,
        sample=sample,
        train={"steps": 4, "lr": 5e-2, "batch_size": 2, "optimizer": "adamw"},
    )
    events = run(job)
    assert events[-1].kind == "finished", events[-1]
    _, family = opened("sd15", tmp_path / "again")
    pipe = family.pipe
    (bare,) = pipe(
        "a red fox",
        negative_prompt="",
        width=64,
        height=64,
        num_inference_steps=2,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(42),
    ).images
    pipe.register_modules(
        image_encoder=CLIPVisionModelWithProjection.from_pretrained(eyes["ip"]),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32),
    )
    pipe.load_ip_adapter(tmp_path / "out" / "tiny", subfolder="", weight_name="tiny.safetensors", image_encoder_folder=None)
    theirs = pipe(
        "a red fox", ip_adapter_image=control(), negative_prompt="", width=64, height=64, num_inference_steps=2, guidance_scale=4.0,
        generator=torch.Generator().manual_seed(42),
    ).images[0]  # fmt: skip
    ours = Image.open(next((tmp_path / "out" / "tiny" / "samples").glob("000000004_*.png")))
    assert np.abs(np.subtract(ours, theirs, dtype=int)).max() <= 1
    assert np.abs(np.subtract(ours, bare, dtype=int)).max() > 1


def test_each_picture_is_learned_with_the_one_that_the_job_says(job_of, tmp_path):
    from engine.data.scan import scan

    pictures, others = tmp_path / "data" / "pictures", tmp_path / "data" / "controls"
    for more, shown in (
        ({}, [pictures / f"{n}.png" for n in range(4)]),
        ({"clip_image_path": str(others)}, [others / f"{n}.png" for n in range(4)]),
        ({"clip_image_from_same_folder": True}, None),
    ):
        job = job_of("sd15", datasets=[{"path": str(pictures), **more}], adapter=None, network={"type": "lora"})
        found = with_looks(job.datasets, scan(job.datasets[0]))
        looked = [item.controls for item in found]
        if shown:
            assert looked == [(path,) for path in shown]
        else:
            assert all(path != item.path and path.parent == pictures for item, (path,) in zip(found, looked, strict=True))
            assert looked == [item.controls for item in with_looks(job.datasets, scan(job.datasets[0]))]


@pytest.mark.parametrize(
    ("name", "adapter", "told"),
    [
        ("sd15", {"type": "ip", "eye": "redux"}, "is no clip vision encoder"),
        ("flux", {"type": "redux", "eye": "ip"}, "is no siglip vision encoder"),
        ("flux", {"type": "ip", "eye": "ip"}, "no adapter of the type ip"),
        ("sd15", {"type": "ip", "eye": "nothing"}, "is no clip vision encoder"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(job_of, run, tmp_path, eyes, name, adapter, told):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "config.json").write_text("{}")  # of a kind that transformers does not know, such as a VAE
    settings = {"type": adapter["type"], "image_encoder_path": str({**eyes, "nothing": tmp_path / "nothing"}[adapter["eye"]])}
    failed = run(job_of(name, adapter=settings, datasets=[{"path": str(tmp_path / "data" / "pictures")}]))[-1]
    assert failed.kind == "failed" and told in failed.message and failed.hint and not failed.detail


@pytest.mark.parametrize(("name", "kind"), [("flux", "control_net"), ("sd15", "ip")])
def test_it_is_trained_beside_weights_in_few_bits_and_measured_on_what_is_held_back(job_of, run, tmp_path, eyes, name, kind):
    """What it copies of the model are the weights as they were before."""
    adapter = {"type": kind} | ({"image_encoder_path": str(eyes[kind])} if kind == "ip" else {})
    base = str(tmp_path / f"base {name}")
    job = job_of(
        name,
        adapter=adapter,
        model={"name_or_path": base, "quantize": True, "qtype": "qint8"},
        train={"steps": 2, "lr": 1e-12, "optimizer": "adamw"},
    )
    events = run(job.model_copy(update={"validation": job.validation.model_copy(update={"every": 1})}))
    assert events[-1].kind == "finished", events[-1]
    measured = [event.value for event in events if event.kind == "measured"]
    assert len(measured) >= 3 and max(measured) - min(measured) < 1e-6
    _, family = opened(name, tmp_path / "plain")
    made = tmp_path / "out" / "tiny" / "tiny"
    if kind == "ip":
        own = load_file(made.with_suffix(".safetensors"))["ip_adapter.1.to_k_ip.weight"]
        theirs = next(module for name, module in family.denoiser.named_modules() if name.endswith("attn2")).to_k.weight
    else:
        own, theirs = (
            load_file(made / "diffusion_pytorch_model.safetensors")["transformer_blocks.0.attn.to_q.weight"],
            family.denoiser.transformer_blocks[0].attn.to_q.weight,
        )
    torch.testing.assert_close(own, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "kind"), [("sdxl", "ip"), ("flux", "redux"), ("flux", "control_lora"), ("sd35", "control_net"), ("sdxl", "t2i")]
)
def test_the_plan_counts_what_is_trained(name, kind, tmp_path, eyes):
    settings = {"ip": IpAdapter, "redux": Redux, "control_lora": ControlLora, "control_net": ControlNet, "t2i": T2i}[kind]
    made = settings(image_encoder_path=str(eyes[kind])) if kind in eyes else settings()
    _, family = opened(name, tmp_path / "base")
    with torch.device("meta"):
        bare = type(family.denoiser).from_config(family.denoiser.config)
        counted = guide_for(made, family).size(made, type(family), bare, family.pipe.vae_scale_factor)
    guide = attach_guide(made, family, torch.device("cpu"), torch.float32, 0, False)
    assert counted == sum(weight.numel() for weight in guide.parameters())

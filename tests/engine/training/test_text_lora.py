"""A LoRA in the text encoders: it learns, is saved under the names that tools read, and acts when pictures are drawn."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file

from engine.control import Control
from engine.execute import execute
from engine.families.catalog import load_family
from engine.families.defaults import ModelDefaults
from engine.jobs import load_job
from engine.network.prompts import TextLora
from engine.runs.folder import RunFolder

CASES = {case.name: case for case in tiny.CASES}
NAMES = {  # family → what the flat names of its text encoders begin with, and how many encoders have a LoRA
    "sd15": {"lora_te_": "text_encoder"},
    "sdxl": {"lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2"},
    "sd35": {"lora_te1_": "text_encoder", "lora_te2_": "text_encoder_2"},
}


@pytest.fixture(params=list(NAMES), scope="module")
def trained(request, tmp_path_factory) -> tuple[tiny.Case, Path, Path]:
    """The case, its base model, and the folder of a run of two steps in diffusers' names."""
    case, root = CASES[request.param], tmp_path_factory.mktemp(request.param)
    base = tiny.save(case.make(), root / "base")
    (root / "data").mkdir()
    for index, colour in enumerate(("red", "blue")):
        Image.new("RGB", (48, 32), colour).save(root / "data" / f"{index}.png")
        (root / "data" / f"{index}.txt").write_text(f"a {colour} field")
    job = {
        "name": "tiny",
        "model": {"name_or_path": str(base), "arch": case.family},
        "network": {"rank": 4},
        "datasets": [{"path": str(root / "data"), "caption_dropout_rate": 0}],
        "train": {"steps": 3, "lr": 3e-2, "optimizer": "adamw", "train_text_encoder": True},
        "sample": {"sample_every": 3, "prompts": ["a red fox"], "width": 48, "height": 32, "skip_first_sample": True, "format": "png"},
        "save": {"save_every": None, "dtype": "fp32", "format": "diffusers"},
    }
    folder = RunFolder.create(root / "out", load_job(job))
    events = list(execute(load_job(job), folder, Control()))
    assert events[-1].kind == "finished", events[-1]
    return case, base, folder.path


def features(case: tiny.Case, base: Path, lora: Path | None) -> dict[str, torch.Tensor]:
    """Of the stock pipeline."""
    family = load_family(case.family)
    pipe = family.pipeline_class.from_pretrained(base, local_files_only=True)
    if lora:
        pipe.load_lora_weights(str(lora))
    with torch.no_grad():
        return family(pipe, ModelDefaults.model_validate(tiny.DEFAULTS), base).encode_prompts(["a red fox"])


def test_every_layer_of_the_text_encoders_learns(trained):
    """Two encoders of two layers, each with four projections and two of the feed-forward."""
    case, _, run = trained
    tensors = load_file(run / "tiny.safetensors")
    for part in NAMES[case.name].values():
        ups = {name: tensor for name, tensor in tensors.items() if name.startswith(f"{part}.") and ".lora_B." in name}
        assert len(ups) == 12 and all(name.startswith(f"{part}.text_model.encoder.layers.") for name in ups)
        # the layers after the one whose features are used learn nothing: SDXL and SD 3 read the last but one
        assert sum(bool(tensor.any()) for tensor in ups.values()) >= 6
    assert not any(name.startswith("text_encoder_3.") for name in tensors)


def test_the_stock_pipeline_and_a_generate_job_read_prompts_as_they_were_trained(trained, tmp_path):
    case, base, run = trained
    file = run / "tiny.safetensors"
    plain, stock = features(case, base, None), features(case, base, file)
    assert not torch.allclose(plain["prompt_embeds"], stock["prompt_embeds"], atol=1e-3)
    family = load_family(case.family)
    pipe = family.pipeline_class.from_pretrained(base, local_files_only=True)
    ours = family(pipe, ModelDefaults.model_validate(tiny.DEFAULTS), base)
    with torch.no_grad(), TextLora(ours, file).acting(ours, 1.0):
        for name, tensor in ours.encode_prompts(["a red fox"]).items():
            torch.testing.assert_close(tensor, stock[name], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        assert torch.equal(ours.encode_prompts(["a red fox"])["prompt_embeds"], plain["prompt_embeds"])
    sample = {"prompts": ["a red fox"], "width": 48, "height": 32, "format": "png"}
    model = {"name_or_path": str(base), "arch": case.family}
    job = load_job({"kind": "generate", "name": "sheet", "model": model, "loras": [{"path": str(file)}], "sample": sample})
    folder = RunFolder.create(tmp_path, job)
    events = [event for event in execute(job, folder, Control()) if event.kind in ("sampled", "failed")]
    without, drawn = (numpy.asarray(Image.open(folder.path / event.path), int) for event in events)
    preview = numpy.asarray(Image.open(next((run / "samples").iterdir())), int)
    assert abs(drawn - preview).max() <= 1 < abs(without - preview).max()


def test_kohyas_names_are_those_of_its_text_encoders_and_act_the_same(trained, tmp_path):
    case, base, run = trained
    from engine.network.formats import canonical, to_form
    from engine.runs.safe import write_safetensors

    tensors = to_form(canonical(load_file(run / "tiny.safetensors"), {}), "kohya", case.family)
    write_safetensors(tmp_path / "kohya.safetensors", tensors, {})
    for prefix in NAMES[case.name]:
        assert f"{prefix}text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight" in tensors
        assert f"{prefix}text_model_encoder_layers_1_mlp_fc2.alpha" in tensors
    if "kohya" not in case.reads:  # the stock pipeline knows no such names for it; they come back here
        both = canonical(tensors, {}, family=case.family), canonical(load_file(run / "tiny.safetensors"), {})
        back, ours = ({name: some[name] for name in some if name.startswith("text_encoder")} for some in both)
        torch.testing.assert_close(back, ours)
        return
    for name, tensor in features(case, base, tmp_path / "kohya.safetensors").items():
        torch.testing.assert_close(tensor, features(case, base, run / "tiny.safetensors")[name], rtol=1e-4, atol=1e-5)


def test_a_family_with_large_text_encoders_refuses_and_says_so(make_job, run):
    failed = run(make_job(train__train_text_encoder=True))[-1]
    assert failed.kind == "failed" and "text encoders" in failed.message and "train_text_encoder" in failed.hint


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_text_encoders_learn_alone_where_the_model_that_draws_does_not(tmp_path, kind):
    base = tiny.save(CASES["sd15"].make(), tmp_path / "base")
    (tmp_path / "data").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "data" / "0.png")
    job = load_job({
        "name": "tiny", "model": {"name_or_path": str(base), "arch": "sd15"}, "network": {"type": kind}, "datasets": [{"path": str(tmp_path / "data"), "default_caption": "a field"}],
        "train": {"steps": 2, "lr": 1e-2, "optimizer": "adamw", "train_text_encoder": True, "train_unet": False}, "sample": {"sample_every": None}, "save": {"save_every": None, "dtype": "fp32", "format": "diffusers"},
    })  # fmt: skip
    folder = RunFolder.create(tmp_path / "out", job)
    events = list(execute(job, folder, Control()))
    assert events[-1].kind == "finished", events[-1]
    if kind == "lora":
        tensors = load_file(folder.path / "tiny.safetensors")
        assert all(name.startswith("text_encoder.") for name in tensors) and any(
            tensor.any() for name, tensor in tensors.items() if ".lora_B." in name
        )
        assert not torch.allclose(
            features(CASES["sd15"], base, None)["prompt_embeds"],
            features(CASES["sd15"], base, folder.path / "tiny.safetensors")["prompt_embeds"],
            atol=1e-4,
        )
        return
    for part, learned in (("unet", False), ("text_encoder", True)):
        ours, before = (load_file(next((place / part).glob("*.safetensors"))) for place in (folder.path / "tiny", base))
        assert all(torch.equal(ours[name], before[name]) for name in before) != learned, part


def test_nothing_to_learn_is_told(make_job, run):
    failed = run(make_job(train__train_unet=False))[-1]
    assert failed.kind == "failed" and "train_unet and train.train_text_encoder are both off" in failed.message

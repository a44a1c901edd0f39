"""Every family from a job to its files: it learns, continues exactly, draws, and what it saves is read by the stock pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file
from test_parity import as_pixels, conditioning, pictures, request_of, wrapped

from engine.control import Control
from engine.errors import JobError
from engine.execute import execute
from engine.families.base import ModelFamily, controls_in
from engine.families.catalog import FAMILIES, family_name, load_family, pipeline_in
from engine.jobs import Lokr, TrainJob, load_job
from engine.jobs.train import Train
from engine.network.attach import attach
from engine.network.keys import TABLES
from engine.runs.folder import RunFolder
from engine.training.objectives import PROCESSES, Batch, Regression


@pytest.fixture(params=tiny.CASES, ids=lambda case: case.name)
def case(request, monkeypatch) -> tiny.Case:
    for name, value in request.param.patches.items():
        monkeypatch.setattr(name, value)
    return request.param


@pytest.fixture
def base(case, tmp_path) -> Path:
    return tiny.save(case.make(), tmp_path / "base", **case.defaults)


def make_job(case: tiny.Case, base: Path, folder: Path, network: dict[str, Any]) -> TrainJob:
    """Two pictures, with as many reference pictures as the family takes."""
    for name in ("data", *(f"control {index}" for index in range(case.controls))):
        (folder / name).mkdir(exist_ok=True)
        for index, colour in enumerate(("red", "blue")):
            Image.new("RGB", (case.width, case.height), colour).save(folder / name / f"{index}.png")
            (folder / name / f"{index}.txt").write_text(f"a {colour} field")
    controls = [str(folder / f"control {index}") for index in range(case.controls)]
    sample = {"prompt": "a field", **{f"ctrl_img_{k + 1}": f"{control}/0.png" for k, control in enumerate(controls)}}
    return load_job(
        {
            "name": "tiny",
            "model": {"name_or_path": str(base), "arch": case.family},
            "network": network,
            "datasets": [{"path": str(folder / "data"), "control_path": controls}],
            "train": {"steps": 2, "lr": 1e-2, "optimizer": "adamw"},
            "sample": {"sample_every": 2, "samples": [sample], "width": case.width, "height": case.height, "skip_first_sample": True},
            "save": {"save_every": 1, "dtype": "fp32"},
        }
    )


def run(job: TrainJob, root: Path, stop_at: int | None = None) -> RunFolder:
    folder, control = RunFolder.create(root, job, exist_ok=True), Control()
    for event in execute(job, folder, control):
        assert event.kind != "failed", event
        control.stop = control.stop or (event.kind == "step" and event.step == stop_at)
    return folder


def test_the_family_is_found_from_the_models_own_files(case, base):
    assert family_name(None, pipeline_in(base)) in {case.family, *_with_the_same_pipeline(case.family)}


def _with_the_same_pipeline(name: str) -> set[str]:
    return {info.name for info in FAMILIES.values() if set(info.pipelines) & set(FAMILIES[name].pipelines)}


@pytest.mark.parametrize("network", ["lora", "lokr", "full"])
def test_a_run_learns_saves_draws_and_continues_in_the_same_bytes(case, base, network, tmp_path):
    job = make_job(case, base, tmp_path, {"type": network, **({"rank": 4} if network == "lora" else {})})
    whole = run(job, tmp_path / "whole").path
    run(job, tmp_path / "halves", stop_at=1)
    halves = run(job, tmp_path / "halves").path
    files = [path.relative_to(whole) for path in sorted(whole.rglob("*.safetensors")) if "state" not in path.parts]
    assert any(file.parts[0].startswith(("tiny.", "tiny_high_noise.")) or file.parts[0] == "tiny" for file in files)
    for file in files:
        assert (whole / file).read_bytes() == (halves / file).read_bytes(), file
    assert len(list((whole / "samples").iterdir())) == 1


@pytest.mark.parametrize("network", [{"type": "lora", "rank": 4}, {"type": "lokr"}, {"type": "full"}], ids=["lora", "lokr", "full"])
def test_the_loss_of_the_trained_batch_falls(case, network):
    family, shown = wrapped(case), pictures(case)
    settings = load_job({"name": "x", "model": {"name_or_path": "x"}, "datasets": [{"path": "x"}], "network": network}).network
    with torch.no_grad():
        mean, std = family.encode_pixels(torch.rand(1, 3, case.height, case.width) * 2 - 1)
        controls = {f"control_{k}": family.encode_pixels(as_pixels(picture))[0] for k, picture in enumerate(shown)}
        batch = Batch(mean, std, {**conditioning(family, "a red fox", shown), **controls})
    layers = attach(settings, denoisers(family), family.lora_targets, family=family.name)
    optimizer = torch.optim.AdamW(layers.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        loss = Regression(PROCESSES[family.objective](Train())).loss(family, batch, torch.Generator().manual_seed(0))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_a_lora_is_on_as_many_layers_as_it_should(case):
    family = wrapped(case)
    network = attach(load_lora(), denoisers(family), family.lora_targets, family=family.name)
    assert len(network.parameters()) == 2 * case.targets


def denoisers(family: ModelFamily) -> dict[str, torch.nn.Module]:
    return {part: getattr(family.pipe, part) for part in family.denoiser_parts()}


def load_lora() -> Any:
    return load_job({"name": "x", "model": {"name_or_path": "x"}, "datasets": [{"path": "x"}], "network": {"rank": 4}}).network


def test_the_stock_pipeline_reads_the_saved_lora(case, tmp_path):
    """In every form that it reads, and changes its answers exactly as in training."""
    family, shown = wrapped(case), pictures(case)
    network = attach(load_lora(), denoisers(family), family.lora_targets, family=family.name)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(std=0.1)
        cond = conditioning(family, "a red fox", shown)
        controls = {f"control_{k}": family.encode_pixels(as_pixels(picture))[0] for k, picture in enumerate(shown)}
        noisy = torch.randn_like(family.encode_pixels(torch.zeros(1, 3, case.height, case.width))[0])
        levels = [torch.tensor([level]) for level in (0.5, 0.95)]  # where there are two experts, one for each
        ours = [family.predict(noisy, sigma, {**cond, **controls}) for sigma in levels]
        with network.disabled():
            without = [family.predict(noisy, sigma, {**cond, **controls}) for sigma in levels]
        assert not any(torch.allclose(one, other, atol=1e-4) for one, other in zip(ours, without, strict=True))
        for form in case.reads:
            fresh = wrapped(case)
            for index, stage in enumerate(family.stages):
                path = tmp_path / f"{form}{stage.title}.safetensors"
                network.save(path, {}, "fp32", form, stage.part if stage.title else None)
                fresh.pipe.load_lora_weights(str(path), **({"load_into_transformer_2": True} if index else {}))
            for sigma, one in zip(levels, ours, strict=True):
                torch.testing.assert_close(fresh.predict(noisy, sigma, {**cond, **controls}), one, rtol=1e-3, atol=1e-4)


def test_a_picture_of_a_request_is_drawn_without_a_network(case, tmp_path):
    """The request's own seed decides: another one gives another picture."""
    family, shown = wrapped(case), pictures(case)
    request = request_of(case, case.guidance, steps=1)
    with torch.no_grad():
        cond = conditioning(family, request.prompt, shown)
        one, two = (family.sample(cond, None, replace(request, seed=seed), shown) for seed in (0, 1))
    first, second = (each[-1] if isinstance(each, list) else each for each in (one, two))
    assert first.tobytes() != second.tobytes()


@pytest.mark.parametrize("form", ["diffusers", "comfyui", "kohya"])
@pytest.mark.parametrize("kind", ["lora", "lokr"])
def test_files_in_every_dialect_are_read_back_as_the_same_update(case, form, kind, tmp_path):
    settings = load_lora() if kind == "lora" else Lokr()
    first, second, shown = wrapped(case), wrapped(case), pictures(case)
    networks = [attach(settings, denoisers(one), one.lora_targets, seed=seed, family=one.name) for seed, one in enumerate((first, second))]
    if form != "diffusers" and case.family not in TABLES:
        assert FAMILIES[case.family].experimental
        with pytest.raises(JobError, match="names are known"):
            networks[0].save(tmp_path / "none.safetensors", {}, "fp32", form)
        return
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in networks[0].parameters():
            weight.normal_(std=0.1)
        cond = conditioning(first, "a red fox", shown)
        controls = {f"control_{k}": first.encode_pixels(as_pixels(picture))[0] for k, picture in enumerate(shown)}
        noisy = torch.randn_like(first.encode_pixels(torch.zeros(1, 3, case.height, case.width))[0])
        for stage in first.stages:
            part = stage.part if stage.title else None
            path = tmp_path / f"{stage.part}.safetensors"
            networks[0].save(path, {}, "fp32", form, part)
            networks[1].load(path, part)
        for stage in first.stages:
            sigma = torch.tensor([(stage.low + stage.high) / 2])
            ours, theirs = (one.predict(noisy, sigma, {**cond, **controls}) for one in (first, second))
            torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=1e-4)


def test_a_slider_from_pairs_is_learned_and_the_model_is_never_shown_the_opposite(case, base, tmp_path, monkeypatch):
    job = make_job(case, base, tmp_path, {"type": "lora", "rank": 4})
    opposites = tmp_path / "opposites"
    opposites.mkdir()
    for index, colour in enumerate(("cyan", "yellow")):
        Image.new("RGB", (case.width, case.height), colour).save(opposites / f"{index}.png")
    (data,) = job.datasets
    data = data.model_copy(update={"control_path": [*data.control_path, str(opposites)]})
    job = TrainJob.model_validate(job.model_dump() | {"datasets": [data], "pair_slider": {}, "sample": {"sample_every": None}})
    family = load_family(case.family)
    if family.own_frame:
        with pytest.raises(AssertionError, match="is shown the first frame"):
            run(job, tmp_path / "runs")
        return
    shown, read, predict, encode = set(), set(), family.predict_within, family.encode_prompts
    monkeypatch.setattr(family, "predict_within", lambda self, *given: (shown.add(len(controls_in(given[-1]))), predict(self, *given))[1])
    monkeypatch.setattr(
        family, "encode_prompts", lambda self, *given: (read.add(len(given[1][0]) if given[1:] else 0), encode(self, *given))[1]
    )
    folder = run(job, tmp_path / "runs").path
    assert shown == {case.controls} and read == {case.controls if family.sees_controls else 0}
    files = [file for file in sorted(folder.glob("*.safetensors")) if "_0" not in file.stem]
    assert files and all(
        any(tensor.any() for name, tensor in load_file(file).items() if "lora_B" in name or "lora_up" in name) for file in files
    )

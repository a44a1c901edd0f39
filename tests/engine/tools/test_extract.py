"""A LoRA out of two models, against singular values that are computed here."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch
from diffusers import FluxPipeline, StableDiffusionPipeline
from drive import done, failure, run, stop_at, warnings
from safetensors.torch import load_file, save_file
from tiny.models.sd import sd15

from engine.check import check_job
from engine.errors import JobError
from engine.events import Finished, Noted, Progress, Saved
from engine.jobs import load_job, load_job_with_notes
from engine.network.formats import from_any
from engine.runtime import lazily
from engine.tools.export import export_lora
from engine.tools.inspect import inspect_lora
from engine.tools.lowrank import low_rank, ranks

FILE = "transformer/diffusion_pytorch_model.safetensors"
Q = "transformer_blocks.0.attn.to_q"
LAYERS = {Q: 2, "transformer_blocks.0.attn.to_k": 1, "transformer_blocks.0.ff.net.2": 3, "single_transformer_blocks.0.proj_out": 2}
"""Layer → rank of what it has learned."""


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def changed(folder: Path, change: Callable[[dict[str, torch.Tensor]], None], make=tiny.flux, part: str = "transformer") -> Path:
    """A model whose denoiser is the base's, after ``change``."""
    pipe = make()
    with torch.no_grad():
        change(dict(getattr(pipe, part).named_parameters()))
    return tiny.save(pipe, folder)


@pytest.fixture
def updates() -> dict[str, torch.Tensor]:
    """What each layer has learned; of different sizes, so that ranks differ by values too."""
    weights = dict(tiny.flux().transformer.named_parameters())
    return {
        name: noise(weights[f"{name}.weight"].shape[0], rank, seed=index)
        @ noise(rank, weights[f"{name}.weight"].shape[1], seed=index + 50)
        * 0.02
        for index, (name, rank) in enumerate(LAYERS.items())
    }


@pytest.fixture
def tuned(updates, tmp_path) -> Path:
    def learn(weights):
        for name, update in updates.items():
            weights[f"{name}.weight"].add_(update)

    return changed(tmp_path / "tuned", learn)


@pytest.fixture
def full(tmp_path) -> Path:
    """Each layer has learned something of full rank."""

    def learn(weights):
        for index, weight in enumerate(weights.values()):
            if weight.ndim == 2:
                weight.add_(noise(*weight.shape, seed=index) * 0.02)

    return changed(tmp_path / "full", learn)


def extract(root: Path, base: Path, other: Path, **more):
    return run(root, kind="extract", model={"name_or_path": str(base)}, extract_model=str(other), **{"dtype": "fp32", **more})


def products(file: Path) -> dict[str, torch.Tensor]:
    """Layer → its update, scaled as every program scales it."""
    tensors = load_file(file)
    return {
        name.removesuffix(".lora_A.weight").removeprefix("transformer."): tensors[name.replace("lora_A", "lora_B")] @ down
        for name, down in tensors.items()
        if name.endswith(".lora_A.weight")
    }


def error_told(events, what: str) -> float:
    found = (re.search(rf"{what}: ([\d.e+-]+)\.$", event.message) for event in events if isinstance(event, Noted))
    return float(next(match[1] for match in found if match))


def test_a_known_update_of_low_rank_is_found_again_and_other_layers_are_left_out(base, tuned, updates, tmp_path):
    events = done(extract(tmp_path, base, tuned, mode="threshold", linear=1e-4))
    found = products(tmp_path / "run" / "run.safetensors")
    assert found.keys() == updates.keys()
    assert max((found[name] - update).norm() / update.norm() for name, update in updates.items()) < 1e-4
    assert {name: load_file(tmp_path / "run/run.safetensors")[f"transformer.{name}.lora_A.weight"].shape[0] for name in LAYERS} == LAYERS
    assert error_told(events, "over these layers") < 1e-4
    assert next(event for event in events if isinstance(event, Saved)).path == Path("run.safetensors")


def test_a_difference_of_full_rank_has_the_error_that_its_singular_values_say(base, full, tmp_path):
    events = done(extract(tmp_path, base, full, linear=5))
    ours, theirs = load_file(base / FILE), load_file(full / FILE)
    found = products(tmp_path / "run" / "run.safetensors")
    lacking = whole = everything = 0.0
    for name, update in found.items():
        difference = theirs[f"{name}.weight"].double() - ours[f"{name}.weight"].double()
        values = torch.linalg.eigvalsh(difference.T @ difference).clamp(min=0)  # squares of the singular values, smallest first
        rest, all_of_it = values[:-5].sum().item(), values.sum().item()
        assert (difference - update).square().sum().item() == pytest.approx(rest, rel=1e-3)
        lacking, whole = lacking + rest, whole + all_of_it
    for name in ours:
        everything += (theirs[name].double() - ours[name].double()).square().sum().item()
    assert len(found) == 17
    assert error_told(events, "over these layers") == pytest.approx((lacking / whole) ** 0.5, rel=1e-3)
    beyond = ((lacking + everything - whole) / everything) ** 0.5
    assert error_told(events, "over all weights of transformer") == pytest.approx(beyond, rel=1e-3)


@pytest.mark.parametrize(
    ("mode", "number", "kept"),
    [
        ("fixed", 3, 3), ("fixed", 64, 5), ("threshold", 0.9, 3), ("threshold", 100, 0), ("threshold", 0, 4), ("ratio", 0.5, 2), ("ratio", 0.05, 4),
        ("ratio", 1, 1), ("quantile", 0.5, 1), ("quantile", 0.6, 2), ("quantile", 0.9, 3), ("quantile", 1, 4), ("quantile", 0, 1),
    ],
)  # fmt: skip
def test_each_mode_keeps_the_values_that_it_says(mode, number, kept):
    assert ranks(torch.tensor([4.0, 2.5, 1.0, 0.25, 1e-9]), mode, number) == kept


def test_a_large_layer_of_few_ranks_is_nearly_as_near_as_can_be():
    matrix = noise(1100, 40, seed=1) @ torch.diag(0.8 ** torch.arange(40)) @ noise(40, 1300, seed=2) + noise(1100, 1300, seed=3) * 1e-3
    up, down = low_rank(matrix, "fixed", 16)
    best = torch.linalg.svdvals(matrix)[16:].square().sum().sqrt()
    assert (matrix - up @ down).norm() < best * 1.01
    again = low_rank(matrix, "fixed", 16)
    assert torch.equal(up, again[0]) and torch.equal(down, again[1])


@pytest.mark.parametrize("form", ["diffusers", "comfyui"])
def test_on_the_base_stock_diffusers_draws_what_the_tuned_model_does(base, tuned, tmp_path, form):
    done(extract(tmp_path, base, tuned, mode="ratio", linear=1e-3, format=form))
    draw = lambda pipe: torch.from_numpy(  # noqa: E731
        pipe("a cat", height=32, width=32, num_inference_steps=2, output_type="np", generator=torch.Generator().manual_seed(1)).images
    )
    with_lora = FluxPipeline.from_pretrained(base)
    plain = draw(with_lora)
    with_lora.load_lora_weights(tmp_path / "run" / "run.safetensors")
    wanted = draw(FluxPipeline.from_pretrained(tuned))
    assert (plain - wanted).abs().max() > 1e-2
    assert (draw(with_lora) - wanted).abs().max() < 1e-4


def test_the_file_of_different_ranks_is_inspected_and_exported(base, tuned, updates, tmp_path):
    done(extract(tmp_path, base, tuned, mode="ratio", linear=1e-3, format="comfyui"))
    file = tmp_path / "run" / "run.safetensors"
    report = inspect_lora(file)
    assert (report.family, report.form, report.kind) == ("flux", "comfyui", "lora")
    assert report.ranks == report.alphas == [2, 3]  # the one of rank 1 stands in one layer with the one of rank 2
    assert report.metadata["ss_network_dim"] == "Dynamic"
    export_lora(file, tmp_path / "plain.safetensors", "diffusers")
    found = products(tmp_path / "plain.safetensors")
    assert max((found[name] - update).norm() / update.norm() for name, update in updates.items()) < 1e-4


def test_all_layers_reaches_beyond_those_that_the_family_trains(base, full, tmp_path):
    done(extract(tmp_path, base, full, linear=1, all_layers=True))
    assert {"x_embedder", "proj_out", Q} <= products(tmp_path / "run" / "run.safetensors").keys()


def sd_tuned(weights) -> None:
    for index, (name, weight) in enumerate(weights.items()):
        if weight.ndim > 1 and any(one in name for one in ("resnets.0.conv1", "attn1.to_q", "proj_in")):
            flat = noise(weight.shape[0], 1, seed=index) @ noise(1, weight[0].numel(), seed=index + 500) * 0.05
            weight.add_(flat.reshape(weight.shape))


@pytest.mark.parametrize("conv", [None, 1])
def test_convolutions_take_part_where_they_are_asked_for(tmp_path, conv):
    base, other = tiny.save(sd15(), tmp_path / "base", family="sd15"), changed(tmp_path / "tuned", sd_tuned, sd15, "unet")
    events = done(extract(tmp_path, base, other, linear=1, conv=conv))
    tensors = from_any(tmp_path / "run" / "run.safetensors", "sd15")
    downs = {name: tensor for name, tensor in tensors.items() if name.endswith("lora_A.weight")}
    assert any(tensor.shape[2:] == (1, 1) for tensor in downs.values())
    assert any(tensor.shape[2:] == (3, 3) for tensor in downs.values()) == (conv is not None)
    assert error_told(events, "over these layers") < 1e-4
    pipe, wanted = sd15(), StableDiffusionPipeline.from_pretrained(other, safety_checker=None)
    if conv:
        pipe.load_lora_weights(tmp_path / "run" / "run.safetensors")
        pipe.fuse_lora()
        one, two = pipe.unet.state_dict(), wanted.unet.state_dict()
        own = {name.replace(".base_layer", ""): tensor for name, tensor in one.items() if "lora_" not in name}
        assert max((own[name] - two[name]).abs().max() for name in two) < 1e-5


def test_text_encoders_are_in_the_file_where_the_family_has_loras_of_them(tmp_path):
    base, pipe = tiny.save(sd15(), tmp_path / "base", family="sd15"), sd15()
    with torch.no_grad():
        weight = next(weight for name, weight in pipe.text_encoder.named_parameters() if name.endswith("q_proj.weight"))
        weight.add_(noise(*weight.shape) * 0.1)
    other = tiny.save(pipe, tmp_path / "tuned", family="sd15")
    done(extract(tmp_path, base, other, linear=4))
    assert {name.split(".")[0] for name in load_file(tmp_path / "run" / "run.safetensors")} == {
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    }
    assert "do not differ" in failure(extract(tmp_path / "without", base, other, extract_text_encoder=False))


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_single_file_of_the_denoiser_gives_the_same_lora(base, tuned, tmp_path, prefix):
    save_file({f"{prefix}{name}": tensor for name, tensor in load_file(tuned / FILE).items()}, tmp_path / "one.safetensors")
    done(extract(tmp_path / "a", base, tuned))
    done(extract(tmp_path / "b", base, tmp_path / "one.safetensors"))
    one, two = (products(tmp_path / name / "run/run.safetensors") for name in "ab")
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_weights_are_read_one_at_a_time(base, full, tmp_path, monkeypatch):
    read: list[int] = []
    plain = lazily._open

    class Counting:
        def __init__(self, head):
            self.keys, self.get_slice, self.head = head.keys, head.get_slice, head

        def get_tensor(self, name):
            read.append(1)
            return self.head.get_tensor(name)

    monkeypatch.setattr(lazily, "_open", lambda *given: Counting(plain(*given)))
    before: list[int] = []
    run(
        tmp_path, kind="extract", model={"name_or_path": str(base)}, extract_model=str(full), linear=1,
        watch=lambda event, control: before.append(len(read)) if isinstance(event, Progress) else None,
    )  # fmt: skip
    assert before == [2 * (number + 1) for number in range(17)]


def test_rounding_alone_is_no_difference(base, tuned, tmp_path):
    weights = {name: tensor.bfloat16() for name, tensor in load_file(tuned / FILE).items()}
    save_file(weights, tmp_path / "one.safetensors")
    events = done(extract(tmp_path, base, tmp_path / "one.safetensors"))
    assert products(tmp_path / "run" / "run.safetensors").keys() == LAYERS.keys()
    assert "part of their difference is rounding" in warnings(events)
    save_file({name: tensor.bfloat16() for name, tensor in load_file(base / FILE).items()}, tmp_path / "same.safetensors")
    assert "do not differ" in failure(extract(tmp_path / "b", base, tmp_path / "same.safetensors"))


def test_another_architecture_is_said_with_the_first_layer_that_differs(base, tmp_path):
    other = tiny.save(tiny.flux(layers=2), tmp_path / "other")
    said = failure(extract(tmp_path, base, other))
    assert "transformer.transformer_blocks.1." in said and "not there in the base" in said
    weights = load_file(base / FILE)
    weights[f"{Q}.weight"] = weights[f"{Q}.weight"][:, :-1].contiguous()
    save_file(weights, tmp_path / "narrow.safetensors")
    rows, columns = load_file(base / FILE)[f"{Q}.weight"].shape
    assert f"transformer.{Q}.weight is {rows}×{columns} in the base, and {rows}×{columns - 1}" in failure(
        extract(tmp_path / "b", base, tmp_path / "narrow.safetensors")
    )
    sd = tiny.save(sd15(), tmp_path / "sd", family="sd15")
    assert "has no transformer" in failure(extract(tmp_path / "c", base, sd))


def test_what_has_no_effect_is_said_and_wrong_numbers_are_errors(base, tuned, tmp_path):
    events = run(tmp_path, kind="extract", model={"name_or_path": str(base), "quantize": True}, extract_model=str(tuned), conv=4)
    assert "model.quantize has no effect" in warnings(events) and "conv has no effect" in warnings(events)
    for keys, words in [({"linear": 2.5}, "whole number"), ({"mode": "ratio", "linear": 2}, "share"), ({"conv": 0}, "whole number")]:
        with pytest.raises(JobError, match=words):
            extract(tmp_path, base, tuned, **keys)
    assert "nothing" in failure(extract(tmp_path / "a", base, tmp_path / "nowhere.safetensors")).lower()


def test_a_stop_leaves_no_file(base, full, tmp_path):
    events = run(tmp_path, stop_at(3), kind="extract", model={"name_or_path": str(base)}, extract_model=str(full))
    assert events[-1] == Finished(step=0, reason="stopped", time=events[-1].time)
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_it_can_be_checked_before_it_runs(base, tuned):
    job = load_job({"kind": "extract", "name": "run", "model": {"name_or_path": str(base)}, "extract_model": str(tuned)})
    assert [finding.ok for finding in check_job(job)] == [True, True]


def test_ai_toolkits_extract_job_is_taken_over():
    process = {"type": "locon", "filename": "[name]_64.safetensors", "mode": "ratio", "linear": 0.2, "use_sparse_bias": True}
    config = {
        "name": "mine",
        "base_model": "a.safetensors",
        "extract_model": "b.safetensors",
        "output_folder": "/out",
        "is_v2": True,
        "device": "cpu",
    }
    job, notes = load_job_with_notes({"job": "extract", "config": {**config, "dtype": "float16", "process": [process]}})
    assert (job.kind, job.name, job.model.name_or_path, job.model.arch, job.extract_model) == (
        "extract",
        "mine",
        "a.safetensors",
        "sd2",
        "b.safetensors",
    )
    assert (job.mode, job.linear, job.conv, job.dtype, job.all_layers, job.format) == ("ratio", 0.2, 0.5, "fp16", True, "kohya")
    assert len(notes) == 2 and "use_sparse_bias" in notes[0].message and "filename" in notes[1].message
    plain, _ = load_job_with_notes({"job": "extract", "config": {**config, "process": [{"type": "lora", "linear": 4, "conv": 4}]}})
    assert (plain.mode, plain.linear, plain.conv, plain.all_layers) == ("fixed", 4, None, False)
    with pytest.raises(JobError, match="extract/mystery"):
        load_job({"job": "extract", "config": {**config, "process": [{"type": "mystery"}]}})

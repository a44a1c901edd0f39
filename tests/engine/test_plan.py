"""The reckoning of memory: counted where it can be counted, and every preset fits the card that it is named after."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tiny
from typer.testing import CliRunner

from engine.cli import app
from engine.errors import JobError
from engine.jobs import TrainJob, load_job
from engine.plan import plan
from engine.settings import ROOT

PRESETS = sorted((ROOT / "presets" / "train").glob("*gb.yaml"))


def flux(**model: object) -> TrainJob:
    data = {
        "name": "x",
        "model": {"name_or_path": "black-forest-labs/FLUX.1-dev", **model},
        "datasets": [{"path": "x", "resolution": 1024}],
        "network": {"type": "lora", "rank": 16},
    }
    job = load_job(data)
    assert isinstance(job, TrainJob)
    return job


def stage(job: TrainJob, name: str) -> dict[str, float]:
    return dict(next(one for one in plan(job).stages if one.name == name).parts)


def test_flux_is_counted_as_it_was_published() -> None:
    made = plan(flux())
    assert made.parameters == 11_901_408_320
    # rank 16 on 12 layers of each of 19 double blocks, and 5 of each of 38 single ones
    assert made.trained == 16 * (19 * (8 * 2 * 3072 + 4 * (3072 + 12288)) + 38 * (3 * 2 * 3072 + (3072 + 12288) + (15360 + 3072)))
    assert stage(flux(), "Training")["model"] == pytest.approx(23.8, abs=0.1)


def test_few_bits_take_little() -> None:
    assert stage(flux(quantize=True), "Training")["model"] == pytest.approx(12.6, abs=0.1)
    assert stage(flux(quantize=True, qtype="nf4"), "Training")["model"] == pytest.approx(6.3, abs=0.1)
    assert stage(flux(quantize=True, quantize_te=False), "Encoding captions") == stage(flux(), "Encoding captions")
    assert stage(flux(quantize=True), "Encoding captions")["text encoders"] < 5.5


def test_larger_pictures_and_no_checkpointing_take_more() -> None:
    def with_train(**train: object) -> TrainJob:
        return flux().model_copy(update={"train": flux().train.model_copy(update=train)})

    small = flux().model_copy(update={"datasets": [flux().datasets[0].model_copy(update={"resolution": 512})]})
    plain, bare, twice = (
        stage(job, "Training")["activations"] for job in (flux(), with_train(gradient_checkpointing=False), with_train(batch_size=2))
    )
    assert stage(small, "Training")["activations"] < plain < twice < bare
    assert plan(with_train(gradient_checkpointing=False)).card > plan(flux()).card


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_fits_the_card_that_it_is_named_after(path: Path) -> None:
    job = load_job(path)
    assert isinstance(job, TrainJob)
    assert plan(job).peak.gb <= int(re.search(r"_(\d+)gb", path.stem)[1])


def test_a_model_on_this_computer_is_counted_from_its_own_files(tmp_path: Path) -> None:
    pipe = tiny.flux()
    folder = tiny.save(pipe, tmp_path / "base")
    job = load_job({"name": "x", "model": {"name_or_path": str(folder)}, "datasets": [{"path": "x"}], "network": {"type": "full"}})
    made = plan(job)
    assert made.parameters == made.trained == sum(weight.numel() for weight in pipe.transformer.parameters())
    text = sum(weight.numel() for part in (pipe.text_encoder, pipe.text_encoder_2) for weight in set(part.parameters()))
    assert dict(made.stages[0].parts)["text encoders"] == pytest.approx(text * 4 / 1e9)


def test_an_unknown_model_is_said_to_be_unknown() -> None:
    with pytest.raises(JobError, match="not known before it is downloaded"):
        plan(flux(name_or_path="someone/something", arch="flux"))


def test_the_command_tells_it_in_words() -> None:
    told = CliRunner().invoke(app, ["plan", "presets/train/flux_lora_48gb.yaml"])
    assert told.exit_code == 0, told.output
    assert "11,901 million parameters" in told.output and "It fits a card with" in told.output
    refused = CliRunner().invoke(app, ["plan", "presets/generate/starter.yaml"])
    assert "Only training is reckoned" in (refused.output + str(refused.exception))


def test_given_sizes_are_reckoned_by_their_area() -> None:
    plain = flux()
    wide = plain.model_copy(
        update={"datasets": [plain.datasets[0].model_copy(update={"resolution": None, "buckets": [[2048, 512], [256, 256]]})]}
    )
    assert stage(wide, "Training") == stage(plain, "Training")


def job_of(base: str, datasets: dict[str, object] | None = None, **model: object) -> TrainJob:
    data = {"path": "x", "resolution": 512, **(datasets or {})}
    return load_job({"name": "x", "model": {"name_or_path": base, **model}, "datasets": [data], "network": {"type": "lora", "rank": 16}})


def test_both_experts_are_on_the_card_and_count_where_they_learn() -> None:
    both = plan(job_of("Wan-AI/Wan2.2-T2V-A14B-Diffusers"))
    one = plan(job_of("Wan-AI/Wan2.2-T2V-A14B-Diffusers", model_kwargs={"train_low_noise": False}))
    assert both.parameters == one.parameters == 2 * 14_288_491_584
    assert both.trained == 2 * one.trained > 0
    assert dict(both.stages[2].parts)["model"] == dict(one.stages[2].parts)["model"] == pytest.approx(57.2, abs=0.1)


def test_a_model_that_is_asked_only_while_drawing_is_on_the_card_only_then() -> None:
    job = job_of("CalamitousFelicitousness/Ideogram-4-bf16-Diffusers")
    job = job.model_copy(update={"sample": job.sample.model_copy(update={"sample_every": 250})})
    assert stage(job, "Samples")["model for guidance"] == stage(job, "Samples")["model"] == stage(job, "Training")["model"]
    assert "model for guidance" not in stage(job, "Training")


def test_of_offloaded_blocks_two_layers_are_on_the_card() -> None:
    here, half, away = (
        stage(flux(layer_offloading=share > 0, layer_offloading_transformer_percent=share), "Training")["model"] for share in (0, 0.5, 1)
    )
    assert here > half > away
    outside = 11_901_408_320 - 19 * 339_763_200 - 38 * 141_557_760  # weights of what is no block or no linear layer of one, roughly
    assert away == pytest.approx((outside + 2 * 66_000_000) * 2 / 1e9, abs=0.5)


def test_reference_pictures_count_at_the_size_at_which_they_are_shown() -> None:
    def activations(base: str, references: int, **model: object) -> float:
        return stage(job_of(base, {"control_path": ["y"] * references}, **model), "Training")["activations"]

    for base in ("black-forest-labs/FLUX.2-klein-base-4B", "Qwen/Qwen-Image-Edit-2509"):
        none, one = activations(base, 0), activations(base, 1)
        fitted = activations(base, 1, model_kwargs={"match_target_res": True})
        assert one - none == pytest.approx(4 * (fitted - none), rel=0.05)  # a megapixel beside 512 x 512
    kontext = [activations("black-forest-labs/FLUX.1-Kontext-dev", count) for count in range(3)]
    assert kontext[2] - kontext[1] == pytest.approx(kontext[1] - kontext[0]) and kontext[1] > kontext[0]

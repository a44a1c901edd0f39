"""AI Toolkit's jobs: what they ask for is done, and what cannot be done is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ai_toolkit import PROMPTS, changed, flux, read

from engine.errors import JobError
from engine.jobs import Lora, TrainJob, load_job, load_job_with_notes


def test_the_example_for_flux_dev_is_read_as_it_was_meant() -> None:
    job, notes = read(flux())
    assert job.name == "my_first_lora_v1"
    assert (job.model.name_or_path, job.model.arch) == ("black-forest-labs/FLUX.1-dev", "flux")
    assert job.network == Lora(rank=16)
    assert (job.datasets[0].path, job.datasets[0].caption_ext, job.datasets[0].resolution) == ("/pictures", ".txt", [512, 768, 1024])
    assert (job.train.steps, job.train.lr, job.train.optimizer, job.train.dtype) == (2000, 1e-4, "adamw8bit", "bf16")
    assert job.train.ema_config.use_ema and job.train.ema_config.ema_decay == 0.99
    assert (job.save.save_every, job.save.max_step_saves_to_keep, job.save.dtype) == (250, 4, "fp16")
    assert job.sample.prompts == PROMPTS and job.sample.guidance_scale == 4
    assert notes == (
        "These keys have no effect here: training_folder, device, datasets[0].cache_latents_to_disk, train.noise_scheduler, "
        "sample.sampler. Darkroom decides them by itself."
    )


def test_the_example_for_flux_schnell_asks_for_its_adapter() -> None:
    data = flux()
    process = data["config"]["process"][0]
    process["model"] = {
        "name_or_path": "black-forest-labs/FLUX.1-schnell",
        "assistant_lora_path": "ostris/FLUX.1-schnell-training-adapter",
        "is_flux": True,
    }
    process["sample"] |= {"guidance_scale": 1, "sample_steps": 4}
    job, notes = read(data)
    assert (job.sample.sample_steps, job.sample.guidance_scale) == (4, 1)
    assert job.model.assistant_lora_path == "ostris/FLUX.1-schnell-training-adapter"
    assert "assistant" not in notes


def test_a_job_of_its_app_saved_as_json_is_read(tmp_path: Path) -> None:
    data = flux(
        type="diffusion_trainer",
        sqlite_db_path="./aitk_db.db",
        performance_log_every=10,
        trigger_word=None,
        network={
            "type": "lora", "linear": 32, "linear_alpha": 32, "conv": 16, "conv_alpha": 16, "lokr_full_rank": True, "lokr_factor": -1,
            "network_kwargs": {"ignore_if_contains": []},
        },
        logging={"log_every": 1, "use_ui_logger": True},
    )  # fmt: skip
    data["config"]["process"][0]["train"] |= {
        "timestep_type": "sigmoid",
        "content_or_style": "balanced",
        "loss_type": "mse",
        "unload_text_encoder": False,
    }
    data["config"]["process"][0]["datasets"][0] |= {"mask_path": None, "is_reg": False, "num_frames": 1, "control_path_1": None}
    data["config"]["process"][0]["sample"]["samples"] = [{"prompt": prompt} for prompt in PROMPTS]
    del data["config"]["process"][0]["sample"]["prompts"]
    (tmp_path / "job.json").write_text(json.dumps(data))
    job, notes = load_job_with_notes(tmp_path / "job.json")
    assert isinstance(job, TrainJob) and job.network == Lora(rank=32) and job.sample.prompts == PROMPTS
    assert len(notes) == 1 and "have no effect" in notes[0].message


def test_its_defaults_hold_where_a_key_is_left_out() -> None:
    data = flux(train={}, save={}, sample={}, datasets=[{"folder_path": "/pictures"}], network={"type": "lora"})
    job, _ = read(data)
    assert (job.train.steps, job.train.lr, job.train.optimizer, job.train.dtype) == (1000, 1e-6, "adamw", "fp32")
    assert (job.save.save_every, job.save.dtype, job.save.max_step_saves_to_keep) == (1000, "fp16", 5)
    assert (job.sample.width, job.sample.sample_steps, job.sample.seed, job.sample.walk_seed) == (512, 20, 0, False)
    assert (job.datasets[0].resolution, job.datasets[0].caption_dropout_rate) == (512, 0.0)
    assert isinstance(job.network, Lora) and job.network.rank == 4


def test_name_and_variables_are_filled_in_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICTURES", "/photos")
    monkeypatch.setenv("STEPS", "12")
    data = changed("datasets", folder_path="${PICTURES}/[name]")
    data["config"]["process"][0]["train"]["steps"] = "${STEPS}"
    job, _ = read(data)
    assert job.datasets[0].path == "/photos/my_first_lora_v1" and job.train.steps == 12
    assert load_job_with_notes(data, "dog")[0].datasets[0].path == "/photos/dog"  # type: ignore[attr-defined]
    monkeypatch.delenv("PICTURES")
    with pytest.raises(JobError, match="environment variable PICTURES"):
        load_job(data)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "content_or_style_reg", "style"),
        ("train", "unload_text_encoder", True),
        ("model", "refiner_name_or_path", "x"),
        ("model", "split_model_over_gpus", True),
        ("network", "all_layers", True),
        ("sample", "guidance_rescale", 0.5),
        ("train", "stesp", 3),
    ],
)
def test_what_is_left_out_is_said_by_its_name(section: str, key: str, value: Any) -> None:
    """A key that Darkroom learns leaves this list, and is then taken over."""
    _, notes = read(changed(section, **{key: value}))
    assert f"{section}{'[0]' if section == 'datasets' else ''}.{key} " in notes


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "min_snr_gamma", 5.0), ("train", "snr_gamma", 5.0), ("train", "loss_type", "mae"), ("train", "content_or_style", "style"),
        ("train", "timestep_type", "weighted"), ("train", "linear_timesteps2", True), ("train", "min_denoising_steps", 100),
        ("train", "max_denoising_steps", 900), ("train", "noise_offset", 0.05), ("train", "noise_multiplier", 1.1),
        ("train", "random_noise_multiplier", 0.1), ("train", "random_noise_shift", 0.1), ("train", "optimal_noise_pairing_samples", 4),
        ("train", "force_consistent_noise", True), ("train", "do_guidance_loss", True), ("train", "guidance_loss_target", 4.0),
        ("train", "do_differential_guidance", True), ("train", "differential_guidance_scale", 2.0), ("train", "max_loss", 1.0),
        ("train", "unet_lr", 3e-4), ("train", "optimizer", "muon"), ("train", "bypass_guidance_embedding", True),
        ("train", "diff_output_preservation", True), ("train", "diff_output_preservation_class", "woman"),
        ("train", "blank_prompt_preservation", True), ("train", "inverted_mask_prior", True), ("train", "reg_weight", 0.5),
        ("datasets", "mask_path", "x"), ("datasets", "alpha_mask", True), ("datasets", "invert_mask", True), ("datasets", "mask_min_value", 0.1),
        ("datasets", "flip_y", True), ("datasets", "is_reg", True), ("datasets", "prior_reg", True), ("datasets", "loss_multiplier", 2.0),
        ("datasets", "network_weight", 0.5),
    ],
)  # fmt: skip
def test_what_both_have_under_one_name_is_taken_over(section: str, key: str, value: Any) -> None:
    job, notes = read(changed(section, **{key: value}))
    part = job.datasets[0] if section == "datasets" else getattr(job, section)
    assert getattr(part, key) == value and f".{key} " not in notes


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("datasets", "poi", "face"), ("datasets", "do_audio", True)],
)
def test_what_would_train_something_else_is_refused(section: str, key: str, value: Any) -> None:
    with pytest.raises(JobError, match=rf"{key} asks for .* not supported yet"):
        load_job(changed(section, **{key: value}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(job="extract"), "Jobs of the type extract/sd_trainer are not supported yet"),
        (lambda d: d["config"]["process"][0].update(type="ultimate_slider"), "extension/ultimate_slider"),
        (lambda d: d["config"]["process"][0].update(adapter={"type": "ilora", "train": True}), "adapter.type ilora is not supported yet"),
        (lambda d: d["config"]["process"].append({}), "config.process has 2 entries"),
        (lambda d: d["config"].update(process=[]), "config.process has no job in it"),
        (lambda d: d["config"].pop("name"), "config.name is missing"),
        (lambda d: d["config"]["process"][0].update(train="fast"), "train must be a section of keys"),
        (
            lambda d: d["config"]["process"][0]["network"].update(type="locon"),
            "network.type must be lora, lokr, loha, dora, oft, full or none; it is 'locon'",
        ),
        (lambda d: d["config"]["process"][0]["train"].update(optimizer="prodigal"), "train.optimizer must be"),
        (lambda d: d["config"]["process"][0]["train"].update(optimizer="automagic3"), "automagic3 is an experiment"),
    ],
)
def test_another_kind_of_job_is_refused_in_a_sentence(change: Any, message: str) -> None:
    data = flux()
    change(data)
    with pytest.raises(JobError) as caught:
        load_job(data)
    assert message in str(caught.value) and caught.value.hint


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("train", "start_step", 250), ("train", "merge_network_on_save", True), ("train", "merge_network_on_save_strength", 0.5),
        ("sample", "sample_start_step", 100), ("save", "push_to_hub", True), ("save", "hf_repo_id", "me/cats"), ("save", "hf_private", True),
        ("network", "pretrained_lora_path", "first.safetensors"),
    ],
)  # fmt: skip
def test_what_becomes_of_a_run_is_taken_over(section: str, key: str, value: Any) -> None:
    job, notes = read(changed(section, **{key: value}))
    assert getattr(getattr(job, section), key) == value and key not in notes

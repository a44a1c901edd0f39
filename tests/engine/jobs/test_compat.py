"""AI Toolkit's jobs: what they ask for is done, and what cannot be done is said."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from engine.errors import JobError
from engine.jobs import Dora, Full, Lokr, Lora, TrainJob, load_job, load_job_with_notes

PROMPTS = ["a woman with red hair, playing chess", "a man holding a sign that says 'this is a sign'"]


def flux(**process: Any) -> dict[str, Any]:
    """The example for FLUX.1 dev on 24 GB, with what is given in place of its sections."""
    return {
        "job": "extension",
        "config": {
            "name": "my_first_lora_v1",
            "process": [
                {
                    "type": "sd_trainer",
                    "training_folder": "output",
                    "device": "cuda:0",
                    "network": {"type": "lora", "linear": 16, "linear_alpha": 16},
                    "save": {"dtype": "float16", "save_every": 250, "max_step_saves_to_keep": 4, "push_to_hub": False},
                    "datasets": [
                        {
                            "folder_path": "/pictures",
                            "caption_ext": "txt",
                            "caption_dropout_rate": 0.05,
                            "shuffle_tokens": False,
                            "cache_latents_to_disk": True,
                            "resolution": [512, 768, 1024],
                        }
                    ],
                    "train": {
                        "batch_size": 1,
                        "steps": 2000,
                        "gradient_accumulation_steps": 1,
                        "train_unet": True,
                        "train_text_encoder": False,
                        "gradient_checkpointing": True,
                        "noise_scheduler": "flowmatch",
                        "optimizer": "adamw8bit",
                        "lr": 1e-4,
                        "ema_config": {"use_ema": True, "ema_decay": 0.99},
                        "dtype": "bf16",
                    },
                    "model": {"name_or_path": "black-forest-labs/FLUX.1-dev", "is_flux": True},
                    "sample": {
                        "sampler": "flowmatch",
                        "sample_every": 250,
                        "width": 1024,
                        "height": 1024,
                        "prompts": PROMPTS,
                        "neg": "",
                        "seed": 42,
                        "walk_seed": True,
                        "guidance_scale": 4,
                        "sample_steps": 20,
                    },
                    **process,
                }
            ],
        },
        "meta": {"name": "[name]", "version": "1.0"},
    }


def changed(section: str, **values: Any) -> dict[str, Any]:
    """The example with these keys of one section changed."""
    data = copy.deepcopy(flux())
    process = data["config"]["process"][0]
    (process[section][0] if section == "datasets" else process[section]).update(values)
    return data


def read(data: dict[str, Any]) -> tuple[TrainJob, str]:
    """The job, and its notes as one text."""
    job, notes = load_job_with_notes(data)
    assert isinstance(job, TrainJob)
    return job, " ".join(f"{note.message} {note.hint}" for note in notes)


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
    data["config"]["process"][0]["train"] |= {"timestep_type": "sigmoid", "content_or_style": "balanced", "loss_type": "mse", "unload_text_encoder": False}
    data["config"]["process"][0]["datasets"][0] |= {"mask_path": None, "is_reg": False, "num_frames": 1, "control_path_1": None}
    data["config"]["process"][0]["sample"]["samples"] = [{"prompt": prompt} for prompt in PROMPTS]
    del data["config"]["process"][0]["sample"]["prompts"]
    (tmp_path / "job.json").write_text(json.dumps(data))
    job, notes = load_job_with_notes(tmp_path / "job.json")
    assert isinstance(job, TrainJob) and job.network == Lora(rank=32) and job.sample.prompts == PROMPTS
    assert len(notes) == 1 and "have no effect" in notes[0].message


def test_quantization_is_taken_over() -> None:
    wanted = {"quantize": True, "qtype": "qfloat8", "qtype_te": "qint8", "low_vram": True, "quantize_kwargs": {"exclude": ["*time_text_embed*"]}}
    model = read(changed("model", **wanted))[0].model
    assert (model.quantize, model.quantize_te, model.qtype, model.qtype_te, model.low_vram) == (True, None, "qfloat8", "qint8", True)
    assert model.quantize_kwargs.exclude == ["*time_text_embed*"] and model.quantize_kwargs.include == []
    assert not read(changed("model", quantize=False, qtype=""))[0].model.quantize
    assert read(changed("model", auto_memory=True))[0].model.layer_offloading
    assert [read(changed("model", compile=value))[0].model.compile for value in (True, False)] == ["blocks", None]
    with pytest.raises(JobError, match="model.qtype must be"):
        load_job(changed("model", quantize=True, qtype="convrot8"))


def test_its_defaults_hold_where_a_key_is_left_out() -> None:
    data = flux(train={}, save={}, sample={}, datasets=[{"folder_path": "/pictures"}], network={"type": "lora"})
    job, _ = read(data)
    assert (job.train.steps, job.train.lr, job.train.optimizer, job.train.dtype) == (1000, 1e-6, "adamw", "fp32")
    assert (job.save.save_every, job.save.dtype, job.save.max_step_saves_to_keep) == (1000, "fp16", 5)
    assert (job.sample.width, job.sample.sample_steps, job.sample.seed, job.sample.walk_seed) == (512, 20, 0, False)
    assert (job.datasets[0].resolution, job.datasets[0].caption_dropout_rate) == (512, 0.0)
    assert isinstance(job.network, Lora) and job.network.rank == 4


def test_each_kind_of_network_takes_the_keys_that_it_has() -> None:
    """The files of AI Toolkit's pages carry them all, whatever the kind is."""
    all_keys = {"linear": 16, "linear_alpha": 16, "conv": 8, "conv_alpha": 4, "lokr_full_rank": True, "lokr_factor": -1, "dropout": 0.1}
    job, notes = read(changed("network", type="lokr", **all_keys))
    assert job.network == Lokr() and "network.dropout" in notes and "network.conv" in notes
    job, _ = read(changed("network", type="lokr", **all_keys | {"lokr_full_rank": False, "lokr_factor": 8}))
    assert job.network == Lokr(lokr_full_rank=False, rank=16, lokr_factor=8)
    job, _ = read(changed("network", type="dora", **all_keys))
    assert job.network == Dora(rank=16, dropout=0.1)
    data = changed("network", **all_keys)
    data["config"]["process"][0]["model"]["arch"] = "sdxl"
    data["config"]["process"][0]["model"].pop("is_flux", None)
    job, notes = read(data)
    assert job.network == Lora(rank=16, alpha=16, conv=8, conv_alpha=4, dropout=0.1) and "network.conv" not in notes


def test_without_a_network_all_weights_are_trained() -> None:
    data = flux()
    del data["config"]["process"][0]["network"]
    assert read(data)[0].network == Full()


def test_alpha_counts_only_where_it_counts_there() -> None:
    job, notes = read(changed("network", linear_alpha=1))
    assert job.network == Lora(rank=16) and notes.count("linear_alpha") == 0
    job, notes = read(changed("network", linear_alpha=8))
    assert job.network == Lora(rank=16) and "network.linear_alpha is ignored" in notes
    data = changed("network", linear_alpha=8)
    data["config"]["process"][0]["model"] = {"name_or_path": "x", "is_xl": True}
    job, _ = read(data)
    assert job.model.arch == "sdxl" and job.network == Lora(rank=16, alpha=8)


def test_patterns_of_layers_lose_the_prefix_that_our_names_lack() -> None:
    job, notes = read(changed("network", network_kwargs={"only_if_contains": ["transformer.single_transformer_blocks.7.", "to_q"], "parameter_threshold": 10}))
    assert isinstance(job.network, Lora) and job.network.only_if_contains == ["single_transformer_blocks.7.", "to_q"]
    assert "network.network_kwargs.parameter_threshold is not supported yet" in notes


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


def test_flags_in_prompts_become_settings_and_the_order_stays() -> None:
    prompts = ["a cat", "a dog -- well--known --w 512 --h 768 --d 7 --cfg 2.5 --steps 9 --m 0.5 --n mud", "a car --ctrl_img x.png --fps 24 --w wide --zz 3"]
    job, notes = read(changed("sample", prompts=prompts))
    assert job.sample.prompts == []
    cat, dog, car = job.sample.samples
    assert cat.prompt == "a cat" and cat.width is None
    assert dog.prompt == "a dog -- well--known" and dog.neg == "mud"
    assert (dog.width, dog.height, dog.seed, dog.guidance_scale, dog.sample_steps, dog.network_multiplier) == (512, 768, 7, 2.5, 9, 0.5)
    assert (car.prompt, car.ctrl_img, car.fps) == ("a car", "x.png", 24)
    assert "sample prompt 3 has --w --zz, not supported yet" in notes


def test_settings_of_a_model_that_no_family_here_has_are_said_and_left_out() -> None:
    job, notes = read(changed("model", model_kwargs={"match_target_res": False, "use_image_refiner": True, "control_dropout": 0.5}))
    assert job.model.model_kwargs == {"control_dropout": 0.5}
    assert "model.model_kwargs.use_image_refiner is not supported yet" in notes


@pytest.mark.parametrize("value", [False, True])
def test_the_size_of_reference_pictures_is_taken_over_where_there_is_a_choice(value: bool) -> None:
    job, notes = read(changed("model", model_kwargs={"match_target_res": value}))
    assert job.model.model_kwargs == {} and "match_target_res has no effect" in notes
    for arch in ("flux2", "flux2_klein_9b", "qwen_image_edit_plus:2511"):
        job, notes = read(changed("model", model_kwargs={"match_target_res": value}, arch=arch))
        assert job.model.model_kwargs == {"match_target_res": value} and "match_target_res" not in notes


def test_folders_of_reference_pictures_are_taken_over_in_their_order() -> None:
    assert read(changed("datasets", control_path="x"))[0].datasets[0].control_path == ["x"]
    assert read(changed("datasets", control_path=["x", "y"], control_path_1=None))[0].datasets[0].control_path == ["x", "y"]
    assert read(changed("datasets", control_path_2="b", control_path_1="a"))[0].datasets[0].control_path == ["a", "b"]


def test_sampling_that_is_off_stays_off() -> None:
    job, _ = read(changed("train", disable_sampling=True))
    assert job.sample.sample_every is None and job.sample.skip_first_sample
    assert read(changed("sample", sample_every=0))[0].sample.sample_every is None
    assert read(changed("train", skip_first_sample=True))[0].sample.skip_first_sample
    assert read(changed("save", save_every=None))[0].save.save_every is None
    assert read(changed("save", max_step_saves_to_keep=0))[0].save.max_step_saves_to_keep == 10000  # there, all are kept


def test_what_is_done_to_captions_is_taken_over() -> None:
    given = {
        "shuffle_tokens": True, "keep_tokens": 2, "token_dropout_rate": 0.1, "use_short_captions": True, "random_triggers": "words.txt",
        "random_triggers_max": 3, "replacements": ["dog|[trigger]"],
    }  # fmt: skip
    job, notes = read(changed("datasets", **given))
    assert job.datasets[0].model_dump(include=set(given)) == {**given, "random_triggers": ["words.txt"]}
    assert not any(key in notes for key in given)


def test_a_map_of_pictures_is_the_data_set() -> None:
    assert read(changed("datasets", folder_path=None, dataset_path="/data/cats.json"))[0].datasets[0].path == "/data/cats.json"


def test_a_trigger_word_stands_for_captions_that_are_missing() -> None:
    job, notes = read(flux(trigger_word="p3r5on"))
    assert job.trigger_word == "p3r5on" and job.datasets[0].default_caption == "[trigger]"
    assert "before every caption" in notes
    assert read(flux())[0].datasets[0].default_caption is None  # then a missing caption is an error that is told


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


def test_an_embedding_is_trained_alone_unless_there_is_a_network() -> None:
    word = {"trigger": "p3r5on", "tokens": 8, "init_words": "woman", "save_format": "pt"}
    job, notes = read(flux(network=None, embedding=word))
    assert job.network.type == "none" and job.embedding.model_dump() == {"trigger": "p3r5on", "tokens": 8, "init_words": "woman"}
    assert job.datasets[0].default_caption == "[trigger]" and "embedding.save_format pt is left out" in notes
    beside, _ = read(flux(embedding=word, decorator={"num_tokens": 2}))
    assert beside.network.type == "lora" and beside.embedding and beside.decorator.num_tokens == 2
    assert read(changed("train", embedding_lr=1e-3))[0].train.embedding_lr is None  # its app always writes one
    assert read(flux(embedding=word, train={"embedding_lr": 1e-3}))[0].train.embedding_lr == 1e-3


def test_what_is_left_out_of_a_network_at_random_is_taken_over() -> None:
    job, notes = read(changed("network", network_kwargs={"rank_dropout": 0.1, "module_dropout": 0.2}, transformer_only=False, pretrained_lora_path="x"))
    assert (job.network.rank_dropout, job.network.module_dropout, job.network.transformer_only, job.network.pretrained_lora_path) == (0.1, 0.2, False, "x")
    assert "network_kwargs" not in notes


def test_augmentations_are_taken_over_with_their_share_among_the_settings() -> None:
    job, _ = read(changed("datasets", augmentations=[{"method": "Rotate", "params": {"limit": 5, "p": 0.25}}]))
    (one,) = job.datasets[0].augmentations
    assert (one.method, one.p, one.params) == ("Rotate", 0.25, {"limit": 5})


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
        (lambda d: d["config"]["process"][0]["network"].update(type="locon"), "network.type must be lora, lokr, loha, dora, oft, full or none; it is 'locon'"),
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
    ("theirs", "ours"),
    [
        ({"num_frames": 1, "do_i2v": True, "shrink_video_to_frames": True, "fps": 24}, {}),  # pictures alone
        ({"num_frames": 41}, {"num_frames": 41}),
        ({"num_frames": 41, "fps": 16, "do_i2v": True}, {"num_frames": 41, "do_i2v": True}),  # spread over the video: at no rate
        ({"num_frames": 41, "shrink_video_to_frames": False}, {"num_frames": 41, "shrink_video_to_frames": False, "fps": 24}),
        ({"num_frames": 41, "auto_frame_count": True, "fps": 16}, {"auto_frame_count": True, "fps": 16}),
        ({"auto_frame_count": True, "trim_auto_frame_count_tail": False}, {"auto_frame_count": True, "trim_auto_frame_count_tail": False, "fps": 24}),
    ],
)
def test_keys_of_videos_mean_what_they_mean_there(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    names = ("num_frames", "fps", "shrink_video_to_frames", "auto_frame_count", "trim_auto_frame_count_tail", "do_i2v")
    job, _ = read(changed("datasets", **theirs))
    given = job.datasets[0].model_dump(include=set(names), exclude_unset=True)
    assert given == ours


@pytest.mark.parametrize(
    ("theirs", "ours", "said"),
    [
        ("Prodigy_v2", "prodigy", ""),
        ("prodigy8bit", "prodigy8bit", ""),
        ("dadaptation", "dadaptadam", ""),
        ("dadaptationlion", "dadaptlion", ""),
        ("dadaptationadam", "dadaptadam", "built as D-Adapt Lion by AI Toolkit"),
    ],
)
def test_optimizers_get_the_names_that_they_have_here(theirs: str, ours: str, said: str) -> None:
    job, notes = read(changed("train", optimizer=theirs))
    assert job.train.optimizer == ours and said in notes


def test_a_rate_for_text_encoders_is_taken_over_where_they_are_trained() -> None:
    assert read(changed("train", text_encoder_lr=1e-5, train_text_encoder=False))[0].train.text_encoder_lr is None
    assert read(changed("train", text_encoder_lr=1e-5, train_text_encoder=True))[0].train.text_encoder_lr == 1e-5


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


def test_the_first_sample_of_a_run_that_goes_on_and_keeping_all_checkpoints() -> None:
    assert read(changed("train", force_first_sample=True))[0].sample.force_first_sample
    job, notes = read(changed("save", max_step_saves_to_keep=0))
    assert job.save.max_step_saves_to_keep == 10000 and "with 0 AI Toolkit keeps all checkpoints" in notes


def test_a_single_file_of_a_whole_model_is_said_to_be_a_folder() -> None:
    whole = changed("save", save_format="safetensors")
    whole["config"]["process"][0].pop("network")
    assert "saved as folders in diffusers layout" in read(whole)[1]
    assert "saved as folders" not in read(changed("save", save_format="safetensors"))[1]

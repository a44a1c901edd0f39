"""AI Toolkit's processes beside the usual training: autoencoders, sliders from pairs, text encoders alone."""

from __future__ import annotations

from typing import Any

import pytest
from ai_toolkit import changed, read

from engine.errors import JobError
from engine.jobs import VaeJob
from engine.jobs.load import load_job, load_job_with_notes


def vae(**changes: Any) -> dict[str, Any]:
    process = {"type": "vae", "vae_path": "a/vae", "datasets": [{"path": "p"}], "max_steps": 100, **changes}
    return {"job": "train", "config": {"name": "v", "process": [process]}}


def test_a_training_of_an_autoencoder_is_taken_over_with_its_defaults():
    job, notes = load_job_with_notes(vae(learning_rate=1e-5, kld_weight=0.1, log_every=10, sample_every=5))
    assert isinstance(job, VaeJob) and not notes
    train = job.train
    assert (job.vae_path, job.datasets[0].path, train.steps, train.lr, train.batch_size, train.resolution) == (
        "a/vae",
        "p",
        100,
        1e-5,
        1,
        256,
    )
    assert (train.mse_weight, train.mae_weight, train.edge_weight, train.kld_weight, train.critic_weight) == (1, 0, 0, 0.1, 0)
    assert (train.train_encoder, train.holdout, train.dtype) == (False, 0, "fp32")  # it learns from all pictures, and the decoder alone
    job, notes = load_job_with_notes(
        vae(use_critic=True, critic_weight=0.2, critic={"learning_rate": 1e-4, "start_step": 50, "lambda_gp": 10}, train_encoder=True)
    )
    assert (job.train.critic_weight, job.train.critic_lr, job.train.critic_start, job.train.train_encoder) == (0.2, 1e-4, 50, True)
    assert "hinge loss" in notes[0].message


def test_what_of_it_is_left_out_is_said():
    _, notes = load_job_with_notes(vae(lpips_weight=1, tv_weight=0.5, optimizer="lion", seed_words=3, mv_loss_weight=0))
    told = " ".join(note.message + note.hint for note in notes)
    assert "lpips_weight is left out" in told and "perceptual_weight" in told and "tv_weight is left out" in told and "AdamW" in told
    assert "seed_words is not a known key" in told and "mv_loss_weight" not in told


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"vae_type": "AutoencoderTiny"}, "tiny autoencoder"), ({"eq_vae": True}, "eq_vae"), ({"target_latent_vae_path": "b"}, "target_latent_vae_path"),
        ({"blocks_to_train": ["decoder"]}, "blocks_to_train"), ({"max_steps": None, "epochs": 3}, "steps are counted"), ({"vae_path": None}, "vae_path is missing"),
    ],
)  # fmt: skip
def test_what_would_be_another_training_is_an_error(changes, words):
    with pytest.raises(JobError) as refused:
        load_job(vae(**changes))
    assert words in refused.value.message and refused.value.hint


def pairs(**slider: Any) -> dict[str, Any]:
    job = changed("train", train_text_encoder=True, max_denoising_steps=1000)
    process = job["config"]["process"][0]
    process |= {"type": "image_reference_slider_trainer", "slider": slider}
    process.pop("datasets")
    return job


def test_a_slider_from_pairs_is_taken_over():
    one = {"pos_folder": "smiling", "neg_folder": "serious", "target_class": "a face", "size": 768, "network_weight": 2.0}
    job, told = read(pairs(datasets=[one], additional_losses=[], weight_jitter=0.0))
    assert job.pair_slider.target_class == "a face" and job.pair_slider.strength == 2.0 and job.slider is None
    [data] = job.datasets
    assert (data.path, data.control_path, data.resolution, data.default_caption) == ("smiling", ["serious"], 768, None)
    assert not job.train.train_text_encoder and "turns the model that draws alone" in told and "weight_jitter" not in told
    job, told = read(pairs(datasets=[one, one | {"target_class": "a dog"}], weight_jitter=0.5))
    assert job.pair_slider.target_class is None and [data.default_caption for data in job.datasets] == ["a face", "a dog"]
    assert "several target_class" in told and "slider.weight_jitter is left out" in told


def unconditional(*datasets: dict[str, Any]) -> dict[str, Any]:
    job = changed("train", steps=10)
    job["config"]["process"][0]["datasets"] = list(datasets)
    return job


def test_pictures_that_are_not_to_be_learned_make_a_slider_from_pairs():
    one = {"folder_path": "with", "unconditional_path": "without", "guidance_type": "polarity"}
    job, told = read(unconditional(one))
    assert job.pair_slider.strength == 1 and job.pair_slider.target_class is None and "polarity" not in told
    assert (job.datasets[0].path, job.datasets[0].control_path) == ("with", ["without"])
    _, told = read(unconditional({**one, "guidance_type": "targeted"}, {"folder_path": "b", "unconditional_path": "c"}))
    assert "guidance_type targeted is done as polarity" in told
    job, _ = read(unconditional({"folder_path": "with", "unconditional_path": None}))
    assert job.pair_slider is None and not job.datasets[0].control_path
    for wrong, words in (([one, {"folder_path": "b"}], "others have none"), ([{**one, "control_path": "d"}], "and reference pictures")):
        with pytest.raises(JobError, match=words):
            read(unconditional(*wrong))


@pytest.mark.parametrize(
    ("slider", "words"),
    [
        ({"datasets": [{"pair_folder": "p"}]}, "needs pos_folder and neg_folder"),
        ({"slider_pair_folder": "p", "target_class": "a"}, "needs pos_folder and neg_folder"),
        ({"datasets": [{"pos_folder": "a", "neg_folder": "b", "pos_weight": 2.0}]}, "several strengths"),
    ],
)
def test_pairs_that_cannot_be_read_are_told(slider, words):
    with pytest.raises(JobError) as refused:
        load_job(pairs(**slider))
    assert words in refused.value.message and refused.value.hint


def test_text_encoders_alone_are_taken_over_and_a_word_alone_needs_no_network():
    job, _ = read(changed("train", train_unet=False, train_text_encoder=True))
    assert not job.train.train_unet and job.train.train_text_encoder
    word = changed("train", train_unet=False, train_text_encoder=False)
    word["config"]["process"][0]["embedding"] = {"trigger": "zqcat", "tokens": 4}
    job, _ = read(word)
    assert job.network.type == "none" and job.train.train_unet


@pytest.mark.parametrize(("bits", "kind"), [(8, "int8"), (4, "nf4")])
def test_text_encoders_of_few_bits_are_held_so(bits, kind):
    job, told = read(changed("model", text_encoder_bits=bits))
    assert job.model.quantize_te and job.model.qtype_te == kind and f"text_encoder_bits {bits} is quantize_te with qtype_te {kind}" in told
    job, told = read(changed("model", text_encoder_bits=bits, quantize_te=True, qtype_te="qfloat8"))
    assert job.model.qtype_te == "qfloat8" and "text_encoder_bits is left out" in told
    job, told = read(changed("model", text_encoder_bits=16))
    assert job.model.quantize_te is None or not job.model.quantize_te
    assert "text_encoder_bits" not in told


def test_turbo_compares_the_pictures_of_one_large_step():
    job, told = read(changed("train", train_turbo=True, timestep_type="one_step"))
    assert job.train.t0_loss_target and job.train.timestep_type == "one_step" and "train_turbo is our t0_loss_target" in told
    assert "train_turbo" not in read(changed("train", train_turbo=False))[1]


def test_the_first_sample_has_settings_of_its_own():
    job = changed("train", steps=100)
    job["config"]["process"][0]["first_sample"] = {"prompts": ["a cat --w 512"], "sample_steps": 4, "sample_every": 7}
    read_job, told = read(job)
    assert read_job.first_sample.samples[0].width == 512 and read_job.first_sample.sample_steps == 4
    assert "first_sample" not in told and read(changed("train", steps=100))[0].first_sample is None

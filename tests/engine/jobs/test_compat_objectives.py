"""AI Toolkit's options of how something is learned, measured and logged: ours, or a sentence why not."""

from __future__ import annotations

from typing import Any

import pytest
from ai_toolkit import changed, flux, read

from engine.errors import JobError
from engine.jobs import load_job
from engine.jobs.compat_objectives import UNWISE


@pytest.mark.parametrize(("section", "key"), [(section, key) for section, some in UNWISE.items() for key in some])
def test_what_would_do_harm_is_refused_with_what_to_do_instead(section: str, key: str) -> None:
    neutral, why, instead = UNWISE[section][key]
    place = {"dataset": "datasets[0]", "ema": "train.ema_config"}.get(section, section)

    def job(value: Any) -> dict[str, Any]:
        if section == "ema":
            return changed("train", ema_config={"use_ema": True, key: value})
        return changed("datasets" if section == "dataset" else section, **{key: value})

    with pytest.raises(JobError) as caught:
        load_job(job(0.5 if isinstance(neutral, float) else True))
    assert (
        caught.value.message == f"{place}.{key} is not here: it {why}"
        and why.endswith(".")
        and instead.endswith(".")
        and caught.value.hint == instead
    )
    assert key not in read(job(neutral))[1]


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"do_cfg": True, "cfg_scale": 3.0, "negative_prompt": "mud"}, {"do_cfg": True, "cfg_scale": 3.0, "unconditional_prompt": "mud"}),
        (
            {"do_cfg": True, "cfg_scale": 3.0, "max_cfg_scale": 7.0},
            {"do_cfg": True, "cfg_scale": 3.0},
        ),  # it is read where it is random alone
        ({"do_random_cfg": True, "max_cfg_scale": 7.0}, {"do_cfg": True, "cfg_scale": 1.0, "max_cfg_scale": 7.0}),
        ({"do_random_cfg": True, "cfg_scale": 4.0}, {"do_cfg": True, "cfg_scale": 1.0, "max_cfg_scale": 4.0}),
        ({"negative_prompt": "mud"}, {}),
        ({"loss_type": "mean_flow"}, {"mean_flow": True}),
        ({"loss_target": "source"}, {}),
        ({"loss_target": "noise"}, {}),
        ({"t0_loss_target": True}, {"t0_loss_target": True}),
        ({"t0_loss_target": True, "t0_velocity_equiv_weight": True}, {}),
        ({"do_fft_loss": True, "do_fft_velocity_equiv_weight": True}, {"do_fft_loss": True, "do_fft_velocity_equiv_weight": True}),
        ({"batch_size": 4, "single_item_batching": True, "gradient_accumulation": 2}, {"batch_size": 1, "gradient_accumulation": 8}),
    ],
)
def test_what_is_learned_and_how_is_taken_over(theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    plain, job = read(flux())[0].train, read(changed("train", **theirs))[0].train
    assert job == plain.model_copy(update=ours)


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        ({"cfg_scale": 3.5}, "here it is told 1"), ({"loss_type": "mean_flow"}, "sample_steps 1"), ({"loss_target": "source"}, "is the plain loss"),
        ({"t0_loss_target": True, "t0_velocity_equiv_weight": True}, "the one undoes the other"), ({"short_and_long_captions": True}, "they take turns"),
    ],
)  # fmt: skip
def test_where_that_is_not_quite_the_same_it_is_said(theirs: dict[str, Any], said: str) -> None:
    assert said in read(changed("train", **theirs))[1]


@pytest.mark.parametrize("theirs", [{"loss_target": "unaugmented"}, {"do_cfg": True, "negative_prompt": "words.txt"}])
def test_what_cannot_be_taken_over_is_an_error(theirs: dict[str, Any]) -> None:
    with pytest.raises(JobError, match=r"train\.(loss_target|negative_prompt)"):
        load_job(changed("train", **theirs))


def test_both_captions_of_a_picture_come_in_turn_and_those_of_regularisation_once() -> None:
    data = changed("train", short_and_long_captions=True)
    data["config"]["process"][0]["datasets"].append({"folder_path": "/known", "is_reg": True})
    assert [(one.path, one.use_short_captions) for one in read(data)[0].datasets] == [
        ("/pictures", False),
        ("/pictures", True),
        ("/known", False),
    ]


def test_prompts_that_are_left_out_at_random_are_captions_that_are() -> None:
    """There both lots are drawn: 0.05 of the captions, and a tenth of the prompts."""
    job, _ = read(changed("train", prompt_dropout_prob=0.1))
    assert job.datasets[0].caption_dropout_rate == pytest.approx(1 - 0.95 * 0.9)


def test_its_validation_is_ours() -> None:
    given = {
        "validation_items": [{"image_path": "/a.png", "prompt": "a cat"}, {"image_path": ""}],
        "validate_every_n_steps": 25,
        "resolution": 768,
    }
    job, notes = read(changed("train", validation_config=given))
    found = job.validation
    assert (found.every, [(one.image_path, one.prompt) for one in found.items], found.sigmas) == (
        25,
        [("/a.png", "a cat")],
        [1.0, 0.75, 0.5, 0.25],
    )
    assert "validation_config.resolution is left out" in notes
    job, notes = read(changed("train", validation_config={"validation_items": []}))
    assert job.validation.every is None and "names no pictures" in notes
    assert read(changed("train", validation_config={"validation_items": [{"image_path": "/a.png"}]}))[0].validation.every == 10


def test_logging_is_taken_over() -> None:
    data = flux(
        log_dir="boards", performance_log_every=10, logging={"use_wandb": True, "project_name": "p", "run_name": "r", "verbose": True}
    )
    logging = read(data)[0].logging
    assert (logging.log_dir, logging.performance_log_every, logging.use_wandb, logging.project_name, logging.run_name) == (
        "boards",
        10,
        True,
        "p",
        "r",
    )
    assert read(flux(performance_log_every=0))[0].logging.performance_log_every is None

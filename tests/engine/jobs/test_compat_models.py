"""AI Toolkit's model section as ours: in few bits, and with settings that only some families have."""

from __future__ import annotations

import pytest
from ai_toolkit import changed, read

from engine.errors import JobError
from engine.jobs import load_job


def test_quantization_is_taken_over() -> None:
    wanted = {
        "quantize": True,
        "qtype": "qfloat8",
        "qtype_te": "qint8",
        "low_vram": True,
        "quantize_kwargs": {"exclude": ["*time_text_embed*"]},
    }
    model = read(changed("model", **wanted))[0].model
    assert (model.quantize, model.quantize_te, model.qtype, model.qtype_te, model.low_vram) == (True, None, "qfloat8", "qint8", True)
    assert model.quantize_kwargs.exclude == ["*time_text_embed*"] and model.quantize_kwargs.include == []
    assert not read(changed("model", quantize=False, qtype=""))[0].model.quantize
    assert read(changed("model", auto_memory=True))[0].model.layer_offloading
    assert [read(changed("model", compile=value))[0].model.compile for value in (True, False)] == ["blocks", None]
    with pytest.raises(JobError, match="model.qtype must be"):
        load_job(changed("model", quantize=True, qtype="convrot8"))


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

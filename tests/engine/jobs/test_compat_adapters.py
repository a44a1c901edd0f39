"""AI Toolkit's adapter section as ours."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import JobError
from engine.jobs import TrainJob
from engine.jobs.adapters import ControlLora, ControlNet, IpAdapter, Redux, T2i
from engine.jobs.load import load_job_with_notes
from engine.jobs.train import Slider


def read(adapter: dict[str, Any], **sections: Any) -> tuple[TrainJob, str]:
    process = {"type": "sd_trainer", "model": {"name_or_path": "x"}, "datasets": [{"folder_path": "p"}], "adapter": adapter, **sections}
    job, notes = load_job_with_notes({"job": "extension", "config": {"name": "a", "process": [process]}})
    assert isinstance(job, TrainJob)
    return job, " ".join(note.message for note in notes)


def test_a_t2i_adapter_is_what_is_meant_where_no_type_is_given_and_its_shapes_follow_from_the_model():
    job, told = read(
        {"train": True, "channels": [320], "num_res_blocks": 3, "test_img_path": "a.png, b.png"}, train={"adapter_lr": 3e-4, "lr": 1e-6}
    )
    assert job.adapter == T2i(num_res_blocks=3, test_img_path=["a.png", "b.png"])
    assert job.network.type == "none" and job.train.lr == 3e-4
    assert "channels" not in told


def test_a_control_net_is_drawn_as_strongly_as_its_job_says():
    job, told = read(
        {"type": "control_net", "train": True, "name_or_path": "a/b", "num_tokens": 4},
        sample={"adapter_conditioning_scale": 0.7},
        network={"type": "lora", "linear": 4},
    )
    assert job.adapter == ControlNet(name_or_path="a/b") and job.sample.network_multiplier == 0.7
    assert "network is left out" in told and "adapter.num_tokens has no effect" in told


def test_a_control_lora_has_its_network_inside():
    adapter = {
        "type": "control_lora",
        "train": True,
        "lora_config": {"type": "lora", "linear": 8, "linear_alpha": 8},
        "control_image_dropout": 0.1,
        "num_control_images": 1,
    }
    job, _ = read(adapter, model={"name_or_path": "x", "arch": "flux"})
    assert isinstance(job.adapter, ControlLora) and job.adapter.lora_config.rank == 8 and job.adapter.control_image_dropout == 0.1


def test_what_looks_at_pictures_has_its_encoder_and_its_pictures():
    data = [{"folder_path": "p", "clip_image_path": "q"}]
    job, told = read({"type": "ip", "train": True, "image_encoder_path": "a/b", "image_encoder_arch": "clip"}, datasets=data)
    assert job.adapter == IpAdapter(image_encoder_path="a/b") and job.datasets[0].clip_image_path == "q"
    assert "adapter.image_encoder_arch" in told
    job, _ = read({"type": "redux", "train": True, "image_encoder_path": "a/b"}, datasets=data)
    assert job.adapter == Redux(image_encoder_path="a/b")


def test_a_concept_slider_and_a_concept_replacer_are_taken_over():
    slider = {
        "target_class": "a woman",
        "positive_prompt": "an old woman",
        "negative_prompt": "a young woman",
        "anchor_class": None,
        "guidance_strength": 2.0,
    }
    sections: dict[str, Any] = {
        "model": {"name_or_path": "x"},
        "network": {"type": "lora", "linear": 4},
        "datasets": [{"folder_path": "p"}],
    }
    for process in (
        {"type": "concept_slider", "slider": slider},
        {"type": "concept_replacer", "replacements": [{"concept": "a", "replacement": "b"}]},
    ):
        job, _ = load_job_with_notes({"job": "extension", "config": {"name": "a", "process": [sections | process]}})
        assert isinstance(job, TrainJob)
        if "slider" in process:
            assert job.slider == Slider(
                target_class="a woman", positive_prompt="an old woman", negative_prompt="a young woman", guidance_strength=2.0
            )
        else:
            assert [one.replacement for one in job.replacements] == ["b"]


@pytest.mark.parametrize(
    ("adapter", "told"),
    [
        ({"type": "control_net"}, "does not learn"),
        ({"type": "photo_maker", "train": True}, "photo_maker is not supported yet"),
        ({"type": "control_lora", "train": True, "num_control_images": 2}, "several control pictures"),
        ({"type": "control_lora", "train": True, "has_inpainting_input": True}, "has_inpainting_input"),
    ],
)
def test_what_is_not_trained_here_is_refused(adapter, told):
    with pytest.raises(JobError, match=told):
        read(adapter)

"""What a file says of itself, and what it keeps to itself."""

from __future__ import annotations

import json

import pytest
import tiny
from safetensors import safe_open

from engine.families.defaults import ModelDefaults
from engine.families.flux import Flux
from engine.jobs import TrainJob, load_job
from engine.network.metadata import describe_network

SECRET = "my_private_folder"


def job(**changes) -> TrainJob:
    data = {
        "kind": "train", "name": "Red mug", "trigger_word": "mug42", "model": {"name_or_path": "black-forest-labs/FLUX.1-dev"},
        "network": {"type": "lora", "rank": 8, "alpha": 4},
        "datasets": [{"path": f"/data/{SECRET}", "default_caption": "a secret caption", "resolution": [512, 768]}],
        "train": {"steps": 100, "lr": 2e-4, "batch_size": 2, "gradient_accumulation": 3, "seed": 9},
    }  # fmt: skip
    return load_job(data | changes)


@pytest.fixture
def family() -> Flux:
    return Flux(tiny.flux(), ModelDefaults(resolution=[512, 1024]), None)


def test_modelspec_and_the_useful_part_of_kohyas_texts_are_there(family):
    texts = describe_network(job(), family, 60)
    wanted = {
        "modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": "flux-1-dev/lora",
        "modelspec.implementation": "https://github.com/black-forest-labs/flux", "modelspec.title": "Red mug",
        "modelspec.trigger_phrase": "mug42", "modelspec.resolution": "768x768",
        "ss_network_dim": "8", "ss_network_alpha": "4.0", "ss_network_module": "networks.lora_flux", "ss_base_model_version": "flux1",
        "ss_output_name": "Red mug", "ss_steps": "60", "ss_max_train_steps": "100", "ss_learning_rate": "0.0002", "ss_seed": "9",
        "ss_sd_model_name": "black-forest-labs/FLUX.1-dev", "ss_total_batch_size": "6",
    }  # fmt: skip
    assert wanted.items() <= texts.items()
    assert json.loads(texts["software"])["name"] == "Darkroom"
    assert all(type(key) is str and type(value) is str for key, value in texts.items())


@pytest.mark.parametrize(
    "base, name",
    [("black-forest-labs/FLUX.1-schnell", "flux-1-schnell/lora"), ("/models/mine", "flux-1-dev/lora")],
)
def test_the_architecture_is_the_base_models_or_else_the_familys(family, base, name):
    texts = describe_network(job(model={"name_or_path": base}), family, 1)
    assert texts["modelspec.architecture"] == name and "/models" not in str(texts)


def test_captions_folders_and_times_stay_private_and_the_texts_are_the_same_each_time(family):
    texts = describe_network(job(), family, 60)
    assert SECRET not in str(texts) and "secret caption" not in str(texts)
    assert not any(word in key for key in texts for word in ("date", "time", "started", "finished"))
    assert texts == describe_network(job(), family, 60)


def test_without_trigger_and_alpha_nothing_is_made_up(family):
    texts = describe_network(job(trigger_word=None, network={"type": "lora", "rank": 8}, datasets=[{"path": "x"}]), family, 1)
    assert "modelspec.trigger_phrase" not in texts and "None" not in texts.values()
    assert texts["ss_network_alpha"] == "8" and texts["modelspec.resolution"] == "1024x1024"


def test_the_texts_are_in_the_saved_file(make_network, family, tmp_path):
    texts = describe_network(job(), family, 60)
    make_network().save(tmp_path / "one.safetensors", texts, "bf16", "comfyui")
    with safe_open(tmp_path / "one.safetensors", "pt") as file:
        assert file.metadata() == texts | {"format": "pt"}


@pytest.mark.parametrize(("kind", "algo"), [("lokr", "lokr"), ("loha", "loha"), ("dora", "lora")])
def test_other_kinds_say_what_lycoris_says(family, kind, algo):
    texts = describe_network(job(network={"type": kind, "rank": 8, "alpha": 4}), family, 60)
    assert (texts["ss_network_module"], texts["ss_network_dim"], texts["ss_network_alpha"]) == ("lycoris.kohya", "8", "4.0")
    assert json.loads(texts["ss_network_args"])["algo"] == algo

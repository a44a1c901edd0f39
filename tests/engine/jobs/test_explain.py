"""One plain sentence for each wrong key, with its place."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import JobError
from engine.jobs import KINDS, TrainJob, explain, load_job


def told(**changes: Any) -> dict[str, str]:
    """What is said of a job with these changes; "train__steps" stands for train.steps."""
    data: dict[str, Any] = {"name": "a", "model": {"name_or_path": "x"}, "datasets": [{"path": "p"}]}
    for where, value in changes.items():
        *parents, key = where.split("__")
        section: Any = data
        for parent in parents:
            section = section[int(parent)] if isinstance(section, list) else section.setdefault(parent, {})
        section[int(key) if isinstance(section, list) else key] = value
    try:
        TrainJob.model_validate(data)
    except ValueError as error:
        return explain(TrainJob, error)
    return {}


@pytest.mark.parametrize(
    ("changes", "path", "sentence"),
    [
        ({"train__steps": 0}, "train.steps", "train.steps must be at least 1; it is 0."),
        ({"train__steps": "many"}, "train.steps", "train.steps must be a whole number; it is 'many'."),
        ({"train__steps": 1.5}, "train.steps", "train.steps must be a whole number; it is 1.5."),
        ({"train__lr": 0}, "train.lr", "train.lr must be more than 0; it is 0."),
        ({"train__lr": "fast"}, "train.lr", "train.lr must be a number; it is 'fast'."),
        ({"train__ema_config__ema_decay": 1}, "train.ema_config.ema_decay", "train.ema_config.ema_decay must be less than 1; it is 1."),
        ({"train__gradient_checkpointing": "maybe"}, "train.gradient_checkpointing", "train.gradient_checkpointing must be true or false; it is 'maybe'."),
        ({"save__format": "difusers"}, "save.format", "save.format must be auto, diffusers, comfyui or kohya; it is 'difusers'. Did you mean diffusers?"),
        ({"train__dtype": "int8"}, "train.dtype", "train.dtype must be auto, bf16, fp16 or fp32; it is 'int8'."),
        ({"train": "fast"}, "train", "train must be a section of keys; it is 'fast'."),
        ({"train__step": 3}, "train.step", "train.step is not a known key. Did you mean steps?"),
        ({"nmae": "b"}, "nmae", "nmae is not a known key. Did you mean name?"),
        ({"name": 12}, "name", "name must be text; it is 12. Put it in quotes."),
        ({"name": ""}, "name", "name must not be empty; it is empty."),
        ({"name": "a/b"}, "name", "name may have letters, digits, spaces and . + - _ and begins with a letter or a digit; it is 'a/b'."),
        ({"datasets": []}, "datasets", "datasets needs at least 1 entry; it is []."),
        ({"datasets": {}}, "datasets", "datasets must be a list; it is a section of keys."),
        ({"datasets__0": {}}, "datasets.0.path", "datasets[0].path is missing."),
        ({"datasets__0__pth": "x"}, "datasets.0.pth", "datasets[0].pth is not a known key. Did you mean path?"),
        ({"datasets__0__folder_path": "x"}, "datasets.0.folder_path", "datasets[0].folder_path says the same as path, which is given too: leave one of them out."),
        ({"network": {"type": "locon"}}, "network.type", "network.type must be lora, lokr, loha, dora, oft, full or none; it is 'locon'."),
        ({"network": "lora"}, "network", "network must be a section of keys; it is 'lora'."),
        ({"network": {"type": "lora", "linear": 0}}, "network.linear", "network.linear must be at least 1; it is 0."),
        ({"network": {"type": "full", "rank": 4}}, "network.rank", "network.rank is not a known key. Known are: type."),
        ({"sample__prompts": "a cat"}, "sample.prompts", "sample.prompts must be a list; it is 'a cat'."),
        ({"sample__samples": ["a cat"]}, "sample.samples.0", "sample.samples[0] must be a section of keys; it is 'a cat'."),
    ],
)  # fmt: skip
def test_a_wrong_key_is_one_sentence(changes: dict[str, Any], path: str, sentence: str) -> None:
    assert told(**changes) == {path: sentence}


@pytest.mark.parametrize(
    ("value", "path", "sentence"),
    [
        ("abc", "datasets.0.resolution", "datasets[0].resolution must be a whole number; it is 'abc'."),
        (8, "datasets.0.resolution", "datasets[0].resolution must be at least 16; it is 8."),
        ([8, 512], "datasets.0.resolution.0", "datasets[0].resolution[0] must be at least 16; it is 8."),
        ({}, "datasets.0.resolution", "datasets[0].resolution must be a list or a whole number; it is a section of keys."),
    ],
)
def test_a_key_that_may_be_one_or_many_is_told_of_the_one_that_was_meant(value: Any, path: str, sentence: str) -> None:
    assert told(datasets__0__resolution=value) == {path: sentence}


def test_several_mistakes_are_told_at_once_in_the_order_of_the_job() -> None:
    assert list(told(train__steps=0, train__lr=-1, sample__width=1)) == ["train.steps", "train.lr", "sample.width"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_word_of_the_program_reaches_the_person(kind: str) -> None:
    """Every key of every job, given something that it never takes."""

    def wrong(model: Any) -> dict[str, Any]:
        return {name: object() for name in model.model_fields if name != "kind"}

    with pytest.raises(JobError) as caught:
        load_job({"kind": kind, **wrong(KINDS[kind])})
    for word in ("constrained", "Input", "dictionary", "instance", "valid ", "literal"):
        assert word not in caught.value.message, caught.value.message

"""Pictures with and without LoRAs, from the same seeds."""

from __future__ import annotations

import numpy
import pytest
from PIL import Image

from engine.control import Control
from engine.execute import execute
from engine.families.defaults import ModelDefaults
from engine.jobs import SampleSettings, load_job
from engine.runs.folder import RunFolder
from engine.sampling.draw import read_settings
from engine.sampling.requests import requests_of


@pytest.fixture
def drawn(base, tmp_path):
    def draw(**changes):
        data = {
            "kind": "generate",
            "name": "sheet",
            "model": {"name_or_path": str(base)},
            "sample": {"prompts": ["a", "b"]},
            **changes,
        }
        job = load_job(data)
        folder = RunFolder.create(tmp_path / "drawings", job, exist_ok=True)
        return list(execute(job, folder, Control())), folder

    return draw


def test_each_lora_is_a_column_and_the_base_is_the_first(make_job, run, tmp_path, drawn):
    run(make_job(train__steps=20, train__lr=5e-2, sample__sample_every=None))
    lora = str(tmp_path / "out" / "tiny" / "tiny.safetensors")
    events, folder = drawn(loras=[{"path": lora, "label": "full"}, {"path": lora, "strength": 0.0, "label": "none"}])
    samples = [e for e in events if e.kind == "sampled"]
    assert [(e.column, e.prompt) for e in samples] == [(c, p) for c in ("base", "full", "none") for p in ("a", "b")]
    assert events[-1].kind == "finished"
    picture = {(e.column, e.prompt): numpy.asarray(Image.open(folder.path / e.path), int) for e in samples}
    assert abs(picture["base", "a"] - picture["full", "a"]).max() > 8
    assert (picture["base", "a"] == picture["none", "a"]).all(), "strength 0 is the base, and nothing of the LoRA before it is left"
    assert read_settings(folder.path / samples[2].path)["lora"] == "full"


def test_a_picture_drawn_again_is_the_same_picture(drawn):
    first, folder = drawn(sample={"prompts": ["a"], "format": "png"})
    path = folder.path / next(e for e in first if e.kind == "sampled").path
    before = path.read_bytes()
    drawn(sample={"prompts": ["a"], "format": "png"})
    assert path.read_bytes() == before


def test_no_prompt_is_told_with_what_to_do(drawn):
    events, _ = drawn(sample={})
    assert events[-1].kind == "failed" and "no prompt" in events[-1].message.lower() and events[-1].hint


def test_what_is_left_out_is_what_the_model_asks_for():
    defaults = ModelDefaults(width=100, height=70, sample_steps=7, guidance_scale=2.5)
    settings = SampleSettings.model_validate(
        {
            "prompts": ["[trigger] one"],
            "samples": [{"prompt": "two", "width": 50, "seed": 5, "neg": "no"}],
            "seed": 10,
            "neg": "bad",
        }
    )
    one, two = requests_of(settings, defaults, "zzz", 16)
    assert (one.prompt, one.negative, one.width, one.height, one.steps, one.guidance, one.seed) == (
        "zzz one",
        "bad",
        96,
        64,
        7,
        2.5,
        10,
    )
    assert (two.prompt, two.negative, two.width, two.height, two.seed) == ("two", "no", 48, 64, 5)

"""What is shipped: the starter in stock diffusers, and the example data sets as a person would use them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from PIL import Image

from engine.data.scan import scan
from engine.families.defaults import read_defaults
from engine.jobs import Dataset
from engine.settings import ROOT

STARTER, EXAMPLES = ROOT / "assets" / "starter", ROOT / "assets" / "examples"


@pytest.fixture(scope="module")
def pipeline() -> FluxPipeline:
    pipeline = FluxPipeline.from_pretrained(STARTER)  # as its README says: told nothing else
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: FluxPipeline, prompt: str, guidance: float = 3.0) -> np.ndarray:
    wants = read_defaults(STARTER)
    picture = pipeline(prompt, negative_prompt="", true_cfg_scale=guidance, width=wants.width, height=wants.height, num_inference_steps=8,
                       max_sequence_length=wants.max_sequence_length, generator=torch.Generator().manual_seed(3)).images[0]  # fmt: skip
    return np.asarray(picture).astype(float)


def test_stock_diffusers_draws_a_red_apple_that_is_red_on_white(pipeline):
    picture = draw(pipeline, "a 3d emoji of red apple")
    assert picture.shape == (64, 64, 3)
    red, green, _ = picture[24:48, 20:44].mean((0, 1))
    assert red > green + 60 and picture[[0, 0, -1, -1], [0, -1, 0, -1]].min() > 200


def test_prompt_style_and_guidance_each_change_the_picture(pipeline):
    plain = draw(pipeline, "a 3d emoji of red apple")
    for other in (draw(pipeline, "a 3d emoji of cat face"), draw(pipeline, "a flat emoji of red apple"),
                  draw(pipeline, "a 3d emoji of red apple", guidance=1.0)):  # fmt: skip
        assert np.abs(other - plain).mean() > 2


def test_the_tokenizers_know_words_apart(pipeline):
    for tokenizer in (pipeline.tokenizer, pipeline.tokenizer_2):
        apple, car, nonsense = tokenizer(["apple", "car", "qzx"]).input_ids
        assert len({tuple(apple), tuple(car), tuple(nonsense)}) == 3 and tokenizer.unk_token_id not in apple + car


def test_the_starter_is_small_and_says_what_it_wants():
    parts = ("vae", "transformer", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
    size = sum(file.stat().st_size for part in parts for file in (STARTER / part).iterdir())
    wants = read_defaults(STARTER)
    assert size <= 36e6
    assert (wants.title, wants.family, wants.max_sequence_length, wants.resolution) == ("Starter", "flux", 16, [64])
    assert "hoto" in wants.note


def test_no_file_of_the_starter_names_a_machine():
    texts = [file.read_text(encoding="utf-8") for file in STARTER.rglob("*.json") if "tokenizer" not in file.name]
    assert not [text for text in texts if re.search(r'"(_name_or_path|/)', text)]
    assert json.loads((STARTER / "model_index.json").read_text())["_class_name"] == "FluxPipeline"


@pytest.mark.parametrize(("name", "says"), [("car", r"a (flat|3d) emoji of sks car"), ("style", r"a 3d emoji of [a-z ]+")])
def test_each_example_is_12_pictures_of_one_thing_with_captions_and_licence(name, says):
    items = scan(Dataset(path=str(EXAMPLES / name)), trigger="sks")
    assert len(items) == 12 and all(re.fullmatch(says, item.caption) for item in items)
    assert all((item.width, item.height) == (256, 256) for item in items)
    assert "Copyright" in (EXAMPLES / name / "LICENCE.txt").read_text(encoding="utf-8")


def test_the_held_out_cars_are_none_of_the_examples_pictures():
    def pictures(name: str) -> dict[str, bytes]:
        return {file.name: Image.open(file).tobytes() for file in (EXAMPLES / name).glob("*.webp")}

    cars, held_out = pictures("car"), pictures("car-held-out")
    assert len(held_out) == 6 and not set(cars) & set(held_out) and not set(cars.values()) & set(held_out.values())


def test_examples_are_small():
    assert sum(file.stat().st_size for file in EXAMPLES.rglob("*") if file.is_file()) < 1.5e6

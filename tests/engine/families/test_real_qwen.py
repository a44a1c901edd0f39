"""Qwen-Image: its real sizes, and what its text encoder sees."""

from __future__ import annotations

import json

import pytest
import tiny
import torch
from test_parity import pictures, wrapped

from engine.errors import JobError
from engine.families.base import Request
from engine.families.catalog import load_family
from engine.sampling.draw import texts_of

CASES = {case.name: case for case in tiny.CASES}
MODELS = ["qwen-image", "qwen-image-2512", "qwen-image-edit", "qwen-image-edit-2509", "qwen-image-edit-2511"]


@pytest.mark.parametrize("name", ["qwen image edit", "qwen image edit plus"])
def test_the_text_encoder_is_told_which_tokens_are_pictures(name):
    """Its features are those that it gives when it gets all that its processor says."""
    family, shown = wrapped(CASES[name]), pictures(CASES[name])
    pipe, seen = family.pipe, family.as_seen(shown)
    marks = "<|vision_start|><|image_pad|><|vision_end|>"
    words = "".join(f"Picture {index + 1}: {marks}" for index in range(len(shown))) if name.endswith("plus") else ""
    inputs = pipe.processor(text=[pipe.prompt_template_encode.format(f"{words}a red fox")], images=seen, return_tensors="pt")
    with torch.no_grad():
        ours = family.encode_prompts(["a red fox"], [shown])["prompt_embeds"]
        theirs = pipe.text_encoder(**inputs, output_hidden_states=True).hidden_states[-1][:, pipe.prompt_template_encode_start_idx :]
        stock = pipe.encode_prompt(["a red fox"], seen)[0]
    torch.testing.assert_close(ours, theirs)
    assert not torch.allclose(ours, stock, atol=1e-4)  # if this is equal, diffusers has mended it, and so can we


def test_a_prompt_without_its_reference_picture_is_an_error_that_helps():
    family = wrapped(CASES["qwen image edit"])
    with pytest.raises(JobError, match="ctrl_img"):
        texts_of(family, Request("a red fox", "", width=64, height=32, steps=1, guidance=1.0, seed=0))


def test_the_processor_that_is_read_from_a_model_is_the_one_that_was_saved(tmp_path):
    folder = tiny.save(CASES["qwen image edit"].make(), tmp_path / "base")
    assert json.loads((folder / "model_index.json").read_text("utf-8"))["processor"] == ["transformers", "Qwen2VLProcessor"]
    processor = load_family("qwen_image_edit").own_parts(folder)["processor"]
    shown = pictures(CASES["qwen image edit"])
    one, other = (
        each(text=["<|image_pad|>"], images=shown, return_tensors="pt") for each in (processor, CASES["qwen image edit"].make().processor)
    )
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

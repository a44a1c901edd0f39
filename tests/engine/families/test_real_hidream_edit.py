"""HiDream E1: its real size, its guidance, training mode, and the room that two pictures take."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import tiny
import torch
from PIL import Image
from test_parity import as_pixels, conditioning, pictures, request_of, wrapped

from engine.families.catalog import family_name, pipeline_in

CASE = next(case for case in tiny.CASES if case.name == "hidream edit")


def test_it_is_found_by_the_name_of_its_pipeline(tmp_path):
    folder = tiny.save(CASE.make(), tmp_path / "base")
    assert json.loads((folder / "model_index.json").read_text("utf-8"))["_class_name"] == "HiDreamImageEditingPipeline"
    assert family_name(None, pipeline_in(folder), folder) == "hidream_e1"


def test_guidance_weighs_an_empty_picture_and_a_negative_prompt(monkeypatch):
    """With words 3.0 and picture 1.5; what the words add makes no answer longer than it was."""
    family, stock, seen, (picture,) = wrapped(CASE), wrapped(CASE), [], pictures(CASE)
    step = type(stock.pipe.scheduler).step
    monkeypatch.setattr(type(stock.pipe.scheduler), "step", lambda self, *given, **named: seen.append(given) or step(self, *given, **named))
    with torch.no_grad():
        cond, negative = (conditioning(family, text, ()) for text in ("a red fox", "blue"))
        stock.sample(cond, negative, request_of(CASE, 3.0), [picture])
        shown = family.encode_reference(as_pixels(picture))
        assert len(seen) == 3
        for answer, t, noisy in seen:
            both, wordless, blind = (
                family.predict(noisy, t.view(1) / 1000, {**words, "control_0": control})
                for words, control in ((cond, shown), (negative, shown), (cond, torch.zeros_like(shown)))
            )
            towards = wordless + 3.0 * (both - wordless)
            shrunk = towards * (both.norm(dim=1, keepdim=True) / towards.norm(dim=1, keepdim=True)).clamp(max=1)
            assert not torch.allclose(shrunk, towards)
            torch.testing.assert_close(answer, blind + 1.5 * (shrunk - blind), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("size", [(16, 24), (24, 12), (16, 16)], ids=["wide", "square when two stand side by side", "square"])
def test_what_it_says_in_training_is_what_it_says_in_sampling(size):
    family = wrapped(CASE)
    noisy, sigma = torch.randn(2, 4, *size), torch.tensor([0.2, 0.7])
    with torch.no_grad():
        cond = {**family.encode_prompts(["a red fox", "blue"]), "control_0": torch.randn(2, 4, *size)}
        still = family.predict(noisy, sigma, cond)
        assert still.shape == noisy.shape
        assert not torch.allclose(still, family.predict(noisy, sigma, {**cond, "control_0": torch.zeros_like(noisy)}), atol=1e-6)
        family.denoiser.train()
        torch.testing.assert_close(family.predict(noisy, sigma, cond), still, rtol=1e-4, atol=1e-5)


def test_the_model_before_it_is_told_from_it_by_its_settings(monkeypatch):
    """It has another number of patches, what is not filled of which counts, and another guidance."""
    family, told = wrapped(CASE), []
    noisy, sigma = torch.randn(1, 4, 12, 16), torch.tensor([0.4])
    with torch.no_grad():
        cond = {**conditioning(family, "a red fox", ()), "control_0": torch.randn(1, 4, 12, 16)}
        usual = family.predict(noisy, sigma, cond)
        family.kwargs = {**family.kwargs, "max_seq": 2 * 6 * 8, "image_guidance_scale": 4.0}
        other = family.predict(noisy, sigma, cond)
    assert family.denoiser.max_seq == 96 and not torch.allclose(usual, other, atol=1e-6)
    monkeypatch.setattr(type(family.pipe), "__call__", lambda self, **named: told.append(named) or type("Made", (), {"images": [None]}))
    family.sample(cond, None, request_of(CASE, 3.0), pictures(CASE))
    assert (told[0]["max_seq"], told[0]["image_guidance_scale"]) == (96, 4.0)


def test_a_picture_of_another_shape_is_cut_and_the_pipeline_is_left_as_it_was():
    family, request = wrapped(CASE), replace(request_of(CASE, 3.0), steps=1)
    usual = family.pipe.default_sample_size
    with torch.no_grad():
        cond, negative = conditioning(family, "a red fox", ()), conditioning(family, "", ())
        one, other = (family.sample(cond, negative, request, [Image.new("RGB", (200, 300), colour)]) for colour in ("red", "blue"))
        whole = family.pipe(
            "a red fox", image=Image.new("RGB", (39, 50)), num_inference_steps=1, guidance_scale=1.0, max_sequence_length=32
        )
        wide = Image.new("RGB", (144, 32), "blue")
        wide.paste("red", (48, 0, 96, 32))
        middle = family.sample(cond, negative, request, [wide])
    assert one.size == (48, 32) and one.tobytes() != other.tobytes() and one.tobytes() == middle.tobytes()
    assert whole.images[0].size == (36, 48)  # its own size, in whole patches
    assert family.pipe.default_sample_size == usual
    assert not family.denoiser._forward_pre_hooks and not family.denoiser._forward_hooks


def test_without_a_picture_it_says_what_is_missing():
    with pytest.raises(ValueError, match="edits pictures"):
        wrapped(CASE).pipe("a red fox")

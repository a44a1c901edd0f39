"""Chroma Radiance's own transformer answers as the public one did: see fixtures/record_radiance.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recorded import Recorded

from engine.families.radiance_transformer import RadianceTransformer2DModel

FIXTURE = Path(__file__).parent / "fixtures" / "radiance.safetensors"
LENGTHS = (7, 4)


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded.read(FIXTURE)


def make(recorded, **flags) -> RadianceTransformer2DModel:
    return recorded.model(RadianceTransformer2DModel, **flags)


def masked() -> torch.Tensor:
    return torch.arange(7)[None] < torch.tensor(LENGTHS)[:, None]


@pytest.mark.parametrize(("name", "flags"), [("plain", {}), ("x0", {"use_x0": True}), ("large", {"use_patch_size_32": True})])
def test_it_answers_as_the_public_one_did(recorded, name, flags):
    """Texts of two lengths in a batch, filled up and hidden; and each alone, cut off where the public one hides."""
    model, given, theirs = make(recorded, **flags), recorded.given, recorded.answers[name]
    with torch.no_grad():
        together = model(given["pixels"], given["time"], given["text"], masked())
        alone = [
            model(given["pixels"][row : row + 1], given["time"][row : row + 1], given["text"][row : row + 1, :length])
            for row, length in enumerate(LENGTHS)
        ]
    torch.testing.assert_close(together, theirs, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(torch.cat(alone), theirs, rtol=1e-4, atol=2e-5)


def test_gradients_are_the_same_with_and_without_checkpoints(recorded):
    model, given, found = make(recorded).train(), recorded.given, []
    for checkpointed in (False, True):
        model.enable_gradient_checkpointing() if checkpointed else model.disable_gradient_checkpointing()
        model(given["pixels"], given["time"], given["text"], masked()).square().mean().backward()
        found.append({name: weight.grad.clone() for name, weight in model.named_parameters()})
        model.zero_grad()
    for name, gradient in found[0].items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(found[1][name], gradient)


def test_a_model_that_answers_with_the_picture_is_trained_without_a_division_by_nothing(recorded):
    model, given = make(recorded, use_x0=True), recorded.given
    time = torch.tensor([1e-6, 0.8])
    with torch.no_grad():
        still, moving = model(given["pixels"], time, given["text"]), model.train()(given["pixels"], time, given["text"])
    assert moving[0].abs().max() < still[0].abs().max() / 100
    torch.testing.assert_close(moving[1], still[1])


def test_the_file_of_a_checkpoint_says_what_it_answers_with():
    told = RadianceTransformer2DModel.told_by
    assert told({"txt_in.weight"}) == {"use_x0": False, "use_patch_size_32": False}
    assert told({"txt_in.weight", "__x0__"}) == {"use_x0": True, "use_patch_size_32": False}
    assert told({"__x0__", "__32x32__"}) == {"use_x0": True, "use_patch_size_32": True}

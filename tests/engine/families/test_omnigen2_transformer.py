"""OmniGen2's own transformer answers as the public one did: see fixtures/record_omnigen2.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recorded import Recorded

from engine.families.omnigen2_transformer import OmniGen2Transformer2DModel

FIXTURE = Path(__file__).parent / "fixtures" / "omnigen2.safetensors"


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    return Recorded.read(FIXTURE)


@pytest.fixture(scope="module")
def model(recorded) -> OmniGen2Transformer2DModel:
    return recorded.model(OmniGen2Transformer2DModel)


def ask(model, given, rows=2, references=0):
    return model(
        given["latents"][:rows], given["time"][:rows], given["text"][:rows], given["mask"][:rows],
        [given[f"reference_{index}"][:rows] for index in range(references)],
    )  # fmt: skip


@pytest.mark.parametrize(("name", "rows", "references"), [("plain", 2, 0), ("references", 2, 2), ("alone", 1, 1)])
def test_it_answers_as_the_public_one_did(model, recorded, name, rows, references):
    with torch.no_grad():
        ours = ask(model, recorded.given, rows, references)
    torch.testing.assert_close(ours, recorded.answers[name], rtol=1e-4, atol=1e-5)


def test_a_text_that_is_not_filled_up_needs_no_mask(model, recorded):
    given = recorded.given
    with torch.no_grad():
        ours = model(given["latents"][:1], given["time"][:1], given["text"][:1], None, [given["reference_0"][:1]])
    torch.testing.assert_close(ours, recorded.answers["alone"], rtol=1e-4, atol=1e-5)


def test_gradients_are_the_same_with_and_without_checkpoints(model, recorded):
    found = []
    for checkpointed in (False, True):
        model.train()
        model.enable_gradient_checkpointing() if checkpointed else model.disable_gradient_checkpointing()
        ask(model, recorded.given, references=2).square().mean().backward()
        found.append({name: weight.grad.clone() for name, weight in model.named_parameters()})
        model.zero_grad()
    model.eval()
    for name, gradient in found[0].items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(found[1][name], gradient)


def test_a_sixth_reference_picture_is_an_error(model, recorded):
    given = recorded.given
    with pytest.raises(ValueError, match="5 reference pictures"):
        model(given["latents"], given["time"], given["text"], None, [given["reference_0"]] * 6)

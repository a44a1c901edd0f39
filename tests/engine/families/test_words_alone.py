"""A slider and a replacement learn on every family: from words, with the model's own answers for the right ones."""

from __future__ import annotations

import pytest
import tiny
import torch
from test_parity import as_pixels, conditioning, pictures, wrapped

from engine.jobs import Lora
from engine.jobs.train import Slider, Train
from engine.network.attach import attach
from engine.training.concepts import Replacing, Sliding
from engine.training.objectives import PROCESSES, Batch

SLIDER = Slider(target_class="a fox", positive_prompt="a red fox in deep snow", negative_prompt="a blue field", anchor_class="a cat")
WORDS = {
    "target": SLIDER.target_class,
    "more": SLIDER.positive_prompt,
    "less": SLIDER.negative_prompt,
    "anchor": "a cat",
    "instead": "a blue field",
}


@pytest.fixture(params=tiny.CASES, ids=lambda case: case.name)
def case(request, monkeypatch) -> tiny.Case:
    for name, value in request.param.patches.items():
        monkeypatch.setattr(name, value)
    return request.param


@pytest.mark.parametrize("kind", ["slider", "replacements"])
def test_it_comes_nearer_to_what_the_base_model_says_of_other_words(case, kind):
    family, shown = wrapped(case), pictures(case)
    with torch.no_grad():
        mean, std = family.encode_pixels(torch.rand(1, 3, case.height, case.width, generator=torch.Generator().manual_seed(1)) * 2 - 1)
        controls = {f"control_{k}": family.encode_pixels(as_pixels(picture))[0] for k, picture in enumerate(shown)}
        others = {name: conditioning(family, words, shown) for name, words in WORDS.items()}
        batch = Batch(mean, std, {**conditioning(family, "a fox", shown), **controls}, others=others)
    parts = {stage.part: getattr(family.pipe, stage.part) for stage in family.stages}
    network = attach(Lora(rank=4), parts, family.lora_targets, family=family.name)
    process = PROCESSES[family.objective](Train())
    objective = Sliding(process, SLIDER, network) if kind == "slider" else Replacing(process, network.disabled)

    def measured() -> float:
        """The loss; its gradients are added to those that are there."""
        total = 0.0
        for part in objective.losses(family, batch, torch.Generator().manual_seed(0)):
            part.backward()
            total += part.item()
        return total

    before = measured()
    steep = sum(float(weight.grad.square().sum()) for weight in network.parameters() if weight.grad is not None)
    assert before > 0 and 0 < steep < float("inf")
    with torch.no_grad():  # tiny models hardly listen to words: a step as long as promises a tenth less, whatever that is
        for weight in network.parameters():
            if weight.grad is not None:
                weight -= weight.grad * 0.1 * before / steep
    assert measured() < 0.95 * before

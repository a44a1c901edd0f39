"""LTX-2: pictures are learned as if nothing were heard, and drawn with sound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from diffusers.pipelines.ltx2 import LTX2TextConnectors
from test_parity import conditioning, request_of, wrapped

from engine.jobs import ModelSection
from engine.runtime.loading import load_parts, open_family

CASES = {case.name: case for case in tiny.CASES if case.family == "ltx2"}


@pytest.fixture(params=CASES)
def case(request) -> tiny.Case:
    return CASES[request.param]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_with_sound_it_draws_what_the_stock_pipeline_draws(case, guidance):
    """In the stock pipeline as it is: what is heard changes what is seen, and both read the prompt."""
    family, stock, request = wrapped(case), wrapped(case).pipe, request_of(case, guidance)
    with torch.no_grad():
        loud(family.pipe), loud(stock)
        negative = conditioning(family, "", []) if guidance > 1 else None
        ours = family.sample(conditioning(family, request.prompt, []), negative, request)
        theirs = stock(
            request.prompt, negative_prompt="", width=case.width, height=case.height, num_frames=case.frames, num_inference_steps=request.steps,
            generator=torch.Generator().manual_seed(request.seed), max_sequence_length=32, **family.guidance(request),
        ).frames[0]  # fmt: skip
        case.mend(family.pipe)
        deaf = family.sample(conditioning(family, request.prompt, []), negative, request)
    assert difference(ours, theirs) <= 1
    assert difference(ours, deaf) > 1


def loud(pipe) -> None:
    """What is seen of sound is little in a model that has learned nothing."""
    for block in pipe.transformer.transformer_blocks:
        block.audio_to_video_attn.to_out[0].weight.mul_(50)


def difference(one, other) -> int:
    return max(np.abs(np.subtract(first, second, dtype=int)).max() for first, second in zip(one, other, strict=True))


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_the_model_is_asked_once_a_step(case, guidance):
    """Of the pipeline's kinds of guidance, two ask it once more each."""
    family, request, asked = wrapped(case), request_of(case, guidance), []
    family.denoiser.register_forward_hook(lambda *given: asked.append(1))
    with torch.no_grad():
        cond = conditioning(family, request.prompt, [])
        family.sample(cond, cond if guidance > 1 else None, request)
    assert len(asked) == request.steps


def test_the_first_model_looks_at_its_own_noise_level_and_those_since_at_the_others(case):
    assert wrapped(case).guidance(request_of(case, 1.0))["use_cross_timestep"] == (case.name == "ltx 2.3")


def test_what_is_heard_changes_nothing_in_training(case):
    family = wrapped(case)
    noisy, sigma, cond = torch.randn(1, 4, 3, *case.latents), torch.tensor([0.6]), conditioning(family, "a red fox", [])
    answer = family.predict(noisy, sigma, cond)
    torch.testing.assert_close(family.predict(noisy, sigma, {**cond, "audio_prompt_embeds": -cond["audio_prompt_embeds"]}), answer)
    answer.square().mean().backward()
    learning = {name for name, weight in family.denoiser.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert any(".attn1." in name for name in learning) and not [name for name in learning if "audio" in name]


def test_each_frame_is_where_the_pipelines_frame_rate_says(case):
    family = wrapped(case)
    slow = wrapped(replace(case, defaults={**case.defaults, "fps": 8}))
    noisy, sigma, cond = torch.randn(1, 4, 3, *case.latents), torch.tensor([0.6]), conditioning(family, "a red fox", [])
    with torch.no_grad():
        assert not torch.allclose(family.predict(noisy, sigma, cond), slow.predict(noisy, sigma, cond))
    assert slow.guidance(request_of(case, 1.0))["frame_rate"] == 8


def test_the_connectors_come_and_go_with_the_text_encoder(case, tmp_path):
    """Their class is in the folder of a pipeline, and in no library that is named in the model's files."""
    family = open_family(
        ModelSection(name_or_path=str(tiny.save(case.make(), tmp_path / "base", **case.defaults)), arch="ltx2"), torch.float32
    )
    assert family.pipe.connectors is None and family.pipe.audio_vae is not None and family.pixel_multiple == 8
    list(load_parts(family, family.text_parts, torch.device("cpu"), torch.float32))
    assert isinstance(family.pipe.connectors, LTX2TextConnectors)

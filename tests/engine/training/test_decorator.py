"""Learned vectors behind every prompt: what the model is shown, what learns, and what stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file

from engine.families.base import ModelFamily, Request
from engine.families.catalog import load_family
from engine.families.defaults import ModelDefaults
from engine.jobs import Decorator, load_job
from engine.network.decorator import DecoratorNetwork
from engine.tools import inspect_lora

CASES = {case.name: case for case in tiny.CASES}
CPU = torch.device("cpu")


def family_of(name: str) -> ModelFamily:
    case = CASES[name]
    return load_family(case.family)(case.make(), ModelDefaults.model_validate(tiny.DEFAULTS), Path())


def latents(family: ModelFamily) -> torch.Tensor:
    channels = family.pipe.vae.config.latent_channels
    return torch.randn(2, channels, 16, 24, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["flux", "sd15", "sdxl", "sd35"])
@torch.no_grad()
def test_the_model_is_shown_the_vectors_behind_the_text(name):
    family, plain = family_of(name), family_of(name)
    network = DecoratorNetwork(Decorator(num_tokens=3), family, CPU, seed=5)
    vectors = network.state_tensors()["decorator"]
    cond, noisy, sigma = plain.encode_prompts(["a red fox", "a blue"]), latents(plain), torch.tensor([0.4, 0.6])
    longer = {**cond, "prompt_embeds": torch.cat([cond["prompt_embeds"], vectors.expand(2, -1, -1)], dim=1)}
    answer = family.predict(noisy, sigma, cond)
    assert torch.equal(answer, plain.predict(noisy, sigma, longer)) and not torch.allclose(
        answer, plain.predict(noisy, sigma, cond), atol=1e-4
    )
    assert torch.equal(family.predict_within((0.0, 1.0), noisy, sigma, cond), answer)
    with network.disabled():
        assert torch.equal(family.predict(noisy, sigma, cond), plain.predict(noisy, sigma, cond))
    with network.scaled(0.5):
        assert torch.equal(network.behind(cond)["prompt_embeds"][:, -3:], (vectors * 0.5).expand(2, -1, -1))
    same = DecoratorNetwork(Decorator(num_tokens=3), plain, CPU, seed=5)
    assert torch.equal(same.state_tensors()["decorator"], vectors)


@torch.no_grad()
def test_a_sample_has_them_too_and_its_negative_prompt_zeros():
    family, shown = family_of("sd15"), []
    network = DecoratorNetwork(Decorator(num_tokens=2), family, CPU)
    family.denoiser.register_forward_pre_hook(lambda module, args, named: shown.append(named["encoder_hidden_states"]), with_kwargs=True)
    cond, negative = family.encode_prompts(["a red fox"]), family.encode_prompts([""])
    family.sample(cond, negative, Request("a red fox", "", 48, 32, 2, 3.0, 1))
    assert torch.equal(shown[0][0, -2:], torch.zeros(2, 32)) and torch.equal(shown[0][1, -2:], network.state_tensors()["decorator"])


def test_a_family_that_cannot_says_so(make_job, run):
    family = family_of("chroma")
    with pytest.raises(Exception, match="cannot be given a decorator"):
        DecoratorNetwork(Decorator(), family, CPU)


@pytest.mark.parametrize("network", [{"type": "none"}, {"type": "lora", "rank": 2}])
def test_it_learns_alone_and_beside_a_lora_and_goes_on_to_the_same_bytes(network, make_job, run, tmp_path):
    job = make_job(decorator={"num_tokens": 3}, network=network, sample__sample_every=4, train__ema_config={"use_ema": True})
    whole = run(job, "whole")
    assert whole[-1].kind == "finished", whole[-1]
    run(job, "halves", watch=lambda event, control: setattr(control, "stop", event.kind == "step" and event.step == 2))
    run(job, "halves")
    name = "tiny.safetensors" if network["type"] == "none" else "tiny_decorator.safetensors"
    one, other = ((tmp_path / root / "tiny" / name).read_bytes() for root in ("whole", "halves"))
    assert one == other
    vectors = load_file(tmp_path / "whole" / "tiny" / name)["decorator"]
    first = torch.randn(3, 32, generator=torch.Generator().manual_seed(job.train.seed))
    assert 0 < (vectors - first).abs().max() < 0.1
    assert (tmp_path / "whole" / "tiny" / "tiny.safetensors").is_file()
    report = inspect_lora(tmp_path / "whole" / "tiny" / name)
    assert (report.kind, report.layers, report.family) == ("decorator", 3, "flux")


def test_without_a_network_it_is_trained_alone():
    data = {"name": "a", "model": {"name_or_path": "x"}, "datasets": [{"path": "y"}], "decorator": {}}
    assert load_job(data).network.type == "none" and load_job({**data, "network": {"rank": 4}}).network.type == "lora"

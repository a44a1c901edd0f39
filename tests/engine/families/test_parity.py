"""What a family predicts is what the stock pipeline hands to its scheduler; what it draws is what the stock pipeline draws."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from diffusers import AutoencoderDC
from diffusers.models.autoencoders.vae import EncoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from PIL import Image

from engine.families.base import ModelFamily, Request
from engine.families.catalog import load_family
from engine.families.defaults import ModelDefaults
from engine.families.layout import pack, unpack


def wrapped(case: tiny.Case, pipe: Any = None) -> ModelFamily:
    pipe = pipe or case.make()
    pipe.set_progress_bar_config(disable=True)
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return load_family(case.family)(pipe, ModelDefaults.model_validate(tiny.DEFAULTS | case.defaults), None)


def pictures(case: tiny.Case) -> list[Image.Image]:
    """Reference pictures that differ, of the size of the target."""
    shades = np.linspace(0, 255, case.width * case.height * 3).reshape(case.height, case.width, 3)
    return [Image.fromarray(np.roll(shades, 7 * index, axis=1).astype(np.uint8)) for index in range(case.controls)]


def as_pixels(picture: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 127.5 - 1


def conditioning(family: ModelFamily, prompt: str, shown: Sequence[Image.Image]) -> dict[str, torch.Tensor]:
    return family.encode_prompts([prompt], [shown]) if family.sees_controls else family.encode_prompts([prompt])


def request_of(case: tiny.Case, guidance: float, steps: int = 3) -> Request:
    return Request("a red fox", "", width=case.width, height=case.height, steps=steps, guidance=guidance, seed=0, frames=case.frames)


@pytest.fixture(params=tiny.CASES, ids=lambda case: case.name)
def case(request, monkeypatch) -> tiny.Case:
    for name, value in request.param.patches.items():
        monkeypatch.setattr(name, value)
    return request.param


def test_predicts_what_the_pipeline_predicts(case, monkeypatch):
    """A picture that is not square, so that swapped sides are seen; the words matter, so that dropped text is seen."""
    family, stock, seen, shown = wrapped(case), wrapped(case), [], pictures(case)
    case.mend(stock.pipe)
    scheduler = type(stock.pipe.scheduler)
    step = scheduler.step

    def spy(self, answer, t, sample, *rest, **named):
        scaled = getattr(self, "scale_model_input", lambda sample, t: sample)(sample, t)  # what the model was given
        seen.append((answer, t, scaled))
        return step(self, answer, t, sample, *rest, **named)

    monkeypatch.setattr(scheduler, "step", spy)
    with torch.no_grad():
        cond = conditioning(family, "a red fox", shown)
        stock.sample(cond, None, request_of(case, case.guidance), shown)
        assert len(seen) == 3
        controls = {f"control_{k}": family.encode_reference(as_pixels(picture), case.frames) for k, picture in enumerate(shown)}
        other = conditioning(family, "blue", shown)
        for answer, t, sample in seen:
            noisy, theirs = (case.unpack(tensor, *case.latents) for tensor in (sample, answer))
            sigma = case.share(stock.pipe.scheduler, t)
            ours = family.predict(noisy, sigma, {**cond, **controls})
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
            assert not torch.allclose(ours, family.predict(noisy, sigma, {**other, **controls}), atol=1e-6)


def test_a_batch_is_its_members(case):
    """Texts of several lengths, and several noise levels, in one batch: each is predicted as if it were alone."""
    family, shown = wrapped(case), pictures(case)
    with torch.no_grad():
        from engine.families.base import stack

        alone = [conditioning(family, prompt, shown) for prompt in ("a red fox", "blue")]
        mean = family.encode_pixels(torch.rand(2, 3, case.height, case.width) * 2 - 1)[0]
        noisy, sigma = torch.randn_like(mean), torch.tensor([0.2, 0.7])
        controls = {f"control_{k}": family.encode_pixels(as_pixels(picture))[0] for k, picture in enumerate(shown)}
        both = {name: tensor.expand(2, *tensor.shape[1:]) for name, tensor in controls.items()}
        texts = stack([{name: tensor[0] for name, tensor in cond.items()} for cond in alone])
        together = family.predict(noisy, sigma, {**texts, **both})
        assert together.shape == noisy.shape
        for row in range(2):
            one = family.predict(noisy[row : row + 1], sigma[row : row + 1], {**alone[row], **controls})
            torch.testing.assert_close(together[row : row + 1], one, rtol=1e-3, atol=1e-4)


def test_draws_what_the_stock_pipeline_draws(case, tmp_path):
    """From the same weights, with the same seed: the same picture, but for where tensors lie in memory, which decides the last bit."""
    folder = tiny.save(case.make(), tmp_path / "base", **case.defaults)
    kind, shown = load_family(case.family), pictures(case)
    stock = kind.pipeline_class.from_pretrained(folder, local_files_only=True, **kind.own_parts(folder))
    family = wrapped(case, stock)
    case.mend(stock)
    names = inspect.signature(stock.__call__).parameters
    for guidance in (case.guidance, case.guided):
        if guidance is None:
            continue
        request = request_of(case, guidance, steps=2)
        negative = conditioning(family, "", shown) if family.wants_negative(request) else None
        assert (negative is not None) == (guidance == case.guided)
        with torch.no_grad():
            ours = family.sample(conditioning(family, request.prompt, shown), negative, request, shown)
            arguments = {"prompt": request.prompt, **family.guidance(request), **family.references(shown)}
            arguments |= case.arguments | ({"negative_prompt": ""} if negative and "negative_prompt" in names else {})
            if "max_sequence_length" in names and family.defaults.max_sequence_length:
                arguments["max_sequence_length"] = family.defaults.max_sequence_length
            if family.is_video:
                arguments |= {"num_frames": request.frames, "output_type": "pil"}
            made = case.drawn_by(stock)(
                **arguments, width=request.width, height=request.height, num_inference_steps=request.steps,
                generator=torch.Generator().manual_seed(request.seed),
            )  # fmt: skip
        theirs = made.frames[0] if family.is_video else made.images[0]
        for one, other in zip(*((each if isinstance(each, list) else [each]) for each in (ours, theirs)), strict=True):
            assert one.size == (case.width, case.height)
            assert np.abs(np.subtract(one, other, dtype=int)).max() <= 1


def test_a_prompts_features_carry_gradients(case):
    """So that text encoders can learn; some pipelines let none through by themselves."""
    cond = conditioning(wrapped(case), "a red fox", pictures(case))
    assert all(tensor.requires_grad for tensor in cond.values() if tensor.is_floating_point())


def test_tokens_are_in_the_pipelines_order():
    latents = torch.randn(2, 3, 8, 6)
    stock = tiny.flux()._pack_latents(latents, 2, 3, 8, 6)
    assert torch.equal(pack(latents), stock)
    assert torch.equal(unpack(stock, like=latents), latents)


def test_latents_are_what_the_stock_pipeline_decodes(case, monkeypatch):
    """Whatever the autoencoder says of a picture, the pipeline undoes what is done with it: its middle, and how far it may be off."""
    family, shown, ends, decoded = wrapped(case), pictures(case), [], []
    if not family.vae_parts:
        pytest.skip("it works on pixels")
    case.mend(family.pipe)
    scheduler, vae = type(family.pipe.scheduler), family.pipe.vae
    step, decode = scheduler.step, type(vae).decode

    def ending(self, *given, **named):
        made = step(self, *given, **named)
        ends.append(made[0])
        return made

    def decoding(self, latents, *given, **named):
        decoded.append(latents)
        return decode(self, latents, *given, **named)

    def said(off: float):
        dist = SimpleNamespace(mean=decoded[-1] + off, std=torch.ones_like(decoded[-1]))
        return EncoderOutput(latent=dist.mean) if isinstance(vae, AutoencoderDC) else AutoencoderKLOutput(latent_dist=dist)

    with torch.no_grad():
        monkeypatch.setattr(scheduler, "step", ending)
        monkeypatch.setattr(type(vae), "decode", decoding)
        family.sample(conditioning(family, "a red fox", shown), None, request_of(case, case.guidance, steps=2), shown)
        (mean, std), (more, _) = (_encoded(family, case, said(off), monkeypatch) for off in (0.0, 1.0))
    drawn = case.unpack(ends[-1], *case.latents)
    first = 1 if family.is_video and shown else 0  # where there is a first frame, some pipelines put it in at the end
    torch.testing.assert_close(mean[:, :, first:], drawn[:, :, first:], rtol=1e-4, atol=1e-5)
    assert torch.allclose(std, more - mean, rtol=1e-3, atol=1e-4) != isinstance(vae, AutoencoderDC)


def _encoded(family: ModelFamily, case: tiny.Case, said: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[torch.Tensor, torch.Tensor]:
    monkeypatch.setattr(type(family.pipe.vae), "encode", lambda self, pixels, *given, **named: said)
    return family.encode_pixels(torch.zeros(1, 3, case.height, case.width))


def test_latents_are_what_flux_decodes():
    """Latents made by encode_pixels, decoded as the pipeline decodes, are the VAE's own reconstruction."""
    family = wrapped(next(case for case in tiny.CASES if case.name == "flux"))
    pixels = torch.rand(1, 3, 32, 48) * 2 - 1
    vae = family.pipe.vae
    with torch.no_grad():
        mean, std = family.encode_pixels(pixels)
        ours = vae.decode(mean / vae.config.scaling_factor + vae.config.shift_factor).sample
        theirs = vae.decode(vae.encode(pixels).latent_dist.mean).sample
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(std / vae.config.scaling_factor, vae.encode(pixels).latent_dist.std)

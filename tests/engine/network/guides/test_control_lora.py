"""FLUX's control LoRA: what the stock pipeline says with the file, and how it is trained and resumed."""

from __future__ import annotations

import copy

import torch
from diffusers import FluxControlPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from guiding import SIZE, control, in_two_steps, opened, saved
from safetensors.torch import load_file

from engine.jobs import Lora
from engine.jobs.adapters import ControlLora
from engine.network.guides.making import attach_guide


def test_the_stock_pipeline_says_the_same_with_the_saved_file(tmp_path, monkeypatch):
    case, family = opened("flux", tmp_path / "base")
    plain = {
        name: part for name, part in copy.deepcopy(family.pipe).components.items() if name not in ("image_encoder", "feature_extractor")
    }
    noisy, sigma = torch.randn(1, 1, 16, 32), torch.tensor([0.5])
    cond = {key: value.detach() for key, value in family.encode_prompts(["a red fox"]).items()}
    with torch.no_grad():
        base = family.predict(noisy, sigma, cond)
    guide = attach_guide(ControlLora(lora_config=Lora(rank=4, alpha=2)), family, torch.device("cpu"), torch.float32, 0, False)
    shown = guide.prepared(family, [saved(tmp_path)], SIZE)
    with torch.no_grad(), guide.shown(shown):
        torch.testing.assert_close(family.predict(noisy, sigma, cond), base)  # new, it changes nothing
    rng = torch.Generator().manual_seed(7)
    for weight in guide.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=rng)
    guide.save(tmp_path / "lora.safetensors", {}, "fp32", "diffusers")
    pipe = FluxControlPipeline(**plain)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(tmp_path / "lora.safetensors")
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    seen, scheduler = [], type(pipe.scheduler)
    step = scheduler.step
    monkeypatch.setattr(
        scheduler,
        "step",
        lambda self, answer, t, sample, *rest, **named: seen.append((answer, t, sample)) or step(self, answer, t, sample, *rest, **named),
    )
    with torch.no_grad():
        in_two_steps(pipe, **cond, control_image=control())
        assert len(seen) == 2
        for answer, t, sample in seen:
            latents, theirs = (case.unpack(tensor, SIZE[1] // 2, SIZE[0] // 2) for tensor in (sample, answer))
            at = case.share(pipe.scheduler, t)
            with guide.shown(shown):
                torch.testing.assert_close(family.predict(latents, at, cond), theirs, rtol=1e-4, atol=1e-5)
                with guide.disabled():
                    without = family.predict(latents, at, cond)
            blind = family.predict(latents, at, cond)
            assert (without - theirs).abs().max() > 1e-3 and (blind - theirs).abs().max() > 1e-4


def test_stopped_and_continued_is_the_same_bytes(job_of, run, tmp_path):
    job = job_of("flux", adapter={"type": "control_lora", "lora_config": {"rank": 4, "dropout": 0.2}, "control_image_dropout": 0.4})
    assert run(job, "whole")[-1].kind == "finished"

    def stop(event, control):
        control.stop = event.kind == "step" and event.step == 3

    assert run(job, "cut", stop)[-1].reason == "stopped"
    torch.manual_seed(99)
    assert run(job, "cut")[-1].kind == "finished"
    whole, cut = (tmp_path / root / "tiny" / "tiny.safetensors" for root in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()
    tensors = load_file(whole)
    learnt = tensors["transformer.x_embedder.lora_A.weight"]
    assert learnt.shape == (4, 8) and tensors["transformer.x_embedder.lora_B.weight"].abs().max() > 0


def test_control_pictures_are_left_out_as_often_as_the_job_says_and_the_same_ones_each_time(job_of):
    from engine.training.bench import Bench

    bench = Bench.__new__(Bench)
    bench.job = job_of("flux", adapter={"type": "control_lora", "control_image_dropout": 0.25})
    bench.device = torch.device("cpu")
    drawn = torch.stack([bench._shown(micro, [torch.ones(4, 1, 2, 2)])[0][:, 0, 0, 0] for micro in range(200)])
    again = torch.stack([bench._shown(micro, [torch.ones(4, 1, 2, 2)])[0][:, 0, 0, 0] for micro in range(200)])
    assert torch.equal(drawn, again) and 0.70 < drawn.mean() < 0.80

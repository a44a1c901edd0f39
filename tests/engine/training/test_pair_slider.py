"""A slider from pairs of pictures: against its formula, on a real tiny model, and that it really slides on the starter."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from engine.jobs import load_job
from engine.jobs.train import PairSlider, Train
from engine.settings import ROOT
from engine.training.objectives import Batch, FlowMatching
from engine.training.pairs import Pairing

STARTER, STYLE = ROOT / "assets" / "starter", ROOT / "assets" / "examples" / "style"


class Model:
    """Remembers what it was shown, and says its strength everywhere."""

    latent_multiple = 1

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.strength = 1.0

    def practise(self, clean, cond, rng):
        return cond

    def predict_within(self, span, noisy, sigma, cond):
        self.seen.append((self.strength, noisy, sigma, cond))
        return torch.full_like(noisy, self.strength)

    @contextlib.contextmanager
    def scaled(self, strength):
        before, self.strength = self.strength, strength
        yield
        self.strength = before


def test_a_picture_and_its_opposite_are_learned_at_opposite_strengths_with_the_same_noise():
    model, picture, opposite = Model(), torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    cond = {"words": torch.zeros(2), "control_0": torch.ones(2), "control_1": opposite}  # the first is what the model itself is shown
    batch = Batch(picture, torch.ones_like(picture), cond, others={"target": {"words": torch.ones(2)}})
    pairing = Pairing(FlowMatching(Train()), PairSlider(target_class="a", strength=0.5), model)
    parts = list(pairing.losses(model, batch, torch.Generator().manual_seed(0)))
    noises = []
    for part, sign, clean, (strength, noisy, sigma, given) in zip(parts, (1, -1), (picture, opposite), model.seen, strict=True):
        level = sigma.view(-1, 1, 1, 1)
        noises.append((noisy - (1 - level) * clean) / level)
        assert strength == sign * 0.5 and given.keys() == {"words", "control_0"} and given["words"].sum() == 2
        torch.testing.assert_close(part, (strength - (noises[-1] - clean)).square().mean() / 2)
    torch.testing.assert_close(*noises)
    assert torch.equal(model.seen[0][2], model.seen[1][2]) and model.strength == 1.0


@pytest.fixture(scope="module")
def opposites(tmp_path_factory) -> tuple[Path, Path]:
    """The example pictures of a style in warm light, and in cold light."""
    folder = tmp_path_factory.mktemp("opposites")
    for name, gain in (("warm", (1.0, 0.85, 0.6)), ("cold", (0.6, 0.85, 1.0))):
        (folder / name).mkdir()
        for path in sorted(STYLE.glob("*.webp")):
            pixels = np.asarray(Image.open(path).convert("RGB").resize((64, 64)), float)
            Image.fromarray((pixels * gain).astype(np.uint8)).save(folder / name / f"{path.stem}.png")
    return folder / "warm", folder / "cold"


def test_it_resumes_exactly_and_saves_a_lora(make_job, run, tmp_path, opposites):
    warm, cold = opposites
    data = [{"path": str(warm), "control_path": str(cold), "default_caption": "a field", "resolution": 32, "flip_x": True}]
    job = make_job(datasets=data, pair_slider={}, sample__sample_every=None)
    assert run(job, "whole")[-1].kind == "finished"

    def stop(event, control):
        control.stop = event.kind == "step" and event.step == 2

    run(job, "cut", stop)
    assert run(job, "cut")[-1].kind == "finished"
    whole, cut = (load_file(tmp_path / root / "tiny" / "tiny.safetensors") for root in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert any(tensor.abs().max() > 0 for name, tensor in whole.items() if "lora_B" in name)


def test_it_really_slides(run, tmp_path, opposites):
    """Warm at 1, cold at -1, in things that were not in the pairs: red less blue of the samples, in levels of 255."""
    warm, cold = opposites
    caption, prompts = "a 3d emoji of thing", ("a 3d emoji of house", "a 3d emoji of ghost")
    job = load_job({
        "name": "warm", "model": {"name_or_path": str(STARTER)}, "network": {"type": "lora", "rank": 8},
        "datasets": [{"path": str(warm), "control_path": str(cold), "resolution": 64, "default_caption": caption}], "pair_slider": {"target_class": caption},
        "train": {"steps": 40, "lr": 6e-3, "batch_size": 4, "optimizer": "adamw", "gradient_checkpointing": False},
        "sample": {
            "sample_every": 40, "skip_first_sample": True, "walk_seed": False, "sample_steps": 4, "guidance_scale": 1, "format": "png",
            "samples": [{"prompt": prompt, "network_multiplier": strength} for prompt in prompts for strength in (-1, 0, 1)],
        },
        "save": {"save_every": None},
    })  # fmt: skip
    drawn = [tmp_path / "out" / "warm" / event.path for event in run(job) if event.kind == "sampled"]
    shades = [np.asarray(Image.open(path), float).reshape(-1, 3).mean(0) for path in drawn]
    for first in (0, 3):
        back, still, forth = (float(shade[0] - shade[2]) for shade in shades[first : first + 3])
        assert back + 8 < still < forth - 8, (back, still, forth)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"datasets": [{"path": "bare"}]}, "0 reference pictures"),
        ({"network": {"type": "full"}}, "turns a LoRA"),
        ({"slider": {"target_class": "a", "positive_prompt": "b"}}, "both pair_slider and slider"),
        ({"train__do_guidance_loss": True}, "do_guidance_loss does not go together"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(make_job, run, opposites, changes, told):
    warm, cold = opposites
    data = {"path": str(warm), "default_caption": "x"} | ({} if "datasets" in changes else {"control_path": str(cold)})
    failed = run(make_job(**changes | {"datasets": [data], "pair_slider": {}, "sample__sample_every": None}))[-1]
    assert failed.kind == "failed" and told in failed.message and failed.hint and not failed.detail

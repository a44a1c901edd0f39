"""Two experts by noise level: which learns when, what is saved, and where a file goes when it is read."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest
import tiny
import torch
from phases import bench_of
from safetensors.torch import load_file
from test_every_family import make_job, run
from test_parity import wrapped

from engine.errors import JobError
from engine.jobs import TrainJob, load_job
from engine.jobs.base import ModelSection
from engine.network.files import load_lora
from engine.runtime.loading import open_family, own_settings
from engine.training.learner import Learner
from engine.training.timesteps import Levels

CASE = next(case for case in tiny.CASES if case.name == "wan 2.2 14b")


def job_of(tmp_path: Path, train: dict | None = None, **kwargs: bool) -> TrainJob:
    base = tiny.save(CASE.make(), tmp_path / "base", **CASE.defaults)
    job = make_job(CASE, base, tmp_path, {"type": "lora", "rank": 4})
    data = job.model_dump(mode="json")
    data["model"]["model_kwargs"] = kwargs
    data["train"] |= train or {}
    return load_job(data)


def test_the_experts_take_turns_and_each_learns_from_its_own_noise_levels(tmp_path, monkeypatch):
    bench = bench_of(job_of(tmp_path, {"steps": 8, "switch_boundary_every": 2}))
    learner, asked = Learner(bench.job, bench), []
    ask = type(bench.family).ask
    monkeypatch.setattr(
        type(bench.family), "ask", lambda self, model, noisy, sigma, cond: asked.append(sigma) or ask(self, model, noisy, sigma, cond)
    )
    before = {name: weight.clone() for name, weight in bench.network.state_tensors().items()}
    for step, part in enumerate(["transformer", "transformer", "transformer_2", "transformer_2", "transformer"]):
        learner.learn()
        now = bench.network.state_tensors()
        moved = Counter(name.split(".")[0] for name, weight in now.items() if not torch.equal(weight, before[name]))
        assert set(moved) == {part}, step
        assert bool((asked[-1] >= 0.875).all()) == (part == "transformer")
        before = {name: weight.clone() for name, weight in now.items()}


def test_an_expert_whose_turn_is_known_answers_without_a_look_at_the_noise_levels():
    """To look at them would make the host wait for the card. Where none is named for the whole span, each row's level decides."""
    family = wrapped(CASE)
    noisy, cond = torch.randn(2, 4, 1, 16, 24), family.encode_prompts(["a", "b"])
    for span, level, part in (((0.875, 1.0), 0.9, "transformer"), ((0.0, 0.875), 0.2, "transformer_2")):
        sigma = torch.full((2,), level)
        with torch.no_grad():
            known = family.predict_within(span, noisy, sigma, cond)
            assert torch.equal(known, family.ask(getattr(family.pipe, part), noisy, sigma, cond))
            assert torch.equal(known, family.predict_within((0.0, 1.0), noisy, sigma, cond))


@pytest.mark.parametrize(("setting", "part"), [("train_high_noise", "transformer_2"), ("train_low_noise", "transformer")])
def test_an_expert_that_is_not_trained_gets_no_network_and_no_file(setting, part, tmp_path):
    job = job_of(tmp_path, **{setting: False})
    folder = run(job, tmp_path / "runs")
    title = "low_noise" if part == "transformer_2" else "high_noise"
    assert [checkpoint.path.name for checkpoint in folder.checkpoints()] == [
        f"tiny_000000001_{title}.safetensors",
        f"tiny_{title}.safetensors",
    ]


def test_each_step_is_two_files_with_native_names_and_they_go_together(tmp_path):
    job = job_of(tmp_path, {"steps": 4})
    folder = run(job.model_copy(update={"save": job.save.model_copy(update={"max_step_saves_to_keep": 1})}), tmp_path / "runs")
    assert [(checkpoint.final, checkpoint.path.name) for checkpoint in folder.checkpoints()] == [
        (False, "tiny_000000003_high_noise.safetensors"), (False, "tiny_000000003_low_noise.safetensors"),
        (True, "tiny_high_noise.safetensors"), (True, "tiny_low_noise.safetensors"),
    ]  # fmt: skip
    high, low = (load_file(folder.path / f"tiny_{title}.safetensors") for title in ("high_noise", "low_noise"))
    assert high.keys() == low.keys() and "diffusion_model.blocks.0.self_attn.q.lora_down.weight" in high
    assert not torch.equal(
        high["diffusion_model.blocks.0.self_attn.q.lora_down.weight"], low["diffusion_model.blocks.0.self_attn.q.lora_down.weight"]
    )


def test_a_file_goes_to_the_expert_that_its_name_says_and_brings_its_mate_along(tmp_path):
    from test_parity import wrapped

    folder, family = run(job_of(tmp_path), tmp_path / "runs"), wrapped(CASE)
    noisy, cond = torch.randn(1, 4, 1, 8, 12), family.encode_prompts(["a red fox"])
    levels = [torch.tensor([0.95]), torch.tensor([0.3])]
    with torch.no_grad():
        base = [family.predict(noisy, sigma, cond) for sigma in levels]
        files = [folder.path / f"tiny_{title}.safetensors" for title in ("high_noise", "low_noise")]
        for index, file in enumerate(files):
            alone = tmp_path / file.name
            shutil.copyfile(file, alone)
            for path, expected in ((alone, [index == 0, index == 1]), (file, [True, True])):
                loaded = load_lora(family, path)
                changed = [not torch.equal(family.predict(noisy, sigma, cond), one) for sigma, one in zip(levels, base, strict=True)]
                assert changed == expected
                loaded.remove()
            alone.unlink()


def test_levels_in_a_span_are_as_dense_as_they_are_without_it():
    rng = torch.Generator().manual_seed(0)
    inside = Levels("shift").draw(20_000, 0, rng, (0.6, 0.9))
    every = Levels("shift").draw(200_000, 0, rng)
    every = every[(every >= 0.6) & (every < 0.9)]
    assert inside.min() >= 0.6 and inside.max() < 0.9
    for share in (0.1, 0.5, 0.9):
        assert inside.quantile(share).item() == pytest.approx(every.quantile(share).item(), abs=0.01)


def test_levels_outside_of_what_is_ever_drawn_are_still_in_the_span():
    drawn = Levels("sigmoid").draw(8, 0, torch.Generator().manual_seed(0), (0.99999, 1.0))
    assert (drawn >= 0.9999).all() and (drawn < 1).all()


def test_settings_that_the_family_does_not_know_are_errors_that_help(tmp_path):
    folder = tiny.save(CASE.make(), tmp_path / "base", **CASE.defaults)
    with pytest.raises(JobError, match=r"train_hihg_noise.*train_high_noise \(bool\)"):
        open_family(ModelSection(name_or_path=str(folder), model_kwargs={"train_hihg_noise": True}), torch.float32)
    neither = ModelSection(name_or_path=str(folder), model_kwargs={"train_high_noise": False, "train_low_noise": False})
    with pytest.raises(JobError, match="Neither"):
        _ = open_family(neither, torch.float32).stages
    assert own_settings(type(open_family(ModelSection(name_or_path=str(folder)), torch.float32)), {}) == {
        "train_high_noise": True, "train_low_noise": True,
    }  # fmt: skip

"""Trainings from words alone, against their formulas, and on a real tiny model."""

from __future__ import annotations

import contextlib

import pytest
import torch
from safetensors.torch import load_file

from engine.control import Control
from engine.execute import execute
from engine.jobs.train import Slider, Train
from engine.runs.folder import RunFolder
from engine.training.concepts import Replacing, Sliding, as_spread
from engine.training.objectives import Batch, FlowMatching

PATTERN = torch.randn(1, 3, 4, 4, generator=torch.Generator().manual_seed(5))


class Model:
    """The base model answers a multiple of a pattern, by the prompt; the adapter adds ``learned`` times its strength."""

    latent_multiple = 1
    told = {"target": 1.0, "more": 1.5, "less": 0.8, "anchor": 0.3, "instead": 2.0, None: 1.0}

    def __init__(self) -> None:
        self.learned = torch.tensor(0.1, requires_grad=True)
        self.strength = 1.0

    def practise(self, clean, cond, rng):
        return cond

    def predict_within(self, span, noisy, sigma, cond):
        return (self.told[cond.get("kind")] * PATTERN + self.strength * self.learned).expand_as(noisy)

    @contextlib.contextmanager
    def scaled(self, strength):
        before, self.strength = self.strength, strength
        yield
        self.strength = before

    def disabled(self):
        return self.scaled(0.0)


def batch(*kinds: str) -> Batch:
    zeros = torch.zeros(2, 3, 4, 4)
    return Batch(zeros, zeros, {}, others={kind: {"kind": kind} for kind in kinds})


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_slider_leads_one_way_at_strength_1_and_the_other_at_minus_1():
    model = Model()
    slider = Slider(target_class="a", positive_prompt="b", negative_prompt="c", guidance_strength=2)
    parts = list(Sliding(FlowMatching(Train()), slider, model).losses(model, batch("target", "more", "less"), rng()))
    here = PATTERN.expand(2, 3, 4, 4)
    for sign, part in zip((1, -1), parts, strict=True):
        goal = as_spread(here * (1 + sign * 2 * (1.5 - 0.8)), here)
        torch.testing.assert_close(part, ((here + sign * 0.1 - goal) ** 2).mean() / 2)
    assert model.strength == 1.0


def test_its_strength_holds_until_a_part_is_differentiated():
    model, seen = Model(), []
    slider = Slider(target_class="a", positive_prompt="b")
    for part in Sliding(FlowMatching(Train()), slider, model).losses(model, batch("target", "more", "less"), rng()):
        seen.append(model.strength)
        part.backward()
    assert seen == [1.0, -1.0]


def test_an_anchor_is_held_to_what_it_was():
    model = Model()
    without = Slider(target_class="a", positive_prompt="b")
    held = without.model_copy(update={"anchor_class": "d", "anchor_strength": 3.0})
    losses = [
        list(Sliding(FlowMatching(Train()), slider, model).losses(model, batch("target", "more", "less", "anchor"), rng()))
        for slider in (without, held)
    ]
    for plain, anchored in zip(*losses, strict=True):
        torch.testing.assert_close(anchored - plain, torch.tensor(3.0 * 0.1**2 / 2))


def test_the_spread_is_the_other_ones():
    wide = torch.randn(1000, generator=rng()) * 7 + 3
    made = as_spread(wide, torch.randn(1000, generator=rng()))
    torch.testing.assert_close(made.std(), torch.randn(1000, generator=rng()).std())
    assert torch.corrcoef(torch.stack([made, wide]))[0, 1] > 0.9999


def test_a_replacement_learns_what_the_base_model_says_of_other_words():
    model = Model()
    (loss,) = Replacing(FlowMatching(Train()), model.disabled).losses(model, batch("instead"), rng())
    torch.testing.assert_close(loss, ((PATTERN + 0.1 - 2 * PATTERN) ** 2).mean())


WORDS = {
    "slider": {
        "slider": {"target_class": "a field", "positive_prompt": "a red field", "negative_prompt": "a green field", "anchor_class": "a cat"}
    },
    "replacements": {"replacements": [{"concept": "field", "replacement": "horse"}]},
}


@pytest.mark.parametrize("kind", WORDS)
def test_a_run_learns_resumes_exactly_and_saves_a_lora(make_job, run, tmp_path, kind):
    def job():
        return make_job(**WORDS[kind], sample__sample_every=None)

    run(job(), "whole")

    def stop(event, control):
        if event.kind == "step" and event.step == 2:
            control.ask("stop")

    run(job(), "cut", stop)
    assert run(job(), "cut")[-1].kind == "finished"
    whole, cut = (load_file(tmp_path / root / "tiny" / "tiny.safetensors") for root in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert any(tensor.abs().max() > 0 for name, tensor in whole.items() if "lora_B" in name or "lora_up" in name)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (WORDS["slider"] | WORDS["replacements"], "both slider and replacements"),
        (WORDS["slider"] | {"network": {"type": "full"}}, "slider asks the base model"),
        (WORDS["slider"] | {"train__do_differential_guidance": True}, "train.do_differential_guidance has no effect"),
        ({"replacements": [{"concept": "submarine", "replacement": "horse"}]}, "No caption has any of the words"),
        ({"train__diff_output_preservation": True}, "diff_output_preservation_class is missing"),
        (
            {"train__diff_output_preservation": True, "train__diff_output_preservation_class": "x", "trigger_word": None},
            "no caption has them",
        ),
        ({"train__min_snr_gamma": 5.0}, "learnt a flow"),
    ],
)
def test_what_cannot_be_is_told_at_once(make_job, tmp_path, changes, told):
    train = {key: value for key, value in changes.items() if key.startswith("train__")}
    job = make_job(**{key: value for key, value in changes.items() if key not in train})
    if train:
        job = job.model_copy(update={"train": job.train.model_copy(update={key[7:]: value for key, value in train.items()})})
    events = list(execute(job, RunFolder.create(tmp_path, job), Control()))
    assert events[-1].kind == "failed" and told in f"{events[-1].message} {events[-1].hint}" and not events[-1].detail


def test_a_slider_needs_no_captions(make_job, run, pictures, tmp_path):
    import shutil

    bare = tmp_path / "bare"
    bare.mkdir()
    for path in pictures.glob("*.png"):
        shutil.copy(path, bare)
    events = run(make_job(**WORDS["slider"], datasets=[{"path": str(bare)}], sample__sample_every=None))
    assert events[-1].kind == "finished"


def test_preservation_holds_the_class_where_it_was(make_job, run, tmp_path):
    """The same run, with and without: with it the answer to the class moves far less, and the one to the trigger still moves."""
    moved = {}
    for keep in (False, True):
        changes = {"train": {"steps": 60, "lr": 1e-2, "batch_size": 2, "optimizer": "adamw"}}
        if keep:
            changes["train"] |= {
                "diff_output_preservation": True, "diff_output_preservation_class": "colour", "diff_output_preservation_multiplier": 10.0,
            }  # fmt: skip
        job = make_job(**changes, sample__sample_every=None, save__save_every=None)
        run(job, f"keep{keep}")
        moved[keep] = _moved(job, tmp_path / f"keep{keep}" / "tiny" / "tiny.safetensors")
    assert moved[True]["colour, a red field"] < 0.5 * moved[False]["colour, a red field"]


def _moved(job, path) -> dict[str, float]:
    """How far the LoRA takes the model's answer to a prompt, on fixed noise."""
    from diffusers import FluxPipeline

    pipe = FluxPipeline.from_pretrained(job.model.name_or_path, dtype=torch.float32, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    found = {}
    answers: dict[bool, dict[str, torch.Tensor]] = {False: {}, True: {}}
    for loaded in (False, True):
        if loaded:
            pipe.load_lora_weights(str(path))
        for prompt in ("colour, a red field", "zzz, a red field"):
            made = pipe(
                prompt,
                width=64,
                height=64,
                num_inference_steps=2,
                output_type="latent",
                generator=torch.Generator().manual_seed(1),
                max_sequence_length=16,
            )
            answers[loaded][prompt] = made.images
    for prompt in answers[True]:
        found[prompt] = (answers[True][prompt] - answers[False][prompt]).square().mean().item()
    return found


def test_the_class_takes_the_place_of_whole_words_and_a_batch_has_it_for_all(make_job, pictures):
    """A set without trigger words of its own shares batches with one that has some."""
    from engine.training.prompts import other_prompts

    train = {"steps": 1, "optimizer": "adamw", "diff_output_preservation": True, "diff_output_preservation_class": "animal"}
    sets = [{"path": str(pictures), "trigger_word": "cat"}, {"path": str(pictures)}, {"path": str(pictures), "is_reg": True}]
    job = make_job(train=train, datasets=sets, trigger_word=None)
    caption = "a cat, of the category cats: cat"
    assert [other_prompts(job, data, caption) for data in job.datasets] == [
        {"class": "a animal, of the category cats: animal"},
        {"class": caption},
        {},
    ]
    job = make_job(replacements=[{"concept": "cat", "replacement": r"dog \1"}])
    assert other_prompts(job, job.datasets[0], caption) == {"instead": r"a dog \1, of the category cats: dog \1"}

"""Ideogram 4: the second model, which is asked only while pictures are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from test_every_family import make_job, run
from test_parity import conditioning, request_of, wrapped

from engine.control import Control
from engine.errors import JobError
from engine.execute import execute
from engine.runs.folder import RunFolder
from engine.runtime import loading
from engine.tools import export_lora

CASE = next(case for case in tiny.CASES if case.family == "ideogram4")


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, value in CASE.patches.items():
        monkeypatch.setattr(name, value)


@pytest.fixture
def loaded(monkeypatch) -> list[tuple[str, str]]:
    """Parts in the order in which they are read, and how the first linear layer of each holds its weight."""
    seen, load = [], loading._load_part

    def spy(family, name, device, dtype):
        part = yield from load(family, name, device, dtype)
        seen.append((name, type(next(layer for layer in part.modules() if isinstance(layer, torch.nn.Linear))).__name__))
        return part

    monkeypatch.setattr(loading, "_load_part", spy)
    return seen


def pixels(guidance: float, stock: bool) -> np.ndarray:
    family, request = wrapped(CASE), request_of(CASE, guidance)
    with torch.no_grad():
        if not stock:
            return np.array(family.sample(conditioning(family, request.prompt, []), None, request)).astype(int)
        made = family.pipe(
            request.prompt, height=request.height, width=request.width, num_inference_steps=request.steps, guidance_scale=guidance,
            guidance_schedule=None, max_sequence_length=48, generator=torch.Generator().manual_seed(request.seed),
        )  # fmt: skip
    return np.array(made.images[0]).astype(int)


def test_with_guidance_it_draws_what_the_stock_pipeline_draws():
    """The second model decides then: without guidance the picture is another one."""
    assert np.abs(pixels(7.0, stock=False) - pixels(7.0, stock=True)).max() <= 1
    assert np.abs(pixels(7.0, stock=False) - pixels(1.0, stock=False)).max() > 1


def test_it_answers_alike_in_half_precision():
    """Places in the picture begin at 65536, where half precision knows no neighbours."""
    family = wrapped(CASE)
    with torch.no_grad():
        cond, noisy, sigma = conditioning(family, "a red fox", []), torch.randn(1, 4, *CASE.latents), torch.tensor([0.5])
        exact = family.predict(noisy, sigma, cond)
        with torch.autocast("cpu", torch.bfloat16):
            rough = family.predict(noisy, sigma, cond)
        turned = family.predict(noisy.flip(-1), sigma, cond).flip(-1)  # what is learned of places is at least this much
    assert (rough - exact).norm() < 0.01 * exact.norm() < (turned - exact).norm()


def test_a_prompt_that_it_cannot_read_whole_is_an_error_that_says_so():
    with pytest.raises(JobError, match="too long"):
        wrapped(CASE).encode_prompts(["word " * 20])


def test_the_second_model_is_read_where_something_is_drawn_and_held_as_the_first(tmp_path, loaded):
    base = tiny.save(CASE.make(), tmp_path / "base", **CASE.defaults)
    job = make_job(CASE, base, tmp_path, {"type": "lora", "rank": 4})
    quantized = job.model.model_copy(update={"quantize": True, "qtype": "qint8", "quantize_te": False})
    run(job.model_copy(update={"model": quantized}), tmp_path / "drawn")
    assert loaded == [("text_encoder", "Linear"), ("unconditional_transformer", "QLinear"), ("transformer", "QLinear")]
    loaded.clear()
    run(job.model_copy(update={"sample": job.sample.model_copy(update={"sample_every": 0})}), tmp_path / "undrawn")
    assert [name for name, _ in loaded] == ["transformer"]


def test_a_full_training_leaves_the_second_model_as_it_was(tmp_path):
    base = tiny.save(CASE.make(), tmp_path / "base", **CASE.defaults)
    made = run(make_job(CASE, base, tmp_path, {"type": "full"}), tmp_path / "runs").path / "tiny"
    kind = type(CASE.make().transformer)
    (before, after), (old, new) = (
        [kind.from_pretrained(folder / part).state_dict() for folder in (base, made)]
        for part in ("unconditional_transformer", "transformer")
    )
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not all(torch.equal(old[name], new[name]) for name in old)


@pytest.mark.parametrize("network, form, told", [("lokr", "auto", True), ("lokr", "diffusers", False), ("lora", "auto", False)])
def test_a_run_says_what_comfyui_will_not_find_in_its_files_and_an_export_does(network, form, told, tmp_path):
    base = tiny.save(CASE.make(), tmp_path / "base", **CASE.defaults)
    job = make_job(CASE, base, tmp_path, {"type": network})
    job = job.model_copy(
        update={"save": job.save.model_copy(update={"format": form}), "sample": job.sample.model_copy(update={"sample_every": 0})}
    )
    folder, notes = RunFolder.create(tmp_path / "runs", job), []
    said = [event for event in execute(job, folder, Control()) if event.kind == "warned"]
    export_lora(folder.path / "tiny.safetensors", tmp_path / "exported.safetensors", "comfyui", notes=notes)
    assert (len(said), len(notes)) == (told, network == "lokr")
    assert all(note.message.startswith("ComfyUI will find 8 of the 14 layers of this lokr") for note in [*said, *notes])

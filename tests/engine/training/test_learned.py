"""That something is really learned, and something really kept: on the starter, in numbers."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline

from engine.events import Event
from engine.families.defaults import read_defaults
from engine.jobs import load_job
from engine.settings import ROOT

STARTER, EXAMPLES = ROOT / "assets" / "starter", ROOT / "assets" / "examples"
STEPS = 48


@pytest.fixture(scope="module")
def held_out(tmp_path_factory) -> Path:
    """Cars that no training sees, with captions."""
    folder = tmp_path_factory.mktemp("held_out")
    for picture in sorted((EXAMPLES / "car-held-out").glob("*.webp")):
        shutil.copy(picture, folder)
        words, _, style = picture.stem.rpartition("_")
        (folder / f"{picture.stem}.txt").write_text(f"a {style} emoji of [trigger] {words.replace('_', ' ')}")
    return folder


def car(held_out: Path, **changes: Any):
    data = {
        "name": "learned",
        "trigger_word": "zcar",
        "model": {"name_or_path": str(STARTER)},
        "network": {"type": "lora", "rank": 8},
        "datasets": [{"path": str(EXAMPLES / "car"), "resolution": 64}],
        "train": {
            "steps": STEPS,
            "lr": 2e-3,
            "batch_size": 8,
            "optimizer": "adamw",
            "gradient_checkpointing": False,
            **changes.get("train", {}),
        },
        "validation": {"every": STEPS, "path": str(held_out), "sigmas": [0.5, 0.8]},
        "sample": {"sample_every": None},
        "save": {"save_every": None, "dtype": "fp32"},
    }
    return load_job(data | {key: value for key, value in changes.items() if key != "train"})


def fall(events: Iterable[Event]) -> float:
    """By what share of itself the loss on cars that were held out has fallen."""
    events = list(events)
    assert not [event.message for event in events if event.kind == "failed"]
    first, *_, last = [event.value for event in events if event.kind == "measured"]
    return 1 - last / first


LEARNERS: dict[str, tuple[float, dict[str, Any]]] = {
    "lora": (0.15, {"network": {"type": "lora", "rank": 8}}),
    "lokr": (0.15, {"network": {"type": "lokr", "lokr_factor": 4}}),
    "embedding": (0.08, {"network": {"type": "none"}, "embedding": {"trigger": "zcar", "init_words": "vehicle"}, "train": {"lr": 2e-2}}),
}
"""By what share the loss on cars that were held out has to fall; one word holds less than a network."""


@pytest.mark.parametrize("name", LEARNERS)
def test_it_learns_what_a_car_is(name, held_out, run):
    least, settings = LEARNERS[name]
    assert fall(run(car(held_out, **settings))) > least


KEPT = {
    "blank": ({"blank_prompt_preservation": True, "blank_prompt_preservation_multiplier": 4}, ["", ""]),
    "class": (
        {"diff_output_preservation": True, "diff_output_preservation_class": "vehicle", "diff_output_preservation_multiplier": 4},
        ["a 3d emoji of vehicle", "a flat emoji of vehicle taxi"],
    ),
}


@pytest.fixture(scope="module")
def pipeline() -> FluxPipeline:
    return FluxPipeline.from_pretrained(STARTER, dtype=torch.float32, local_files_only=True)


def drift(pipeline: FluxPipeline, file: Path, prompts: list[str]) -> float:
    """How far a LoRA moves what the model says to prompts, as a share of what it says: measured with stock diffusers."""
    wants, rng = read_defaults(STARTER), torch.Generator().manual_seed(1)
    features, pooled, places = pipeline.encode_prompt(prompts, prompts, max_sequence_length=wants.max_sequence_length)
    latents, ids = pipeline.prepare_latents(len(prompts), 4, wants.height, wants.width, torch.float32, "cpu", rng)

    def said() -> torch.Tensor:
        with torch.no_grad():
            return pipeline.transformer(
                hidden_states=latents, encoder_hidden_states=features, pooled_projections=pooled, txt_ids=places, img_ids=ids,
                timestep=torch.full((len(prompts),), 0.9), return_dict=False,
            )[0]  # fmt: skip

    before = said()
    pipeline.load_lora_weights(file)
    after = said()
    pipeline.unload_lora_weights()
    return float((after - before).norm() / before.norm())


def test_preservation_keeps_what_the_model_said_and_the_car_is_learned_all_the_same(held_out, run, pipeline, tmp_path):
    plain = fall(run(car(held_out), "plain"))
    for name, (settings, prompts) in KEPT.items():
        assert fall(run(car(held_out, train=settings), name)) > 0.7 * plain
        with_it, without = (drift(pipeline, tmp_path / root / "learned" / "learned.safetensors", prompts) for root in (name, "plain"))
        assert with_it < 0.6 * without, name

"""Files for other programs, as they are downloaded."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.queue import Runner
from ui.exporting import export
from ui.studio import Studio


def lora(path: Path) -> Path:
    layer = "transformer.blocks.0.attn1.to_q"
    save_file(
        {f"{layer}.lora_A.weight": torch.ones(2, 8), f"{layer}.lora_B.weight": torch.ones(8, 2)},
        path,
        {"ss_base_model_version": "wan_2.2_14b"},
    )
    return path


@pytest.fixture
def studio() -> Studio:
    return Studio(Runner())


def test_a_file_is_made_once_for_each_form(studio: Studio, tmp_path: Path) -> None:
    source = lora(tmp_path / "fox_000000250.safetensors")
    made = export(studio, source, "diffusers", "fox")
    stamp = made.stat().st_mtime_ns
    assert made.name == "fox_diffusers.safetensors" and len(load_file(made)) == 2
    assert export(studio, source, "diffusers", "fox").stat().st_mtime_ns == stamp


def test_two_experts_come_together_whichever_is_asked_for(studio: Studio, tmp_path: Path) -> None:
    high, low = (lora(tmp_path / f"fox_000000250_{title}.safetensors") for title in ("high_noise", "low_noise"))
    for asked in (high, low):
        made = export(studio, asked, "diffusers", "fox")
        assert made.name == "fox_diffusers.zip"
        assert zipfile.ZipFile(made).namelist() == ["fox_high_noise_diffusers.safetensors", "fox_low_noise_diffusers.safetensors"]
    high.unlink()
    assert export(studio, low, "diffusers", "fox").name == "fox_low_noise_diffusers.safetensors"

"""The same LoRA under other names."""

from __future__ import annotations

import os

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from engine.errors import JobError
from engine.network.formats import ADAPTER_METADATA, from_any
from engine.network.layers import split
from engine.tools import export_lora, inspect_lora


def deltas(path) -> dict[str, torch.Tensor]:
    return {name: layer.up @ layer.down * layer.scale for name, layer in split(from_any(path)).items()}


@pytest.mark.parametrize(
    "source, form",
    [
        ("diffusers", "comfyui"),
        ("comfyui", "diffusers"),
        ("kohya", "diffusers"),
        ("kohya", "comfyui"),
        ("comfyui", "comfyui"),
    ],
)
def test_an_exported_file_has_the_form_and_the_same_update_and_metadata(files, updates, tmp_path, source, form):
    target = tmp_path / "new" / "exported.safetensors"
    before = files[source].read_bytes()
    assert export_lora(files[source], target, form) == target
    assert inspect_lora(target).form == form and files[source].read_bytes() == before
    found = deltas(target)
    assert len(found) == (3 if source == "kohya" else 9)
    for path, update in found.items():
        torch.testing.assert_close(update, updates[path], rtol=1e-5, atol=1e-6)
    with safe_open(target, "pt") as file:
        texts = file.metadata()
    assert texts["modelspec.trigger_phrase"] == "mug42" and texts["ss_steps"] == "60"
    assert (ADAPTER_METADATA in texts) == (form == "diffusers")
    assert list(target.parent.iterdir()) == [target]  # nothing else is left behind


def test_there_and_back_is_the_same_file(files, tmp_path):
    export_lora(files["diffusers"], tmp_path / "there.safetensors", "comfyui")
    export_lora(tmp_path / "there.safetensors", tmp_path / "back.safetensors", "diffusers")
    assert (tmp_path / "back.safetensors").read_bytes() == files["diffusers"].read_bytes()


def test_the_precision_is_the_sources_or_the_one_that_is_asked_for(files, tmp_path):
    half, back = tmp_path / "half.safetensors", tmp_path / "back.safetensors"
    export_lora(files["diffusers"], half, "diffusers", "fp16")
    export_lora(half, back, "comfyui")
    assert {t.dtype for t in load_file(half).values()} == {torch.float16}
    assert {t.dtype for name, t in load_file(back).items() if not name.endswith(".alpha")} == {torch.float16}


def test_the_source_is_never_overwritten_whatever_it_is_called(files, tmp_path):
    before = files["diffusers"].read_bytes()
    os.symlink(files["diffusers"], tmp_path / "link.safetensors")
    for target in (
        files["diffusers"],
        tmp_path / "link.safetensors",
        tmp_path / "." / "diffusers.safetensors",
    ):
        with pytest.raises(JobError, match="is the file itself"):
            export_lora(files["diffusers"], target, "comfyui")
    assert files["diffusers"].read_bytes() == before


def test_a_target_with_another_ending_is_refused(files, tmp_path):
    with pytest.raises(JobError, match=r"does not end in \.safetensors"):
        export_lora(files["diffusers"], tmp_path / "out.ckpt", "comfyui")


def test_a_source_that_is_gone_is_an_error_in_a_sentence(files, tmp_path):
    with pytest.raises(JobError, match="There is no file"):
        export_lora(tmp_path / "gone.safetensors", files["comfyui"], "comfyui")


def test_what_cannot_be_named_is_not_written(tmp_path):
    from safetensors.torch import save_file

    tensors = {"unet.a.to_q.lora_A.weight": torch.ones(2, 8), "unet.a.to_q.lora_B.weight": torch.ones(8, 2)}
    save_file(tensors, tmp_path / "sdxl.safetensors")
    with pytest.raises(JobError, match="No ComfyUI names are known"):
        export_lora(tmp_path / "sdxl.safetensors", tmp_path / "out.safetensors", "comfyui")
    assert not (tmp_path / "out.safetensors").exists()


@pytest.mark.parametrize("says", [{"ss_base_model_version": "qwen_image"}, {"modelspec.architecture": "qwen_image/lora"}])
def test_what_a_file_says_of_its_base_decides_where_its_names_leave_it_open(tmp_path, says, monkeypatch):
    from safetensors.torch import save_file

    from engine.network import keys

    monkeypatch.setitem(keys.TABLES, "qwen_image", keys.SAME)
    name = "diffusion_model.some_blocks.0.to_q"
    tensors = {f"{name}.lora_A.weight": torch.ones(2, 8), f"{name}.lora_B.weight": torch.ones(8, 2)}
    save_file(tensors, tmp_path / "silent.safetensors")
    with pytest.raises(JobError, match="has no rule here"):
        export_lora(tmp_path / "silent.safetensors", tmp_path / "out.safetensors", "kohya")
    save_file(tensors, tmp_path / "telling.safetensors", says)
    export_lora(tmp_path / "telling.safetensors", tmp_path / "out.safetensors", "kohya")
    assert "lora_unet_some_blocks_0_to_q.lora_down.weight" in load_file(tmp_path / "out.safetensors")
    assert inspect_lora(tmp_path / "telling.safetensors").family == "qwen_image"

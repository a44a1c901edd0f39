"""What the report says of a file, and of files that are none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.errors import JobError
from engine.network.layers import KOHYA, PEFT
from engine.tools import LoraReport, inspect_lora


def norms(updates, *paths: str) -> float:
    return sum(updates[path].double().square().sum() for path in paths).item() ** 0.5


@pytest.mark.parametrize(
    "form, ranks, alphas, count",
    [("diffusers", [4], [4.0], 9), ("comfyui", [4, 12], [2.0, 6.0], 5), ("kohya", [4], [2.0], 3)],
)
def test_a_file_of_each_form_is_described(files, form, ranks, alphas, count):
    report = inspect_lora(files[form])
    assert (report.form, report.family, report.base, report.trigger, report.steps) == (
        form,
        "flux",
        "FLUX.1-dev",
        "mug42",
        60,
    )
    assert (report.ranks, report.alphas, report.layers, report.dtype) == (ranks, alphas, count, "float32")
    assert report.size == files[form].stat().st_size and report.name == f"{form}.safetensors"
    assert report.metadata["ss_network_alpha"] == "2"


@pytest.mark.parametrize("form", ["diffusers", "comfyui"])
def test_the_norms_are_those_of_the_whole_matrices_in_the_order_of_the_model(files, updates, form):
    blocks = dict(inspect_lora(files[form]).blocks)
    double, single = "transformer.transformer_blocks", "transformer.single_transformer_blocks"
    assert list(blocks) == [f"{single}.2", f"{single}.10", f"{double}.0", f"{double}.1"]
    qkv = [f"{double}.{{}}.attn.to_{x}" for x in "qkv"]
    assert blocks[f"{double}.0"] == pytest.approx(norms(updates, *(name.format(0) for name in qkv)), rel=1e-5)
    assert blocks[f"{double}.1"] == pytest.approx(norms(updates, *(name.format(1) for name in qkv), f"{double}.1.ff.net.2"), rel=1e-5)
    assert blocks[f"{single}.10"] == pytest.approx(norms(updates, f"{single}.10.proj_out"), rel=1e-5)


def test_the_report_is_json_and_comes_back(files):
    report = inspect_lora(files["diffusers"])
    assert LoraReport.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize(
    "path, ends, block",
    [
        ("unet.down_blocks.3.attn.to_q", PEFT, "unet.down_blocks.3"),
        ("lora_unet_layers_4_proj_in", KOHYA, "lora_unet_layers_4"),
        ("diffusion_model.layers.7.attention.qkv", PEFT, "diffusion_model.layers.7"),
        ("something.else", PEFT, "something.else"),
    ],
)
def test_a_lora_of_a_family_that_is_not_known_is_still_described(tmp_path, path, ends, block):
    tensors = {f"{path}.{ends[0]}": torch.ones(2, 8), f"{path}.{ends[1]}": torch.ones(8, 2)}
    save_file({name: tensor.to(torch.float16) for name, tensor in tensors.items()}, tmp_path / "a.safetensors")
    report = inspect_lora(tmp_path / "a.safetensors")
    assert (report.family, report.base, report.trigger, report.steps) == (None, None, None, None)
    assert report.dtype == "float16" and report.blocks == [(block, 16.0)]  # 8 times 8 twos


def test_other_files_are_refused_with_what_they_are(files, tmp_path):
    good = files["diffusers"].read_bytes()
    model = {f"transformer_blocks.{i}.attn.to_q.weight": torch.zeros(2, 2) for i in range(3)}
    contents = {
        "model.ckpt": (b"\x80\x02pickle", r"model\.ckpt is a pickle file"),
        "notes.safetensors": (b"These are my notes, and they are long enough.", "not a safetensors file"),
        "short.safetensors": (b"abc", "not a safetensors file"),
        "zip.safetensors": (b"PK\x03\x04" + bytes(100), "not a safetensors file"),
        "empty.safetensors": (b"", "is empty.*download or copy did not finish"),
        "cut.safetensors": (good[:-10], rf"cut short: it has {len(good) - 10} of {len(good)} bytes"),
        "cut_early.safetensors": (good[:50], "cut short: it ends inside its own table of contents"),
        "odd.safetensors": ((7).to_bytes(8, "little") + b'{"a":1}', "damaged"),
        "garbled.safetensors": ((7).to_bytes(8, "little") + b"{{{{{{{", "damaged"),
    }
    for name, (data, message) in contents.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(JobError, match=message):
            inspect_lora(tmp_path / name)
    save_file(model, tmp_path / "whole.safetensors")
    with pytest.raises(JobError, match=r"not a LoRA: it has 3 tensors.*looks like a whole model"):
        inspect_lora(tmp_path / "whole.safetensors")
    save_file({"transformer.a.lokr_w1": torch.zeros(2, 2)}, tmp_path / "half.safetensors")
    with pytest.raises(JobError, match="only half of its tensors"):
        inspect_lora(tmp_path / "half.safetensors")
    with pytest.raises(JobError, match="There is no file"):
        inspect_lora(tmp_path / "missing.safetensors")
    with pytest.raises(JobError, match="is a folder"):
        inspect_lora(tmp_path)


def test_importing_the_tools_loads_no_torch():
    code = "import sys, engine.tools; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3]).returncode == 0

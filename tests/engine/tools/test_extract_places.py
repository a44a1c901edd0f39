"""A LoRA out of two models, however their weights lie on the disk: in the original layout, in shards, as two experts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tiny
import torch
from diffusers import WanPipeline
from drive import done, run
from safetensors.torch import load_file, save_file
from tiny.models.wan import wan22_14b
from tiny.models.zimage import as_comfyui_has_it, zimage

from engine.events import Saved
from engine.network.formats import from_any
from engine.network.layers import split


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def learn(module: torch.nn.Module, words: str, seed: int = 0) -> dict[str, torch.Tensor]:
    """Adds an update of rank 2 to the layers whose names match; what was added, by layer."""
    updates = {}
    with torch.no_grad():
        for index, (name, weight) in enumerate(module.named_parameters()):
            if re.search(words, name) and weight.ndim == 2:
                updates[name.removesuffix(".weight")] = update = (
                    noise(len(weight), 2, seed=seed + index) @ noise(2, weight.shape[1], seed=seed + index + 500) * 0.03
                )
                weight.add_(update)
    assert updates
    return updates


def found(file: Path, family: str) -> dict[str, torch.Tensor]:
    return {path.partition(".")[2]: layer.delta() for path, layer in split(from_any(file, family)).items()}


def same(ours: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == wanted.keys()
    for name, update in wanted.items():
        torch.testing.assert_close(ours[name], update, rtol=1e-3, atol=1e-4)


def extract(root: Path, base: Path, other: Path, **more):
    model = {"name_or_path": str(base), **more.pop("model", {})}
    return done(run(root, kind="extract", model=model, extract_model=str(other), dtype="fp32", mode="threshold", linear=1e-3, **more))


@pytest.mark.parametrize("original", ["tuned", "base", "both"])
def test_single_files_in_the_original_layout_give_what_was_learned(tmp_path, original):
    pipe = zimage()
    folder = tiny.save(pipe, tmp_path / "base", family="zimage")
    save_file(as_comfyui_has_it(pipe.transformer.state_dict()), tmp_path / "base.safetensors")
    updates = learn(pipe.transformer, r"layers\.0\.(attention\.to_(q|v|out)|feed_forward)")
    other = tiny.save(pipe, tmp_path / "tuned", family="zimage")
    save_file(as_comfyui_has_it(pipe.transformer.state_dict()), tmp_path / "tuned.safetensors")
    base = tmp_path / "base.safetensors" if original in ("base", "both") else folder
    other = tmp_path / "tuned.safetensors" if original in ("tuned", "both") else other
    extract(
        tmp_path / "out",
        base,
        other,
        model={"extras_name_or_path": str(folder), "arch": "zimage"} if base != folder else {},
        format="diffusers",
    )
    same(found(tmp_path / "out" / "run" / "run.safetensors", "zimage"), updates)


@pytest.mark.parametrize("sharded", ["tuned", "base"])
def test_a_model_in_shards_is_read_shard_by_shard(tmp_path, sharded):
    pipe = tiny.flux(layers=2)
    folders = {"base": tiny.save(pipe, tmp_path / "base")}
    updates = learn(pipe.transformer, r"attn\.to_(q|k)\.weight")
    folders["tuned"] = tiny.save(pipe, tmp_path / "tuned")
    part = folders[sharded] / "transformer"
    tensors = load_file(part / "diffusion_pytorch_model.safetensors")
    (part / "diffusion_pytorch_model.safetensors").unlink()
    whole = tiny.flux(layers=2).transformer
    whole.load_state_dict(tensors)
    whole.save_pretrained(part, max_shard_size="40KB")
    assert len(list(part.glob("*.safetensors"))) > 2 and list(part.glob("*.index.json"))
    extract(tmp_path / "out", folders["base"], folders["tuned"], format="diffusers")
    same(found(tmp_path / "out" / "run" / "run.safetensors", "flux"), updates)


def test_two_experts_give_two_files_each_with_what_its_own_has_learned(tmp_path):
    pipe = wan22_14b()
    base = tiny.save(pipe, tmp_path / "base", family="wan22_14b")
    updates = {"high_noise": learn(pipe.transformer, r"attn1\.to_q", 1), "low_noise": learn(pipe.transformer_2, r"attn1\.to_(k|v)", 7)}
    events = extract(tmp_path / "out", base, tiny.save(pipe, tmp_path / "tuned", family="wan22_14b"))
    files = [event.path.name for event in events if isinstance(event, Saved)]
    assert files == ["run_high_noise.safetensors", "run_low_noise.safetensors"]
    for (expert, wanted), file in zip(updates.items(), files, strict=True):
        assert expert in file
        same(found(tmp_path / "out" / "run" / file, "wan22_14b"), wanted)
    stock = WanPipeline.from_pretrained(base)
    stock.load_lora_weights(tmp_path / "out" / "run", weight_name=files[0], adapter_name="high")
    stock.load_lora_weights(tmp_path / "out" / "run", weight_name=files[1], adapter_name="low", load_into_transformer_2=True)
    tuned = WanPipeline.from_pretrained(tmp_path / "tuned")
    stock.fuse_lora(components=["transformer", "transformer_2"])
    for part in ("transformer", "transformer_2"):
        own = {name.replace(".base_layer", ""): tensor for name, tensor in getattr(stock, part).state_dict().items() if "lora_" not in name}
        for name, weight in getattr(tuned, part).state_dict().items():
            torch.testing.assert_close(own[name], weight, rtol=1e-3, atol=1e-4)


def test_one_expert_that_stayed_as_it_was_has_no_file(tmp_path):
    pipe = wan22_14b()
    base = tiny.save(pipe, tmp_path / "base", family="wan22_14b")
    learn(pipe.transformer_2, r"attn1\.to_q")
    events = extract(tmp_path / "out", base, tiny.save(pipe, tmp_path / "tuned", family="wan22_14b"))
    assert [event.path.name for event in events if isinstance(event, Saved)] == ["run_low_noise.safetensors"]

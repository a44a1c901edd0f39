"""ΔW of every layer, computed in three independent ways: from a network, from a pipeline, and by ComfyUI's rule."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn


def of_network(network) -> dict[str, Tensor]:
    """What the adapters of a network add, by the path of the layer."""
    return {name: layer.get_delta_weight("default") for name, layer in network._layers.items()}


def of_module(module: nn.Module) -> dict[str, Tensor]:
    """What the only adapter in a module adds, whoever put it there."""
    layers = {name: layer for name, layer in module.named_modules() if isinstance(layer, LoraLayer)}
    return {f"transformer.{name}": layer.get_delta_weight(layer.active_adapters[0]) for name, layer in layers.items()}


def by_comfyui(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """ComfyUI's rule: pairs of some endings; the scale is alpha / rank, and 1 where there is no alpha."""
    updates = {}
    for key in tensors:
        for up_end, down_end in (
            (".lora_up.weight", ".lora_down.weight"),
            (".lora_B.weight", ".lora_A.weight"),
        ):
            if key.endswith(up_end):
                path = key.removesuffix(up_end)
                up, down = tensors[key].float(), tensors[path + down_end].float()
                alpha = tensors.get(f"{path}.alpha")
                updates[path] = up @ down * (1.0 if alpha is None else alpha.item() / down.shape[0])
    return updates


def to_diffusers(native: Mapping[str, Tensor], width: int) -> dict[str, Tensor]:
    """Native updates cut as ComfyUI's ``flux_to_diffusers`` cuts the weights; written out here a second time on purpose."""
    out: dict[str, Tensor] = {}
    for path, update in native.items():
        kind, number, layer = path.removeprefix("diffusion_model.").split(".", 2)
        if kind == "double_blocks":
            block = f"transformer.transformer_blocks.{number}."
            if layer.endswith("qkv"):
                names = "to_q to_k to_v" if layer.startswith("img") else "add_q_proj add_k_proj add_v_proj"
                for name, part in zip(names.split(), update.split(width)):
                    out[f"{block}attn.{name}"] = part
            else:
                out[block + DOUBLE[layer]] = update
        else:
            block = f"transformer.single_transformer_blocks.{number}."
            if layer == "linear1":
                parts = update.split([width, width, width, 4 * width])
                for name, part in zip(("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"), parts):
                    out[block + name] = part
            else:
                out[block + {"linear2": "proj_out", "modulation.lin": "norm.linear"}[layer]] = update
    return out


DOUBLE = {
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
}


def assert_same(one: Mapping[str, Tensor], other: Mapping[str, Tensor], tolerance: float = 1e-6) -> None:
    assert one.keys() == other.keys(), sorted(one.keys() ^ other.keys())
    assert max(update.abs().max().item() for update in one.values()) > 0.01  # nothing is the same as nothing
    for path, update in one.items():
        torch.testing.assert_close(other[path], update, rtol=0, atol=tolerance, msg=lambda text, path=path: f"{path}: {text}")

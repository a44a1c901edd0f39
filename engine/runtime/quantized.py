"""Quantized parts on disk: quantizing is done once, and the next start reads a file of half or a quarter of the size.

A part is a folder: part.json names its layers, and numbered safetensors files hold every tensor of it. Deleting it
costs time and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ..data.caches.room import touch
from ..runs.atomic import put, staging
from ..runs.safe import read_safetensors, write_safetensors
from .quantize import is_quantized, method_of, replace_layer

VERSION = 1
SHARD_BYTES = 2**31
_INDEX = "part.json"


def place_of_part(cache: Path, **key: object) -> Path:
    """The folder of a part in the cache; ``key`` is all that its quantized weights follow from."""
    text = json.dumps({"version": VERSION, **{name: repr(value) for name, value in key.items()}}, sort_keys=True)
    return cache / "quantized" / hashlib.sha256(text.encode()).hexdigest()[:24]


def keep_part(folder: Path, module: nn.Module, kind: str) -> None:
    """Writes a module of which layers are quantized to ``kind``, whole or not at all."""
    method = method_of(kind)
    names = [name for name, layer in module.named_modules() if isinstance(layer, nn.Linear) and is_quantized(layer)]
    shard: dict[str, Tensor] = {}
    files: list[str] = []
    with staging(folder.parent) as stage:

        def write() -> None:
            files.append(f"{len(files):04}.safetensors")
            write_safetensors(stage / folder.name / files[-1], shard)
            shard.clear()

        (stage / folder.name).mkdir()
        same: dict[str, str] = {}  # tied tensors are written once: name → the name that it is written under
        seen: dict[tuple[int, int, int], str] = {}
        for name, tensor in _plain(module, names):
            first = seen.setdefault((tensor.data_ptr(), tensor.numel(), tensor.stride(0) if tensor.ndim else 0), name)
            if first != name and tensor.numel():
                same[name] = first
            else:
                shard[name] = tensor.detach().cpu()
            if _size(shard) >= SHARD_BYTES:
                write()
        for name in names:
            shard |= {f"{name}.{key}": tensor.detach().cpu() for key, tensor in method.tensors(module.get_submodule(name)).items()}
            if _size(shard) >= SHARD_BYTES:
                write()
        write()
        index = {"version": VERSION, "kind": kind, "layers": names, "same": same, "files": files}
        (stage / folder.name / _INDEX).write_text(json.dumps(index), encoding="utf-8")
        put(stage / folder.name, folder)


def restore_part(folder: Path, empty: Callable[[], nn.Module], kind: str, device: torch.device) -> nn.Module | None:
    """The module that was kept in ``folder``, on ``device``; None if there is none.

    ``empty`` makes it without memory for its weights. Raises whatever a damaged file makes the libraries raise.
    """
    if not (folder / _INDEX).is_file():
        return None
    index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
    touch(folder / _INDEX)
    module, method = empty(), method_of(kind)
    inside: dict[str, dict[str, Tensor]] = {name: {} for name in index["layers"]}
    plain: dict[str, Tensor] = {}
    for file in index["files"]:
        for name, tensor in read_safetensors(folder / file).items():
            owner = next((name[:end] for end in _dots(name) if name[:end] in inside), None)
            if owner is None:
                plain[name] = tensor.to(device)
            else:
                inside[owner][name.removeprefix(f"{owner}.")] = tensor.to(device)
    for name, tensors in inside.items():
        replace_layer(module, name, method.restore(module.get_submodule(name), tensors))
    plain |= {name: plain[first] for name, first in index["same"].items()}
    for name, tensor in plain.items():
        _set(module, name, tensor)
    if lost := [name for name, tensor in _plain(module, []) if tensor.is_meta]:
        raise ValueError(f"{lost[0]} is missing")
    return module.eval().requires_grad_(False)


def _plain(module: nn.Module, layers: list[str]) -> list[tuple[str, Tensor]]:
    """Every parameter and buffer outside the quantized layers, those that a state dict leaves out too."""
    beside = tuple(f"{name}." for name in layers)
    both = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return [(name, tensor) for name, tensor in both if not name.startswith(beside)] if beside else both


def _set(module: nn.Module, name: str, tensor: Tensor) -> None:
    parent, _, leaf = name.rpartition(".")
    owner = module.get_submodule(parent)
    if leaf in owner._parameters:
        owner._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
    elif leaf in owner._buffers:
        owner._buffers[leaf] = tensor
    else:
        raise ValueError(f"{name} belongs nowhere")


def _size(tensors: dict[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def _dots(name: str) -> list[int]:
    return [position for position, letter in enumerate(name) if letter == "."]

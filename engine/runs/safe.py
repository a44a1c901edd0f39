"""safetensors files whose bytes follow from their content alone, so that two equal runs leave equal files."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_safetensors(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Torch tensors (or all NumPy arrays) and texts as a safetensors file. Strided tensors are written as contiguous ones.

    ``path`` is written to directly: use it with ``atomic.replace_file``.
    """
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    if any(type(tensor).__module__ == "numpy" for tensor in tensors.values()):
        import safetensors.numpy

        # the library writes the bytes of a strided array in the wrong order, without a word
        arrays = {name: array if array.flags.c_contiguous else array.copy("C") for name, array in tensors.items()}
        safetensors.numpy.save_file(arrays, path, dict(metadata or {}) or None)
    else:
        import safetensors.torch

        dense = {name: tensor.contiguous() for name, tensor in tensors.items()}
        safetensors.torch.save_file(dense, path, dict(metadata or {}) or None)
    os.chmod(path, mode)  # the library's files are for their owner only; ours follow the user's umask
    if metadata:
        _sort_metadata(path)


def read_safetensors(path: Path, framework: str = "pt") -> dict[str, Any]:
    """All tensors of a file, in memory of their own: the file may be deleted while they are in use."""
    from safetensors import safe_open

    with safe_open(path, framework=framework, backend="pread") as file:
        return file.get_tensors()


def read_metadata(path: Path) -> dict[str, str]:
    """The texts in a file's header. Loads no tensor, and no torch."""
    with path.open("rb") as file:
        return json.loads(file.read(int.from_bytes(file.read(8), "little"))).get("__metadata__", {})


def _sort_metadata(path: Path) -> None:
    """safetensors 0.8 writes the texts in the random order of a Rust HashMap. In order, they take the same room."""
    with path.open("rb+") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) > length:
            raise RuntimeError(f"The header of {path.name} does not fit in its place.")
        file.seek(8)
        file.write(text.ljust(length))

"""Opens LoRA files, and says of every other file what it is, from its header alone."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from ..errors import JobError
from ..families.sources import PICKLES
from ..runs.safe import read_safetensors
from .layers import is_lora

_AGAIN = "The download or copy did not finish: get the file again."
_LARGEST_HEADER = 100_000_000  # safetensors' own limit


def read_header(path: Path) -> tuple[dict[str, dict], dict[str, str]]:
    """Name → dtype, shape and place of each tensor, and the texts. A file that is not whole is an error."""
    if path.suffix.lower() in PICKLES:
        raise JobError(
            f"{path.name} is a pickle file, which can run code when it is opened.",
            "Use a .safetensors version of it.",
        )
    if path.is_dir():
        raise JobError(f"{path.name} is a folder.", "Choose the .safetensors file of a LoRA.")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= _LARGEST_HEADER else b""
    except FileNotFoundError:
        raise JobError(f"There is no file {path}.", "Check the path.") from None
    except OSError as error:
        raise JobError(f"{path} cannot be read: {error.strerror or error}.", "Check its permissions.") from error
    if size == 0:
        raise JobError(f"{path.name} is empty.", _AGAIN)
    if size < 8 or length > _LARGEST_HEADER or not text.startswith(b"{"):
        raise JobError(f"{path.name} is not a safetensors file.", "Choose the .safetensors file of a LoRA.")
    if len(text) < length:
        raise JobError(f"{path.name} is cut short: it ends inside its own table of contents.", _AGAIN)
    try:
        header = json.loads(text)
        metadata = header.pop("__metadata__", {})
        end = 8 + length + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JobError(f"{path.name} is damaged: its table of contents cannot be read.", _AGAIN) from error
    if size < end:
        raise JobError(f"{path.name} is cut short: it has {size} of {end} bytes.", _AGAIN)
    return header, metadata


def read_lora(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and texts of a LoRA file, as they stand in it."""
    header, metadata = read_header(path)
    if not header:
        raise JobError(f"{path.name} holds no tensors.", _AGAIN)
    # the kinds beside plain LoRA are told apart by name when the tensors are grouped
    if not any(is_lora(name) or "lokr_" in name or "hada_" in name or "oft_" in name for name in header):
        raise JobError(f"{path.name} is not a LoRA: it has {len(header)} tensors of another kind.", _what_else(header))
    try:
        return read_safetensors(path), metadata
    except Exception as error:  # the library raises its own type, and ValueError for dtypes it does not know
        raise JobError(f"{path.name} cannot be read: {error}.", _AGAIN) from error


def _what_else(header: dict[str, dict]) -> str:
    large = len(header) > 100 or any(
        name.startswith(("model.diffusion_model.", "transformer_blocks.", "double_blocks.")) for name in header
    )
    return "It looks like a whole model; choose the file of a LoRA." if large else "Choose the .safetensors file of a LoRA."

"""AI Toolkit's extract jobs as ours. Both models stand beside the process there, and convolutions take part unless its type is lora."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import JobError

Section = dict[str, Any]
TYPES = ("locon", "lora")
_CONV = {"fixed": 32, "threshold": 0, "ratio": 0.5, "quantile": 0.5}
"""Mode → its number for convolutions where none is given."""
_KEPT = ("mode", "linear", "conv", "extract_unet", "extract_text_encoder")
_ELSEWHERE = {
    "type",
    "filename",
    "output_path",
    "output_folder",
    "device",
    "name",
    "process",
    "base_model",
    "extract_model",
    "is_v2",
    "dtype",
}
_IDLE = {"use_sparse_bias": False, "sparsity": 0.98, "disable_cp": False}
"""What asks for tensors that no other program reads, and the value that asks for nothing."""


def read_extract(config: Mapping[str, Any], name: str, note: Callable[..., None]) -> Section:
    """The job; what has no place here is noted."""
    process = config["process"][0]
    if process.get("type") not in TYPES:
        raise JobError(f"Jobs of the type extract/{process.get('type')} are not supported yet.", f"Supported are {', '.join(TYPES)}.")
    for key in ("base_model", "extract_model"):
        if not isinstance(config.get(key), str):
            raise JobError(f"config.{key} is missing.", "An extraction needs the base model and the trained one.")
    given = {**config, **process}
    model: Section = {"name_or_path": config["base_model"]}
    if given.get("is_v2") or config["base_model"].endswith(".safetensors"):
        model["arch"] = "sd2" if given.get("is_v2") else "sd1"  # its extraction knows no other family
    kept = {key: given[key] for key in _KEPT if given.get(key) is not None}
    mode = kept.get("mode", "fixed")
    locon = process["type"] == "locon"
    if locon:
        kept.setdefault("conv", _CONV.get(mode))
    else:
        kept.pop("conv", None)
    for key, value in given.items():
        if key not in _KEPT and key not in _ELSEWHERE and value != _IDLE.get(key):
            note(
                f"{key} is left out." if key in _IDLE else f"{key} is not a known key and is left out.",
                "" if key in _IDLE else "Check its spelling.",
            )
    if given.get("filename") or given.get("output_path"):
        note("The file gets the name of the run, in its folder; filename and output_path are left out.")
    return {
        "kind": "extract", "name": name, "model": model, "extract_model": config["extract_model"], **kept, "all_layers": locon,
        "dtype": given.get("dtype", "fp16"), "format": "kohya",
    }  # fmt: skip

"""Forms of LoRA files. In memory there is one: diffusers' names.

A layer is ``transformer.<path>.lora_A.weight``, ``.lora_B.weight`` and ``.alpha``. In files there are:

- diffusers: the scale is folded into ``lora_B``, since some readers of these names assume a scale of 1.
- comfyui: the model's native names under ``diffusion_model.``, with ``.alpha``. They end in lora_down and lora_up:
  ComfyUI reads every pair of endings, diffusers (0.42) reads FLUX's native names only with these.

Both ways are strict: a name without a rule is an error that says it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from ..errors import JobError
from .fusing import cut, fuse, swap_halves
from .keys import TABLES, family_of, find_diffusers, find_native
from .layers import KOHYA, Layer, is_lora, join, split, with_unit_scale
from .reader import read_lora

Form = Literal["diffusers", "comfyui"]
ADAPTER_METADATA = "lora_adapter_metadata"  # diffusers.loaders.lora_base.LORA_ADAPTER_METADATA_KEY
DENOISER, NATIVE = "transformer.", "diffusion_model."

FORMS: dict[str, str] = {  # name of the form → what some of its names begin with; the first that fits
    "xlabs": r".*\.processor\.",
    "diffusers": r"(transformer|unet|text_encoder(_\d)?)\.",
    "comfyui": r"diffusion_model\.",
    "peft": r"base_model\.model\.",
    "onetrainer": r"lora_transformer_",
    "kohya": r"lora_(unet|te\d?)_",
    "native": r"(double_blocks|single_blocks)\.",
}


def form_of(names: Mapping[str, object]) -> str:
    """What the names of a file look like; "unknown" if like nothing in the table."""
    return next(
        (form for form, pattern in FORMS.items() if any(re.match(pattern, name) for name in names)), "unknown"
    )


def to_form(tensors: Mapping[str, Tensor], form: Form, family: str | None) -> dict[str, Tensor]:
    """The canonical tensors under the names of ``form``. ``family`` finds the table of native names."""
    layers = split(tensors)
    if form == "diffusers":
        return join({path: layer.folded() for path, layer in layers.items()}, alpha=False)
    if family not in TABLES:
        raise JobError(
            f"No ComfyUI names are known for {family or 'this LoRA'}.", "Save it in the diffusers form."
        )
    return join(_to_native(layers, family), KOHYA)


def adapter_metadata(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """What stock diffusers reads from a header, for the diffusers form: ranks and scales, as PEFT names them."""
    values: dict[str, object] = {}
    by_part: dict[str, dict[str, Layer]] = {}
    for path, layer in split(tensors).items():
        part, _, name = path.partition(".")
        by_part.setdefault(part, {})[name] = layer
    for part, layers in by_part.items():
        rank = Counter(layer.rank for layer in layers.values()).most_common(1)[0][0]
        odd = {f"^{name}": layer.rank for name, layer in layers.items() if layer.rank != rank}
        settings = {
            "r": rank,
            "lora_alpha": rank,
            "rank_pattern": odd,
            "alpha_pattern": odd,
            "target_modules": sorted(layers),
        }
        values |= {f"{part}.{key}": value for key, value in settings.items()}
    return {ADAPTER_METADATA: json.dumps(values, sort_keys=True)}


def from_any(path: Path) -> dict[str, Tensor]:
    """The canonical tensors of a LoRA file in any form that is known, in fp32."""
    tensors, metadata = read_lora(path)
    return canonical(tensors, metadata, path.name)


def canonical(
    tensors: Mapping[str, Tensor], metadata: Mapping[str, str], name: str = "The file"
) -> dict[str, Tensor]:
    """The tensors of a file under diffusers' names, in fp32."""
    tensors = {key: tensor.float() for key, tensor in tensors.items()}
    match form_of(tensors):
        case "diffusers":
            layers = file_layers(tensors, metadata)
        case "comfyui" | "peft" | "native":
            layers = _from_native(
                split(
                    {
                        re.sub(f"^({re.escape(NATIVE)}|base_model\\.model\\.)", "", k): t
                        for k, t in tensors.items()
                    }
                )
            )
        case "unknown":
            raise JobError(
                f"{name} has names that no rule knows, for example {next(iter(tensors))}.",
                "It may belong to another model family.",
            )
        case _:
            layers = _by_diffusers(tensors, name)
    return join(layers)


def file_layers(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, Layer]:
    """Layers by the names in the file. Without an ``.alpha`` the header decides, as in stock diffusers."""
    layers = split(tensors)
    try:
        values = json.loads(metadata.get(ADAPTER_METADATA) or "{}")
    except ValueError as error:
        raise JobError(
            f"The header's {ADAPTER_METADATA} is not valid JSON.", "The file is damaged: get it again."
        ) from error
    changed = {}
    for path, layer in layers.items():
        part, _, name = path.partition(".")
        alpha = values.get(f"{part}.lora_alpha")
        for pattern, other in (values.get(f"{part}.alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", name):  # PEFT's own rule
                alpha = other
                break
        own = alpha is None or f"{path}.alpha" in tensors
        changed[path] = layer if own else Layer(layer.down, layer.up, float(alpha))
    return changed


def _to_native(layers: Mapping[str, Layer], family: str) -> dict[str, Layer]:
    native: dict[str, Layer] = {}
    fused: dict[str, tuple[tuple[int, ...], dict[int, Layer]]] = {}
    for path, layer in layers.items():
        found = (
            find_diffusers(TABLES[family], path.removeprefix(DENOISER)) if path.startswith(DENOISER) else None
        )
        if not found:
            raise JobError(
                f"The layer {path} has no name in ComfyUI that is known here.",
                "Save it in the diffusers form.",
            )
        rule, position, numbers = found
        name = NATIVE + rule.native.format(*numbers)
        if len(rule.parts) > 1:
            fused.setdefault(name, (rule.rows, {}))[1][position] = layer
        else:
            native[name] = swap_halves(layer) if rule.swapped else layer
    native |= {name: fuse(name, parts, rows) for name, (rows, parts) in fused.items()}
    return dict(sorted(native.items()))


def _from_native(layers: Mapping[str, Layer]) -> dict[str, Layer]:
    """From native names, or from diffusers' names under a prefix that was taken off."""
    family = family_of(layers)
    if family is None:
        odd = [
            path
            for path in layers
            if not any(find_native(table, path) or find_diffusers(table, path) for table in TABLES.values())
        ]
        raise JobError(
            f"The layer {(odd or list(layers))[0]} has no rule here.",
            f"Native names are known for: {', '.join(TABLES)}.",
        )
    ours: dict[str, Layer] = {}
    for path, layer in layers.items():
        found = find_native(TABLES[family], path)
        if not found:
            ours[DENOISER + path] = layer
            continue
        rule, numbers = found
        parts = (
            cut(path, layer, rule.rows)
            if len(rule.parts) > 1
            else {0: swap_halves(layer) if rule.swapped else layer}
        )
        ours |= {DENOISER + rule.parts[position].format(*numbers): part for position, part in parts.items()}
    return ours


def _by_diffusers(tensors: dict[str, Tensor], name: str) -> dict[str, Layer]:
    """Through stock diffusers' converter (tried with 0.42), which knows kohya's, OneTrainer's, XLabs' names."""
    from diffusers import FluxPipeline

    # it forgets the alpha of some layers, so the scale is taken out before
    source = with_unit_scale(tensors)
    try:
        with torch.no_grad():
            converted = FluxPipeline.lora_state_dict(source)
    except (ValueError, KeyError, AssertionError, NotImplementedError, RuntimeError) as error:
        raise JobError(
            f"{name} has names that no rule knows, for example {next(iter(tensors))}.",
            "It may belong to another model family.",
        ) from error
    # layers outside the blocks come back without their prefix
    named = {
        key if key.startswith((DENOISER, "text_encoder")) else DENOISER + key: tensor
        for key, tensor in converted.items()
        if is_lora(key)
    }
    return split(named)

"""Forms of adapter files. In memory there is one: diffusers' names.

A layer is ``<part>.<path>`` and an ending: for a LoRA ``.lora_A.weight``, ``.lora_B.weight`` and ``.alpha``, for the
other kinds what LyCORIS calls them. The part is transformer, unet, text_encoder … In files there are:

- diffusers: the scale of a LoRA is folded into ``lora_B``, since some readers of these names assume a scale of 1.
- comfyui: the model's native names under ``diffusion_model.``, with ``.alpha``. They end in lora_down and lora_up:
  ComfyUI reads every pair of endings, diffusers (0.42) reads FLUX's native names only with these.
- kohya: flat names, ``lora_unet_`` and the path with underscores for dots, with ``.alpha``.

The lengths of a DoRA are LyCORIS', of the rows of the changed weight, [O, 1]. ComfyUI (0.3.77) and Forge divide by those of
the base model's rows instead, so there a DoRA acts stronger by what its update adds to them, some tenths of a percent.

Text encoders have flat names in both of the latter. Where a native layer holds several of diffusers' layers, only LoRAs
are put together; the other kinds keep diffusers' path, which ComfyUI and Forge read beside the native names. Where ComfyUI
does not, ``unread`` says it.

Both ways are strict: a name without a rule is an error that says it. A flat name is found in a table or among the names
of real modules, never guessed from its underscores.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from torch import Tensor

from ..errors import JobError
from ..events import Warned
from ..families.catalog import FAMILIES
from .foreign import by_diffusers
from .fusing import cut, fuse, swap_halves
from .keys import (
    SAME,
    TABLES,
    TEXT,
    Dialect,
    Rule,
    dialect_of,
    families_of,
    fill,
    find_diffusers,
    find_native,
    text_path,
)
from .layers import KOHYA, Layer, Update, join, split
from .reader import read_lora

Form = Literal["diffusers", "comfyui", "kohya"]
ADAPTER_METADATA = "lora_adapter_metadata"  # diffusers.loaders.lora_base.LORA_ADAPTER_METADATA_KEY
NATIVE, FLAT, FLAT_DIFFUSERS = "diffusion_model.", "lora_unet_", "lycoris_"

FORMS: dict[str, str] = {  # name of the form → what some of its names begin with; the first that fits
    "xlabs": r".*\.processor\.",
    "comfyui": r"diffusion_model\.",
    "diffusers": r"(transformer(_\d)?|unet|text_encoder(_\d)?)\.",
    "peft": r"base_model\.model\.",
    "onetrainer": r"lora_transformer_",
    "kohya": r"lora_(unet|te\d?)_",
    "lycoris": r"lycoris_",
    "native": r"(double_blocks|single_blocks)\.",
}
_DENOISER = r"(transformer(?:_\d)?|unet)\.(.+)"
_DIFFUSERS = r"(transformer(?:_\d)?|unet|text_encoder(?:_\d)?)\.(.+)"
_PREFIX = rf"^({re.escape(NATIVE)}|base_model\.model\.)"
_FLAT = r"(?:lora_unet_|lora_transformer_|lycoris_)(.+)"


def form_of(names: Iterable[str]) -> str:
    """What the names of a file look like; "unknown" if like nothing in the table."""
    names = list(names)
    return next((form for form, pattern in FORMS.items() if any(re.match(pattern, name) for name in names)), "unknown")


def to_form(tensors: Mapping[str, Tensor], form: Form, family: str | None) -> dict[str, Tensor]:
    """The canonical tensors under the names of ``form``. ``family`` finds the table of native names."""
    layers = split(tensors)
    if form == "diffusers":
        return join(_folded(layers), alpha=False)
    if family not in TABLES:
        raise _without_table(form, family)
    named = _renamed(layers, form, family)
    if form == "comfyui" and dialect_of(family).plain and all(layer.kind == "lora" for layer in named.values()):
        return join(_folded(named), alpha=False)
    return join(named, KOHYA)


def check_named(paths: Iterable[str], form: Form, family: str | None) -> None:
    """A JobError for the first layer that has no name in this form: before it is trained, and not when it is saved."""
    if form == "diffusers":
        return
    if family not in TABLES:
        raise _without_table(form, family)
    for path in paths:
        found = re.fullmatch(_DENOISER, path)
        if not found:
            _text_name(path, form, dialect_of(family))
        elif not find_diffusers(TABLES[family], found[2]):
            raise _nameless(path, form)


def unread(kinds: Mapping[str, str], form: Form, family: str | None) -> Warned | None:
    """What is to be said where ComfyUI finds only some of the layers in a file of this form. ``kinds`` are those of all layers, by path."""
    if not family or form not in dialect_of(family).whole:
        return None
    lost = {path: part for path, kind in kinds.items() if kind != "lora" and (part := _part_of_a_whole(path, TABLES[family]))}
    if not lost:
        return None
    found, kind = len(kinds) - len(lost), kinds[next(iter(lost))]
    return Warned(
        message=f"ComfyUI will find {found or 'none'} of the {len(kinds)} layers of this {kind}: it knows {', '.join(dict.fromkeys(lost.values()))} "
        f"of {FAMILIES[family].title} only as parts of a larger layer, which are put together for a LoRA alone.",
        hint="In Darkroom all of it acts.",
    )


def _part_of_a_whole(path: str, table: tuple[Rule, ...]) -> str | None:
    """What a layer is called in its block, if it is no native layer as it is."""
    found = re.fullmatch(_DENOISER, path)
    place = find_diffusers(table, found[2]) if found else None
    if not place or (len(place[0].parts) == 1 and not place[0].swapped):
        return None
    return place[0].parts[place[1]].rpartition("{}.")[2]


def _without_table(form: Form, family: str | None) -> JobError:
    return JobError(f"No {_TITLES[form]} names are known for {family or 'this LoRA'}.", "Save it in the diffusers form.")


def _folded(layers: Mapping[str, Update]) -> dict[str, Update]:
    return {path: layer.folded() if isinstance(layer, Layer) else layer for path, layer in layers.items()}


_TITLES = {"comfyui": "ComfyUI", "kohya": "kohya"}


def adapter_metadata(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """What stock diffusers reads from a header, for LoRAs in the diffusers form: ranks and scales, as PEFT names them."""
    values: dict[str, object] = {}
    by_part: dict[str, dict[str, Layer]] = {}
    for path, layer in split(tensors).items():
        if not isinstance(layer, Layer):
            return {}
        part, _, name = path.partition(".")
        # CLIP classes of transformers 5 have lost this; PEFT matches names by their endings, so the rest fits old and new
        by_part.setdefault(part, {})[name.removeprefix("text_model.")] = layer
    for part, layers in by_part.items():
        start = "" if part.startswith("text_encoder") else "^"
        rank = Counter(layer.rank for layer in layers.values()).most_common(1)[0][0]
        odd = {f"{start}{name}": layer.rank for name, layer in layers.items() if layer.rank != rank}
        settings = {
            "r": rank,
            "lora_alpha": rank,
            "rank_pattern": odd,
            "alpha_pattern": odd,
            "target_modules": sorted(layers),
        }
        if any(layer.kind == "dora" for layer in layers.values()):
            settings["use_dora"] = True
        values |= {f"{part}.{key}": value for key, value in settings.items()}
    return {ADAPTER_METADATA: json.dumps(values, sort_keys=True)}


def from_any(path: Path, family: str | None = None, modules: Iterable[str] = ()) -> dict[str, Tensor]:
    """The canonical tensors of a file in any form that is known, in fp32. ``family`` and ``modules`` as in ``canonical``."""
    tensors, metadata = read_lora(path)
    return canonical(tensors, metadata, path.name, family, modules)


def canonical(
    tensors: Mapping[str, Tensor],
    metadata: Mapping[str, str],
    name: str = "The file",
    family: str | None = None,
    modules: Iterable[str] = (),
) -> dict[str, Tensor]:
    """The tensors of a file under diffusers' names, in fp32.

    ``family`` is the one that is expected, where the names alone leave it open. ``modules`` are the real names of the
    layers of its denoiser, where it is at hand: they find the flat names of families that have no table of them.
    """
    tensors = {key: tensor.float() for key, tensor in tensors.items()}
    if form_of(tensors) == "xlabs":
        return join(by_diffusers(tensors, name))
    return join(_from_names(file_layers(tensors, metadata), family, modules))


def file_layers(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> dict[str, Update]:
    """Layers by the names in the file. Without an ``.alpha`` the header decides, as in stock diffusers."""
    layers = split(tensors)
    try:
        values = json.loads(metadata.get(ADAPTER_METADATA) or "{}")
    except ValueError as error:
        raise JobError(f"The header's {ADAPTER_METADATA} is not valid JSON.", "The file is damaged: get it again.") from error
    changed: dict[str, Update] = {}
    for path, layer in layers.items():
        part, _, name = path.partition(".")
        alpha = values.get(f"{part}.lora_alpha")
        for pattern, other in (values.get(f"{part}.alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", name):  # PEFT's own rule
                alpha = other
                break
        said = alpha is not None and f"{path}.alpha" not in tensors
        changed[path] = replace(layer, alpha=float(alpha)) if said and isinstance(layer, Layer) else layer
    return changed


def _renamed(layers: Mapping[str, Update], form: Form, family: str) -> dict[str, Update]:
    dialect = dialect_of(family)
    if len(experts := {found[1] for path in layers if (found := re.fullmatch(_DENOISER, path))}) > 1:
        raise JobError(f"The {_TITLES[form]} form has one file for each of {' and '.join(sorted(experts))}.", "Save them one by one.")
    named: dict[str, Update] = {}
    fused: dict[str, tuple[tuple[int | Fraction, ...], dict[int, Layer]]] = {}
    for path, layer in layers.items():
        found = re.fullmatch(_DENOISER, path)
        place = find_diffusers(TABLES[family], found[2]) if found else None
        if not found:
            named[_text_name(path, form, dialect)] = layer
        elif not place:
            raise _nameless(path, form)
        else:
            rule, position, groups = place
            native = fill(rule.native, groups)
            name = f"{FLAT}{native.replace('.', '_')}" if form == "kohya" else NATIVE + native
            if form == "kohya" and dialect.flat == "diffusers":
                named[FLAT + found[2].replace(".", "_")] = layer
            elif len(rule.parts) == 1 and not rule.swapped:
                named[name] = layer
            elif layer.kind != "lora" or not isinstance(layer, Layer):
                named[FLAT_DIFFUSERS + found[2].replace(".", "_") if form == "kohya" else path] = layer
            elif rule.swapped:
                named[name] = swap_halves(name, layer)
            else:
                fused.setdefault(name, (rule.rows, {}))[1][position] = layer
    named |= {name: fuse(name, parts, rows) for name, (rows, parts) in fused.items()}
    return dict(sorted(named.items()))


def _text_name(path: str, form: Form, dialect: Dialect) -> str:
    part, _, name = path.partition(".")
    if part not in dialect.texts or not find_diffusers(TEXT, name):
        raise _nameless(path, form)
    return f"{dialect.texts[part]}_{name.replace('.', '_')}"


def _nameless(path: str, form: Form) -> JobError:
    return JobError(f"The layer {path} has no name in {_TITLES[form]} that is known here.", "Save it in the diffusers form.")


def _from_names(layers: Mapping[str, Update], hint: str | None, modules: Iterable[str]) -> dict[str, Update]:
    """Under diffusers' names: those that have them already, native ones, flat ones, and those of text encoders."""
    ours: dict[str, Update] = {}
    dotted: dict[str, Update] = {}
    flat: dict[str, Update] = {}
    text: dict[str, Update] = {}
    for path, layer in layers.items():
        if found := re.fullmatch(_DIFFUSERS, path):
            ours[f"{found[1]}.{text_path(found[2])}"] = layer
        elif path.startswith("lora_te"):
            text[path] = layer
        elif found := re.fullmatch(_FLAT, path):
            flat[found[1]] = layer
        else:
            dotted[re.sub(_PREFIX, "", path)] = layer
    real = {name.replace(".", "_"): name for name in modules}
    families = families_of(dotted, [path for path in flat if path not in real])
    family = hint if hint in families else _first(families, text)
    if family is None and (dotted or flat.keys() - real.keys()):
        raise _odd(dotted, flat)
    dialect = dialect_of(family or hint)
    table = TABLES.get(family or "", ())
    for names, is_flat in ((dotted, False), (flat, True)):
        for path, layer in names.items():
            if is_flat and path in real:
                ours[f"{dialect.part}.{real[path]}"] = layer
                continue
            native = find_native(table, path, is_flat)
            if not native:
                ours[f"{dialect.part}.{_diffusers_path(table, path, is_flat)}"] = layer
                continue
            rule, groups = native
            parts: dict[int, Update] = (
                cut(path, layer, rule.rows) if len(rule.parts) > 1 else {0: swap_halves(path, layer) if rule.swapped else layer}
            )
            ours |= {f"{dialect.part}.{fill(rule.parts[position], groups)}": part for position, part in parts.items()}
    return ours | {_text_path(path, dialect): layer for path, layer in text.items()}


def _first(families: Sequence[str], text: Iterable[str]) -> str | None:
    """Of families that share their names, the first that calls its text encoders so."""
    closed = [family for family in families if TABLES[family] is not SAME]
    prefixes = {path.split("_text_model")[0].split("_encoder_")[0] for path in text}
    return next((family for family in closed if prefixes <= set(dialect_of(family).texts.values())), next(iter(closed), None))


def _diffusers_path(table: tuple[Rule, ...], path: str, flat: bool) -> str:
    found = find_diffusers(table, path, flat)
    assert found, path  # family_of has seen it
    rule, position, groups = found
    return fill(rule.parts[position], groups)


def _text_path(path: str, dialect: Dialect) -> str:
    prefix, name = re.fullmatch(r"(lora_te\d?)_(.+)", path).groups()  # type: ignore[union-attr]
    prefixes = {"lora_te": "text_encoder"} | {to: part for texts in (Dialect().texts, dialect.texts) for part, to in texts.items()}
    found = find_native(TEXT, name, flat=True)
    if not found or prefix not in prefixes:
        raise JobError(f"The layer {path} has no rule here.", "It belongs to a text encoder that is not known.")
    return f"{prefixes[prefix]}.{fill(found[0].native, found[1])}"


def _odd(dotted: Iterable[str], flat: Iterable[str]) -> JobError:
    """Names the first layer that the table which fits best does not have."""
    names = [*((path, False) for path in dotted), *((path, True) for path in flat)]
    closed = [table for table in TABLES.values() if table is not SAME]
    strange = ([path for path, flat in names if not (find_native(t, path, flat) or find_diffusers(t, path, flat))] for t in closed)
    return JobError(f"The layer {min(strange, key=len)[0]} has no rule here.", f"Native names are known for: {', '.join(TABLES)}.")

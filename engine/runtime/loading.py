"""Base models: found on this computer or fetched from the hub, and loaded part by part.

Only the autoencoder, the tokenizers and the scheduler are loaded when a model is opened; text encoders and the denoiser
come when they are needed and go when they are not, so that the peak is the largest part and not the sum.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers.utils import logging as diffusers_logging
from huggingface_hub import hf_hub_download
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from ..errors import JobError
from ..events import Event, Warned
from ..families.base import Guest, ModelFamily
from ..families.catalog import base_of, defaults_of, family_name, load_family, locate, pipeline_in
from ..families.sources import Quantization, Source
from ..jobs import ModelSection
from ..network.beside import Beside
from ..network.companions import fuse_lora, recovering
from ..settings import load_settings
from .device import free
from .hub import arch_of, base_name, hub_errors, place_of
from .offload import offload
from .parts import empty_part, fits, is_whole, read_part
from .places import fetch_lora, fetch_place, find_place, other_places, part_folder, recovery_of
from .quantize import quantize
from .quantized import keep_part, place_of_part, restore_part

diffusers_logging.disable_progress_bar()  # the engine tells its progress in events
transformers_logging.disable_progress_bar()


def find_model(model: ModelSection) -> Path:
    """The folder of the base model, fetched from the hub if this computer does not have it."""
    place = place_of(model)
    if isinstance(place, Path):
        return place
    revision = model.revision if place == model.name_or_path else None
    with hub_errors(place, revision):
        index = Path(hf_hub_download(place, "model_index.json", revision=revision))
        family = load_family(family_name(arch_of(model), pipeline_in(index.parent)))
        needless = {name: None for name, part in family.pipeline_options.items() if part is None}
        elsewhere = dict.fromkeys(_named_parts(model, index.parent)) if other_places(model) else {}
        for name in elsewhere:  # of a part that comes from a single file, the config is still the base's
            hf_hub_download(place, f"{name}/config.json", revision=revision)
        return Path(family.pipeline_class.download(place, revision=revision, use_safetensors=True, **needless, **elsewhere))


def _named_parts(model: ModelSection, folder: Path) -> list[str]:
    """Parts whose weights the base model need not have, since the job names another place for them."""
    family = load_family(family_name(arch_of(model), pipeline_in(folder), folder))
    keys = set(other_places(model))
    return [
        *([family.denoiser_part] if keys & {"model.unet_path", "model.name_or_path"} else []),
        *(family.vae_parts[:1] if "model.vae_path" in keys else []),
    ]


def open_family(model: ModelSection, dtype: torch.dtype) -> ModelFamily:
    """The family around its pipeline, on the CPU, with autoencoder, tokenizers and scheduler; the large parts are absent."""
    folder = find_model(model)
    family = load_family(family_name(arch_of(model), pipeline_in(folder), folder))
    settings = own_settings(family, model.model_kwargs)
    sources = _sources(model, family, folder)
    own = family.own_parts(folder)
    given: dict[str, Any] = dict.fromkeys((*family.text_parts, *family.model_parts(), *own))
    for name, guest in family.guests.items():
        if not (folder / guest.tokenizer).is_dir():
            given[guest.tokenizer] = AutoTokenizer.from_pretrained(sources[name].config, local_files_only=True)
    for name in family.vae_parts:
        if name in sources and sources[name] != Source(folder / name):
            given[name] = _read(_class_of(family, folder, name), sources[name], name, dtype, family)
    try:
        pipe = family.pipeline_class.from_pretrained(folder, dtype=dtype, local_files_only=True, **given, **family.pipeline_options)
    except (OSError, ValueError) as error:
        raise JobError(
            f"The base model in {folder} cannot be loaded: {error}",
            "Its files may be incomplete: download it again.",
        ) from error
    pipe.set_progress_bar_config(disable=True)
    pipe.register_modules(**own)
    known = base_of(model.name_or_path) or locate(model.name_or_path)
    made = family(pipe, defaults_of(model.name_or_path if known else base_name(model), family.name), folder)
    made.sources = sources
    made.kwargs = settings
    return made


def own_settings(family: type[ModelFamily], given: Mapping[str, Any]) -> dict[str, Any]:
    """``model.model_kwargs`` with the family's defaults; one that it does not know is an error."""
    for name, value in given.items():
        if name not in family.kwargs or type(value) is not type(family.kwargs[name]):
            known = ", ".join(f"{key} ({type(default).__name__})" for key, default in family.kwargs.items())
            raise JobError(f"model.model_kwargs: {name}: {value!r} means nothing to {family.name}.", f"It knows {known or 'none'}.")
    settings = {**family.kwargs, **given}
    family.check_settings(settings)
    return settings


def load_parts(family: ModelFamily, names: tuple[str, ...], device: torch.device, dtype: torch.dtype) -> Generator[Event, None, None]:
    """Load the named parts of the pipeline onto ``device``, quantized where the job says so; those already there are only moved."""
    for name in names:
        if getattr(family.pipe, name, None) is None:
            part = yield from _load_part(family, name, device, dtype)
            if share := source_of(family, name).offload:
                yield from _offload(part, share, device)
            family.pipe.register_modules(**{name: part})
        getattr(family.pipe, name).to(device)


def _offload(part: torch.nn.Module, share: float, device: torch.device) -> Iterator[Event]:
    if device.type == "cpu":
        yield Warned(message="model.layer_offloading has no effect on a processor: the weights are in its memory anyway.")
    else:
        offload(part, share, device)


def _load_part(family: ModelFamily, name: str, device: torch.device, dtype: torch.dtype) -> Generator[Event, None, torch.nn.Module]:
    kind, source = _class_of(family, family.folder, name), source_of(family, name)
    if (plan := source.quantization) is None:
        return _read(kind, source, name, dtype, type(family))
    part = yield from _load_quantized(family, name, kind, source, plan, device, dtype)
    if source.recovery:
        Beside(part, recovering(part, name, source.recovery, type(family)), source.recovery.name)
    return part


def _load_quantized(
    family: ModelFamily, name: str, kind: Any, source: Source, plan: Quantization, device: torch.device, dtype: torch.dtype
) -> Generator[Event, None, torch.nn.Module]:
    if source.recovery and dtype != torch.bfloat16:
        yield Warned(
            message="Accuracy recovery adapters were made for weights that were in bf16 before they were quantized; here they are not.",
            hint="Set model.dtype to bf16: then the adapter makes up for the very errors that it was trained on.",
        )
    key = {"part": fingerprint(family, (name,)), "dtype": dtype, "class": kind.__qualname__}
    folder = place_of_part(load_settings().folder("cache"), **key)
    rest = torch.device("cpu") if source.offload else None  # what is to be streamed to the device must not be there all at once before
    try:
        if kept := restore_part(folder, lambda: empty_part(kind, source), plan.kind, rest or device):
            return kept
    except JobError:
        raise
    except Exception as error:  # whatever a damaged file makes the libraries raise
        yield Warned(
            message=f"The quantized {name} in the cache is damaged ({str(error)[:100]}).",
            hint="It is made again; nothing else is lost.",
        )
    part = _read(kind, source, name, dtype, type(family))
    if source.recovery:  # what it does not say stays as it was
        plan = replace(plan, include=tuple(recovering(part, name, source.recovery, type(family))))
    failed = False
    for event in quantize(part, plan, device, name, rest):
        failed = failed or isinstance(event, Warned)
        yield event
    part.to(rest or device)
    if not failed:  # what failed is tried again, and told again, at the next start
        try:
            keep_part(folder, part, plan.kind)
        except OSError as error:
            yield Warned(
                message=f"The quantized {name} could not be kept for the next start: {error.strerror or error}.",
                hint="Free some space on the disk of the cache.",
            )
    return part


def _read(kind: Any, source: Source, name: str, dtype: torch.dtype, family: type[ModelFamily]) -> torch.nn.Module:
    try:
        part = read_part(kind, source, dtype).eval().requires_grad_(False)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise JobError(
            f"{name} of the base model in {source.file or source.config} cannot be loaded: {error}",
            "Its files may belong to another model, or be incomplete: download them again.",
        ) from error
    if source.lora:
        fuse_lora(part, name, source.lora, family)
    return part


def plain_part(family: ModelFamily, name: str, dtype: torch.dtype) -> torch.nn.Module:
    """A part as its files have it, on the CPU: neither quantized nor offloaded. It takes no place in the pipeline."""
    return _read(_class_of(family, family.folder, name), source_of(family, name), name, dtype, type(family))


def drop_parts(family: ModelFamily, names: tuple[str, ...], device: torch.device) -> None:
    """Forget the named parts and give their memory back."""
    family.pipe.register_modules(**dict.fromkeys(names))
    free(device)


def source_of(family: ModelFamily, name: str) -> Source:
    """Where a part comes from."""
    return family.sources.get(name) or Source(family.folder / name)


def fingerprint(family: ModelFamily, names: tuple[str, ...]) -> str:
    """Changes when a file of the named parts does, or how they are quantized: names, sizes and times of files, links followed."""
    digest = hashlib.sha256()
    for name in names:
        source = source_of(family, name)
        files = sorted(source.config.rglob("*")) if source.file is None else [source.config / "config.json", source.file]
        for file in files:
            status = file.resolve().stat()
            digest.update(f"{name}/{file.name}:{status.st_size}:{status.st_mtime_ns};".encode())
        for lora in filter(None, (source.lora, source.recovery)):
            status = lora.resolve().stat()
            digest.update(f"{lora.name}:{status.st_size}:{status.st_mtime_ns};".encode())
        if plan := source.quantization:
            digest.update(f"{plan.kind}:{plan.include}:{plan.exclude};".encode())
    return digest.hexdigest()


def _class_of(family: ModelFamily | type[ModelFamily], folder: Path, name: str) -> Any:
    parts = family.pipeline_class.load_config(folder)
    if name in family.guests and not parts.get(name, (None,))[0]:
        return getattr(transformers, family.guests[name].class_name)
    library, class_name = parts[name]
    # of classes that are in no library of models, the folder of their pipeline is said
    of_pipelines = f"diffusers.pipelines.{library}" if "." not in library else library
    return getattr(importlib.import_module(of_pipelines if importlib.util.find_spec(of_pipelines) else library), class_name)


def find_parts(model: ModelSection) -> tuple[type[ModelFamily], dict[str, tuple[Any, Source]]]:
    """The family, and those parts that can carry a LoRA: name → class and where it comes from. Loads none of them."""
    folder = find_model(model)
    family = load_family(family_name(arch_of(model), pipeline_in(folder), folder))
    sources = _sources(model, family, folder)
    names = (*family.denoiser_parts(), *family.text_lora_targets)
    return family, {name: (_class_of(family, folder, name), sources[name]) for name in names if name in sources}


def _sources(model: ModelSection, family: type[ModelFamily], folder: Path) -> dict[str, Source]:
    """Part of the pipeline → where it comes from and how it is held. What is not named comes from the base."""
    parts = (*family.text_parts, *family.vae_parts, *family.model_parts())
    found = {name: Source(folder / name) for name in parts if (folder / name).is_dir()}
    for name, guest in family.guests.items():
        if name not in found:
            found[name] = _guest(guest, own_settings(family, model.model_kwargs)[guest.setting])
    for key, named in other_places(model).items():
        place = find_place(named, key)
        denoiser, vae = family.denoiser_part, family.vae_parts[:1]
        if key == "model.vae_path" and not vae:
            raise JobError(f"{family.name} works on pixels, without an autoencoder.", "Leave out model.vae_path.")
        text = tuple(name for name in family.text_parts if name not in family.guests)
        wanted = {"model.vae_path": vae, "model.te_name_or_path": text}.get(key, (denoiser,))
        path = fetch_place(place, wanted[-1], model.revision if key == "model.name_or_path" else None)
        if path.is_file() and key == "model.name_or_path" and is_whole(path):
            found |= {name: Source(folder / name, path) for name in (denoiser, *vae, *family.text_parts)}
            continue
        chosen = {name: source for name in wanted if (source := _source_in(path, name, folder, family))}
        if not chosen:
            raise JobError(f"{key}: {named} has no {wanted[-1]} for {family.name}.", "Check that it belongs to this family.")
        found |= chosen
    lora = fetch_lora(model.lora_path, "model.lora_path") if model.lora_path else None
    recovery = fetch_lora(adapter, "model.accuracy_recovery_adapter") if (adapter := recovery_of(model)) else None
    recovered = dict.fromkeys(family.denoiser_parts(), recovery)
    fused = dict.fromkeys((*family.denoiser_parts(), *family.text_parts), lora)
    plans = {**dict.fromkeys(family.model_parts(), _plan(model, False)), **dict.fromkeys(family.text_parts, _plan(model, True))}
    away = dict.fromkeys(family.model_parts(), model.layer_offloading_transformer_percent if model.layer_offloading else 0.0)
    return {
        name: Source(source.config, source.file, plans.get(name), fused.get(name), recovered.get(name), away.get(name, 0.0))
        for name, source in found.items()
    }


def _guest(guest: Guest, named: str) -> Source:
    key = f"model.model_kwargs.{guest.setting}"
    path = fetch_place(find_place(named, key), ".")
    if not (path / "config.json").is_file():
        raise JobError(f"{key}: {named} is no model folder: it has no config.json.", "Give its folder, or its hub id.")
    return Source(path)


def _source_in(path: Path, name: str, folder: Path, family: type[ModelFamily]) -> Source | None:
    """The part in a place, if it is there and is the part that is meant: text encoders are told apart by what they are."""
    kind = _class_of(family, folder, name)
    if path.is_file():
        source = Source(folder / name, path)
        return source if name not in family.text_parts or fits(kind, source) else None
    config = part_folder(path, name)
    if config is None or (config == path and name in family.text_parts and not fits(kind, Source(config), like=folder / name)):
        return None
    return Source(config)


def _plan(model: ModelSection, text: bool) -> Quantization | None:
    if text:
        wanted = model.quantize if model.quantize_te is None else model.quantize_te
        return Quantization(model.qtype_te, low_vram=model.low_vram) if wanted else None
    chosen = model.quantize_kwargs
    return Quantization(model.qtype, tuple(chosen.include), tuple(chosen.exclude), model.low_vram) if model.quantize else None

"""AI Toolkit's jobs as ours: its wrapper is taken off, old names get their new ones, and what is not taken over is said.

Sections that need more than a few lines have modules of their own; ``compat_sections`` reads what is alike in all of them, and the keys that
need no more than a word are in ``compat_keys``. Written for its version 0.12.26.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from ..errors import JobError
from ..events import Warned
from . import compat_keys as keys
from .base import SampleSettings
from .compat_adapters import read_adapter
from .compat_data import read_dataset
from .compat_extract import read_extract
from .compat_networks import read_network
from .compat_objectives import read_captions, read_objectives
from .compat_optimizers import read_optimizer, read_schedule
from .compat_pairs import read_opposites, read_pairs
from .compat_prompts import split_flags
from .compat_sections import Section, as_section, given_in, read_section
from .compat_vae import read_vae
from .compat_validation import read_validation
from .compat_words import read_words
from .train import Slider

TEXT_BITS = {8: "int8", 4: "nf4"}
"""Bits → the qtype_te of the same library."""


def is_wrapped(data: Mapping[str, Any]) -> bool:
    """Whether it is AI Toolkit's form: job, and config with its processes."""
    return isinstance(data.get("config"), Mapping) and "kind" not in data


def unwrap(data: Mapping[str, Any], name: str | None = None) -> tuple[dict[str, Any], list[Warned]]:
    """Our form of the job, and notes on what of it could not be taken over. ``name`` takes the place of its own.

    A job that is in our form already comes back as it is.
    """
    if not is_wrapped(data):
        return {**data, **({"name": name} if name is not None else {})}, []
    config = data["config"]
    name = name or config.get("name")
    if not name:
        raise JobError("config.name is missing.", "Give the run a name there, or with --name.")
    process, kind = _only_process(data.get("job", "extension"), config.get("process"))
    reader = _Reader(str(name), kind)
    if isinstance(meta := data.get("meta"), Mapping) and set(meta) - {"name", "version"}:
        reader.note("meta is not written into the files yet.")
    if data.get("job") == "extract":
        return read_extract(_filled(config, str(name)), str(name), reader.note), reader.notes
    if data.get("job") == "train" and kind == "vae":
        return read_vae(_filled(process, str(name)), str(name), reader.note), reader.notes
    return reader.job(_filled(process, str(name)))


def _only_process(job: Any, processes: Any) -> tuple[Section, str]:
    """The one process, and its type."""
    if not isinstance(processes, list) or not processes or not isinstance(processes[0], Mapping):
        raise JobError("config.process has no job in it.", "It is a list with one entry that has a type.")
    if len(processes) > 1:
        raise JobError(f"config.process has {len(processes)} entries.", "Put each into a file of its own, and give all files to run.")
    kind = processes[0].get("type")
    if job != "extract" and (job, kind) != ("train", "vae") and (job not in ("extension", "train") or kind not in keys.TRAINERS):
        raise JobError(f"Jobs of the type {job}/{kind} are not supported yet.", f"Supported are {', '.join(keys.TRAINERS)}.")
    return {key: value for key, value in processes[0].items() if key != "type"}, str(kind)


def _filled(value: Any, name: str) -> Any:
    """The value with [name] and ${VARIABLES} filled in, everywhere in it."""
    if isinstance(value, Mapping):
        return {key: _filled(inner, name) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, name) for inner in value]
    if isinstance(value, str):
        return re.sub(r"\$\{(\w+)\}", _variable, value.replace("[name]", name))
    return value


def _variable(match: re.Match[str]) -> str:
    if match[1] not in os.environ:
        raise JobError(f"The job asks for the environment variable {match[1]}, which is not set.", "Set it, or write the value itself.")
    return os.environ[match[1]]


class _Reader:
    """Reads one job, section by section, and collects the notes."""

    def __init__(self, name: str, kind: str):
        self.name, self.kind = name, kind
        self.notes: list[Warned] = []
        self.idle: list[str] = []

    def job(self, process: Section) -> tuple[dict[str, Any], list[Warned]]:
        parts = {part: process.pop(part, None) or {} for part in ("model", "train", "sample", "save", "logging")}
        network, adapter, datasets = process.pop("network", None), process.pop("adapter", None), process.pop("datasets", None) or []
        job: dict[str, Any] = {"name": self.name, "trigger_word": process.pop("trigger_word", None)}
        seed = process.pop("training_seed", None)
        logging = {key: value for key in ("log_dir", "performance_log_every") if (value := process.pop(key, None))}
        words = read_words(process, self.note)
        job |= words
        trigger = job["trigger_word"] or words.get("embedding", {}).get("trigger")
        slider = given_in(as_section(process.pop("slider", None) or {}, "slider"))
        first = process.pop("first_sample", None)
        if replacements := process.pop("replacements", None):
            job["replacements"] = replacements
        self.section("process", process, "")
        train, sample = as_section(parts["train"], "train"), as_section(parts["sample"], "sample")
        if self.kind == keys.PAIRS:
            job["pair_slider"], datasets = read_pairs(slider, train, self.note)
        elif slider:
            job["slider"] = {key: value for key, value in slider.items() if key in Slider.model_fields}
            self.idle += [f"slider.{key}" for key in slider if key not in Slider.model_fields]
        if not train.pop("disable_sampling", False):
            sample.setdefault("skip_first_sample", train.pop("skip_first_sample", False))
        else:
            train.pop("skip_first_sample", None)
            sample |= {"sample_every": None, "skip_first_sample": True}
        if (again := train.pop("force_first_sample", None)) is not None:
            sample.setdefault("force_first_sample", again)
        job["model"] = self.model(as_section(parts["model"], "model"))
        arch = job["model"].get("arch")
        if adapter:
            job["adapter"] = read_adapter(as_section(adapter, "adapter"), train, sample, lambda given: self.network(given, arch), self.note)
            if network:
                self.note("network is left out: here an adapter is trained alone.", "Make two jobs of it.")
        untrained = train.get("train_unet", True) is False and not train.get("train_text_encoder", False)
        alone = adapter or (words and (untrained or not network))
        job["network"] = {"type": "none"} if alone else self.network(network, arch)
        if alone:
            train.pop("train_unet", None)
        datasets = read_captions(train, [as_section(one, "datasets") for one in datasets], self.note)
        if (opposites := read_opposites(datasets, self.note)) and not job.get("pair_slider"):
            job["pair_slider"] = opposites
        job["datasets"] = [read_dataset(one, index, trigger, self.note, self.idle.append) for index, one in enumerate(datasets)]
        job["validation"] = read_validation(train.pop("validation_config", None), self.note)
        job["train"] = self.train(train | ({"seed": seed} if seed is not None else {}), job["model"].get("arch"), "embedding" in words)
        job["sample"] = self.sample(sample)
        if first:
            own = self.sample(as_section(first, "first_sample"))
            job["first_sample"] = {key: value for key, value in own.items() if key in SampleSettings.model_fields}
        job["save"] = self.save(
            as_section(parts["save"], "save"), whole=job["network"]["type"] == "full" or job["train"].get("merge_network_on_save", False)
        )
        job["logging"] = self.section("logging", given_in(as_section(parts["logging"], "logging")) | logging, "logging.")
        if self.idle:
            self.note(f"These keys have no effect here: {', '.join(self.idle)}.", "Darkroom decides them by itself.")
        return {key: value for key, value in job.items() if value is not None}, self.notes

    def note(self, message: str, hint: str = "") -> None:
        self.notes.append(Warned(message=message, hint=hint))

    def section(self, kind: str, given: Section, prefix: str) -> Section:
        return read_section(kind, given, prefix, self.note, self.idle.append)

    def network(self, given: Section | None, arch: str | None) -> Section:
        return read_network(given, arch, self.note, self.idle.append)

    def model(self, given: Section) -> Section:
        for old, arch in keys.ARCHS.items():
            if given.pop(old, False):
                given.setdefault("arch", arch)
        if given.get("extras_name_or_path") == given.get("name_or_path"):
            given.pop("extras_name_or_path", None)
        given.pop("dtype", None)  # it takes train.dtype instead
        if extra := dict(given.get("model_kwargs") or {}):
            if not str(given.get("arch", "")).startswith(keys.OWN_SIZES) and extra.pop("match_target_res", None) is not None:
                self.note("model.model_kwargs.match_target_res has no effect: reference pictures are cut to the size of what is drawn.")
            for key in sorted(keys.MODEL_KWARGS & extra.keys()):
                if extra.pop(key):
                    self.note(f"model.model_kwargs.{key} is not supported yet and is left out: the result will differ.")
            given["model_kwargs"] = extra
        if any([given.pop("block_compile", False), given.pop("compile", False)]):
            given["compile"] = "blocks"
        if given.pop("auto_memory", False):  # its older name
            given.setdefault("layer_offloading", True)
        self.text_bits(given)
        for key, kind in (("quantize", "qtype"), ("quantize_te", "qtype_te")):
            if not given.get(key, given.get("quantize")):
                given.pop(kind, None)  # its app writes kinds of its own there, or nothing
        return given_in(self.section("model", given, "model."))

    def text_bits(self, given: Section) -> None:
        """Its older way to hold the text encoders in few bits, by bitsandbytes."""
        bits = given.pop("text_encoder_bits", None) or 16
        if bits not in TEXT_BITS:
            if bits != 16:
                self.note(f"model.text_encoder_bits {bits} is left out: it is 16, 8 or 4.")
            return
        if given.get("quantize_te"):
            return self.note("model.text_encoder_bits is left out: quantize_te and qtype_te say how the text encoders are held.")
        given |= {"quantize_te": True, "qtype_te": TEXT_BITS[bits]}
        self.note(f"model.text_encoder_bits {bits} is quantize_te with qtype_te {TEXT_BITS[bits]} here, for all text encoders.")

    def train(self, given: Section, arch: str | None, has_word: bool = False) -> Section:
        given = {**keys.DEFAULTS["train"], **read_objectives(given_in(given), self.note)}
        read_optimizer(given, self.note)
        counts = [given.pop(key, 1) for key in ("gradient_accumulation", "gradient_accumulation_steps")]
        given["gradient_accumulation"] = counts[0] if counts[0] != 1 else counts[1]
        if average := given.pop("ema_config", None):
            average = {**keys.DEFAULTS["ema"], **given_in(as_section(average, "train.ema_config"))}
            given["ema_config"] = self.section("ema", average, "train.ema_config.")
        read_schedule(given, self.note)
        if not given.get("train_text_encoder"):
            given.pop("text_encoder_lr", None)  # its app always writes one
        if not has_word:
            given.pop("embedding_lr", None)
        if given.pop("unload_text_encoder", False):
            self.note("train.unload_text_encoder makes AI Toolkit train with the trigger words alone; here the captions are used.")
        # its app always writes one; of these families, Flex is always trained so
        if (arch or "").split(":")[0] not in ("flux", "flux_schnell", "flux_kontext"):
            given.pop("bypass_guidance_embedding", None)
        if given.get("max_denoising_steps") == 1000:
            del given["max_denoising_steps"]
        return self.section("train", given, "train.")

    def sample(self, given: Section) -> Section:
        given = {**keys.DEFAULTS["sample"], **{key: value for key, value in given.items() if value is not None or key == "sample_every"}}
        if not given["sample_every"]:
            given["sample_every"] = None
        if not given.get("neg"):
            given.pop("neg", None)
        items, prompts = given.pop("samples", None) or [], given.pop("prompts", None) or []
        entries = [as_section(item, "sample.samples") for item in items] or [{"prompt": str(prompt)} for prompt in prompts]
        entries = [self.item(entry, index) for index, entry in enumerate(entries)]
        if any(set(entry) != {"prompt"} for entry in entries):
            given["samples"] = entries
        else:
            given["prompts"] = [entry["prompt"] for entry in entries]
        return self.section("sample", given, "sample.")

    def item(self, given: Section, index: int) -> Section:
        prompt, flags, strange = split_flags(str(given.get("prompt") or ""))
        if strange:
            self.note(f"sample prompt {index + 1} has {' '.join(f'--{flag}' for flag in strange)}, not supported yet: left out.")
        given = {**given_in(given), **flags, "prompt": prompt}
        if not given.get("neg"):
            given.pop("neg", None)
        return self.section("item", given, f"sample.samples[{index}].")

    def save(self, given: Section, whole: bool = False) -> Section:
        """``whole``: models are saved, which are folders here."""
        if given.get("save_format") == "safetensors" and whole:
            self.note("save.save_format safetensors is left out: here whole models are saved as folders in diffusers layout.")
        never = "save_every" in given and not given["save_every"]
        given = {**keys.DEFAULTS["save"], **given_in(given)}
        if never:
            given["save_every"] = None
        if given["max_step_saves_to_keep"] == 0:
            given["max_step_saves_to_keep"] = 10000
            self.note(
                "save.max_step_saves_to_keep: with 0 AI Toolkit keeps all checkpoints, and so does this job.",
                "In a Darkroom job, 0 keeps only the final one.",
            )
        return self.section("save", given, "save.")

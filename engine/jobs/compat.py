"""AI Toolkit's jobs as ours: its wrapper is taken off, old names get their new ones, and what is not taken over is said.

The keys that need no more than a word are in ``compat_keys``. Written for its version 0.12.26.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices

from ..errors import JobError
from ..events import Warned
from . import compat_keys as keys
from .base import SampleItem, SampleSettings, Strict
from .compat_adapters import read_adapter
from .compat_extract import read_extract
from .compat_objectives import check_unwise, read_captions, read_objectives
from .compat_pairs import read_opposites, read_pairs
from .compat_prompts import split_flags
from .compat_vae import read_vae
from .compat_validation import read_validation
from .compat_words import read_words
from .data import Dataset
from .networks import Adapter, Dora, Lokr, Lora
from .train import Ema, Logging, Sample, Save, Slider, Train, TrainModel

OURS: dict[str, tuple[type[Strict], ...]] = {
    "process": (), "model": (TrainModel,), "network": (Lora, Lokr, Dora), "train": (Train,), "ema": (Ema,), "save": (Save,),
    "sample": (Sample,), "item": (SampleItem,), "dataset": (Dataset,), "logging": (Logging,),
}  # fmt: skip
"""Section of its file → the models whose keys are passed on as they are."""
Section = dict[str, Any]
TEXT_BITS = {8: "int8", 4: "nf4"}
"""Bits → the qtype_te of the same library."""
_ADAPTERS: dict[str, type[Adapter]] = {"lora": Lora, "lokr": Lokr, "dora": Dora}


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
        slider = _given(_section(process.pop("slider", None) or {}, "slider"))
        first = process.pop("first_sample", None)
        if replacements := process.pop("replacements", None):
            job["replacements"] = replacements
        self.section("process", process, "")
        train, sample = _section(parts["train"], "train"), _section(parts["sample"], "sample")
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
        job["model"] = self.model(_section(parts["model"], "model"))
        arch = job["model"].get("arch")
        if adapter:
            job["adapter"] = read_adapter(_section(adapter, "adapter"), train, sample, lambda given: self.network(given, arch), self.note)
            if network:
                self.note("network is left out: here an adapter is trained alone.", "Make two jobs of it.")
        untrained = train.get("train_unet", True) is False and not train.get("train_text_encoder", False)
        alone = adapter or (words and (untrained or not network))
        job["network"] = {"type": "none"} if alone else self.network(network, arch)
        if alone:
            train.pop("train_unet", None)
        datasets = read_captions(train, [_section(one, "datasets") for one in datasets], self.note)
        if (opposites := read_opposites(datasets, self.note)) and not job.get("pair_slider"):
            job["pair_slider"] = opposites
        job["datasets"] = [self.dataset(one, i, trigger) for i, one in enumerate(datasets)]
        job["validation"] = read_validation(train.pop("validation_config", None), self.note)
        job["train"] = self.train(train | ({"seed": seed} if seed is not None else {}), job["model"].get("arch"), "embedding" in words)
        job["sample"] = self.sample(sample)
        if first:
            own = self.sample(_section(first, "first_sample"))
            job["first_sample"] = {key: value for key, value in own.items() if key in SampleSettings.model_fields}
        job["save"] = self.save(_section(parts["save"], "save"), whole=job["network"]["type"] == "full" or job["train"].get("merge_network_on_save", False))
        job["logging"] = self.section("logging", _given(_section(parts["logging"], "logging")) | logging, "logging.")
        if self.idle:
            self.note(f"These keys have no effect here: {', '.join(self.idle)}.", "Darkroom decides them by itself.")
        return {key: value for key, value in job.items() if value is not None}, self.notes

    def note(self, message: str, hint: str = "") -> None:
        self.notes.append(Warned(message=message, hint=hint))

    def section(self, kind: str, given: Section, prefix: str) -> Section:
        """What both vocabularies have; of the rest it is said what becomes of it."""
        kept: Section = {}
        for key, value in given.items():
            path = f"{prefix}{key}"
            if key in _names(kind):
                kept[key] = value
            elif value is None or check_unwise(kind, key, value, path):
                continue
            elif key in keys.NO_EFFECT[kind]:
                self.idle.append(path)
            elif key in keys.LATER[kind]:
                if not _changes_nothing(value, keys.LATER[kind][key]):
                    self.note(f"{path} is not supported yet and is left out: {keys.COSTS.get(key, 'the result will differ')}.")
            elif key in keys.REFUSED[kind]:
                neutral, what = keys.REFUSED[kind][key]
                if not _changes_nothing(value, neutral):
                    raise JobError(f"{path} asks for {what}, which is not supported yet.", "Take it out to train without.")
            else:
                self.note(f"{path} is not a known key and is left out.", "Check its spelling.")
        return kept

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
        return _given(self.section("model", given, "model."))

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

    def network(self, given: Section | None, arch: str | None) -> Section:
        if not given:
            return {"type": "full"}
        given = _given(_section(given, "network"))
        extra = given.pop("network_kwargs", None) or {}
        kept: Section = {"type": str(given.pop("type", "lora")).lower()}
        rank, alpha = given.pop("linear", 4), given.pop("alpha", 1.0)
        kept["rank"] = given.pop("rank", rank)  # with both given, it takes rank
        alpha = given.pop("linear_alpha", alpha)
        if (arch or "").split(":")[0] in keys.SCALED:
            given.pop("transformer_only", None)  # it is asked for transformers alone there
            kept["alpha"] = alpha
            if "conv" in given:
                kept |= {key: given.pop(key) for key in ("conv", "conv_alpha") if key in given}
        elif alpha not in (1.0, kept["rank"]):
            self.note("network.linear_alpha is ignored for this family by AI Toolkit, and here too.", "In a Darkroom job, alpha counts.")
        for key in ("only_if_contains", "ignore_if_contains"):
            if patterns := extra.pop(key, None):  # it matches "transformer." and the name; ours is the name alone
                kept[key] = [str(pattern).removeprefix("transformer.") for pattern in patterns]
        kept |= {key: value for key in ("rank_dropout", "module_dropout") if (value := extra.pop(key, None))}
        for key, value in extra.items():
            if value:
                self.note(f"network.network_kwargs.{key} is not supported yet and is left out: the result will differ.")
        if kept["type"] == "lokr" and given.get("lokr_full_rank", True):
            kept = {key: value for key, value in kept.items() if key not in ("rank", "alpha", "conv_alpha")}  # its factors are whole
        has = _ADAPTERS.get(kept["type"], Lora).model_fields.keys() - {"conv", "conv_alpha"}  # elsewhere there are no such layers
        self.idle += [f"network.{key}" for key in given if key in _names("network") - has]
        return kept | self.section("network", {key: value for key, value in given.items() if key not in _names("network") - has}, "network.")

    def dataset(self, given: Section, index: int, trigger: str | None) -> Section:
        given = {**keys.DEFAULTS["dataset"], **_given(given)}
        folder = given.pop("folder_path", None) or given.pop("dataset_path", None)
        if folder is not None:
            given["path"] = folder
        self.controls(given, index)
        self.sizes(given, index)
        self.videos(given, index)
        ending = str(given.pop("caption_type", None) or given.get("caption_ext", "txt"))
        given["caption_ext"] = f".{ending.removeprefix('.')}"
        trigger = given.get("trigger_word") or trigger
        if not given.get("default_caption"):
            given.pop("default_caption", None)
            if trigger:
                given["default_caption"] = "[trigger]"
        if trigger and index == 0:
            self.note(
                "AI Toolkit puts the trigger words before every caption that lacks them; here captions stay as they are.",
                "Write [trigger] into the captions, where the trigger words belong.",
            )
        return self.section("dataset", given, f"datasets[{index}].")

    def controls(self, given: Section, index: int) -> None:
        """Its app writes each folder under a number of its own. They come one after the other, and instead of control_path."""
        plain = given.pop("control_path", None) or []
        numbered = [given.pop(f"control_path_{number}", None) for number in (1, 2, 3)]
        folders = [folder for folder in numbered if folder] or plain
        if any(numbered) and plain and plain not in (folders, folders[0]):
            self.note(f"datasets[{index}].control_path is left out: control_path_1 to 3 take its place, as in AI Toolkit.")
        if any(numbered) and not all(numbered[: len(folders)]):
            self.note(f"datasets[{index}] leaves out a number between control_path_1 and 3: the folders that are given follow one another.")
        if folders:
            given["control_path"] = folders if isinstance(folders, list) else [folders]
        made = given.pop("controls", None) or []
        made = made if isinstance(made, list) else [made]
        given["controls"] = [kind for kind in made if kind in keys.CONTROLS]
        for kind in dict.fromkeys(map(str, made)):
            if kind not in keys.CONTROLS | keys.SUBJECTS.keys():
                raise JobError(f"datasets[{index}].controls asks for {kind}, which is not supported yet.", "Take it out to train without.")
            if kind in keys.SUBJECTS and not given.get(keys.SUBJECTS[kind][1]):  # a folder that is given counts
                key = keys.SUBJECTS[kind][0]
                given[key] = ["a person"]
                self.note(f"datasets[{index}].controls: {kind} looks for a person here.", f"Set {key} to what is in the pictures.")

    def sizes(self, given: Section, index: int) -> None:
        """buckets: false are squares there, and squares are enlarged to the resolution; its zoom works on them alone."""
        squares = given.pop("buckets", True) is False or given.get("square_crop", False)
        if squares:
            given |= {"square_crop": True, "upscale": True}
        if not (squares and given.get("random_crop")) and given.pop("random_scale", False):
            self.idle.append(f"datasets[{index}].random_scale")

    def videos(self, given: Section, index: int) -> None:
        """One frame means pictures alone there. Its automatic number knows no limit, and its rate is 24 unless one is given."""
        auto = given.get("auto_frame_count", False)
        several = auto or given.get("num_frames", 1) > 1
        at_a_rate = auto or not given.get("shrink_video_to_frames", True)
        if several and at_a_rate:
            given.setdefault("fps", 24)
        without = {
            "num_frames": auto or not several, "fps": not several or not at_a_rate, "shrink_video_to_frames": auto or not several,
            "trim_auto_frame_count_tail": not auto, "auto_frame_count": not several, "do_i2v": not several,
        }  # fmt: skip
        for key in (key for key, left_out in without.items() if left_out and key in given):
            if given.pop(key) not in (False, 1, True) or (several and key == "num_frames"):
                self.idle.append(f"datasets[{index}].{key}")

    def train(self, given: Section, arch: str | None, has_word: bool = False) -> Section:
        given = {**keys.DEFAULTS["train"], **read_objectives(_given(given), self.note)}
        self.optimizer(given)
        counts = [given.pop(key, 1) for key in ("gradient_accumulation", "gradient_accumulation_steps")]
        given["gradient_accumulation"] = counts[0] if counts[0] != 1 else counts[1]
        if average := given.pop("ema_config", None):
            average = {**keys.DEFAULTS["ema"], **_given(_section(average, "train.ema_config"))}
            given["ema_config"] = self.section("ema", average, "train.ema_config.")
        self.schedule(given)
        if not given.get("train_text_encoder"):
            given.pop("text_encoder_lr", None)  # its app always writes one
        if not has_word:
            given.pop("embedding_lr", None)
        if given.pop("unload_text_encoder", False):
            self.note("train.unload_text_encoder makes AI Toolkit train with the trigger words alone; here the captions are used.")
        if (arch or "").split(":")[0] not in ("flux", "flux_schnell", "flux_kontext"):  # its app always writes one; of these families, Flex is always trained so
            given.pop("bypass_guidance_embedding", None)
        if given.get("max_denoising_steps") == 1000:
            del given["max_denoising_steps"]
        return self.section("train", given, "train.")

    def optimizer(self, given: Section) -> None:
        name = str(given["optimizer"]).lower()
        if name in keys.OPTIMIZERS_REFUSED:
            raise JobError(f"train.optimizer {name} is an experiment of AI Toolkit, which is not here.", "Choose automagic or adamw.")
        if name.startswith("dadaptation") and name.endswith("adam"):
            self.note("dadaptationadam is built as D-Adapt Lion by AI Toolkit; here it is D-Adapt Adam.", "Write dadaptlion for what it did.")
        if name.startswith("prodigy8bit"):
            name = "prodigy8bit"
        elif name.startswith("prodigy") and "schedule" not in name:
            name = "prodigy"  # it looks at the beginning alone
        given["optimizer"] = name

    def schedule(self, given: Section) -> None:
        further = dict(_given(given.pop("lr_scheduler_params", None) or {}))
        further.pop("total_iters", None)
        steps, name = given.get("steps", keys.DEFAULTS["train"]["steps"]), given.get("lr_scheduler")
        if name == "cosine" and further.pop("T_max", steps) != steps:
            self.note("train.lr_scheduler_params.T_max is left out: here cosine falls over all steps.")
        if name == "cosine_with_restarts":
            further["num_cycles"] = max(1, round(steps / further.pop("T_0", steps)))  # its period is all steps unless it is given
        if further.pop("eta_min", 0):
            self.note("train.lr_scheduler_params.eta_min is left out: here the learning rate falls to nothing.")
        warmup = further.pop("num_warmup_steps", 1000 if given.get("lr_scheduler") == "constant_with_warmup" else 0)
        given.setdefault("lr_warmup_steps", warmup)
        if given.get("lr_scheduler") == "linear":
            self.note("train.lr_scheduler linear lets the learning rate rise in AI Toolkit; here it falls to nothing.", "Set constant to avoid both.")
        if further:
            given["lr_scheduler_params"] = further

    def sample(self, given: Section) -> Section:
        given = {**keys.DEFAULTS["sample"], **{key: value for key, value in given.items() if value is not None or key == "sample_every"}}
        if not given["sample_every"]:
            given["sample_every"] = None
        if not given.get("neg"):
            given.pop("neg", None)
        items, prompts = given.pop("samples", None) or [], given.pop("prompts", None) or []
        entries = [_section(item, "sample.samples") for item in items] or [{"prompt": str(prompt)} for prompt in prompts]
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
        given = {**_given(given), **flags, "prompt": prompt}
        if not given.get("neg"):
            given.pop("neg", None)
        return self.section("item", given, f"sample.samples[{index}].")

    def save(self, given: Section, whole: bool = False) -> Section:
        """``whole``: models are saved, which are folders here."""
        if given.get("save_format") == "safetensors" and whole:
            self.note("save.save_format safetensors is left out: here whole models are saved as folders in diffusers layout.")
        never = "save_every" in given and not given["save_every"]
        given = {**keys.DEFAULTS["save"], **_given(given)}
        if never:
            given["save_every"] = None
        if given["max_step_saves_to_keep"] == 0:
            given["max_step_saves_to_keep"] = 10000
            self.note("save.max_step_saves_to_keep: with 0 AI Toolkit keeps all checkpoints, and so does this job.", "In a Darkroom job, 0 keeps only the final one.")
        return self.section("save", given, "save.")


def _names(kind: str) -> set[str]:
    names: set[str] = set()
    for model in OURS[kind]:
        for name, field in model.model_fields.items():
            aliases = field.validation_alias
            names |= {name, *(map(str, aliases.choices) if isinstance(aliases, AliasChoices) else ())}
    return names


def _section(value: Any, path: str) -> Section:
    if not isinstance(value, Mapping):
        raise JobError(f"{path} must be a section of keys; it is {value!r}.", "Compare it with AI Toolkit's examples.")
    return dict(value)


def _given(section: Mapping[str, Any]) -> Section:
    """Without the keys that are left empty."""
    return {key: value for key, value in section.items() if value is not None}


def _changes_nothing(value: Any, neutral: Any) -> bool:
    return value == neutral or (not value and not neutral)

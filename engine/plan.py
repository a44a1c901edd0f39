"""How much memory a training takes, phase by phase, reckoned before anything is loaded or downloaded.

The denoiser is built from its configuration on torch's meta device, which has shapes and no values: so its weights and what is trained
are counted, not guessed. Activations are an estimate (see ``_activations``); the sums are meant to be right within a fifth.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch import nn

from .data.files.clips import MOST_FRAMES
from .errors import JobError
from .families.base import ModelFamily
from .families.catalog import (
    base_of,
    defaults_of,
    family_name,
    load_family,
    locate,
    pipeline_in,
    reference_size_of,
)
from .families.reference_sizes import MILLION
from .jobs import Full, ModelSection, Nothing, TrainJob
from .network.adapter import find_targets
from .network.attach import attach
from .network.full import FullNetwork
from .network.guides.making import guide_size
from .network.reader import read_header
from .network.sizes import choose_layers, sizes_of
from .runtime.offload import blocks_away
from .training.optimizers import OPTIMIZERS

CONFIGS = Path(__file__).parent / "families" / "configs"
BYTES = {
    "fp32": 4.0, "bf16": 2.0, "fp16": 2.0, "qfloat8": 1.0, "qint8": 1.0, "int8": 1.0, "float8": 1.0, "qint4": 0.5, "nf4": 0.5, "fp4": 0.5, "qint2": 0.25,
} | {f"uint{bits}": bits / 8 + 3 / 64 for bits in range(2, 8)}  # fmt: skip
"""Of a weight."""
SCALES = 1.06
"""Quantized weights come with scales, and a few layers stay as they are."""
CARDS = (6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 80, 96, 141, 192)
"""Sizes that graphics cards have, in GB."""
CONTEXT = 1.0
"""GB that the driver and torch's allocator hold for themselves."""
DECODED = 4
"""Frames of a video that its autoencoder makes at once."""
VAE = 0.2
"""GB of an autoencoder's weights in half precision."""


@dataclass(frozen=True)
class Stage:
    """A phase of the run and what is on the card in it: (what, GB)."""

    name: str
    parts: tuple[tuple[str, float], ...]

    @property
    def gb(self) -> float:
        return sum(size for _, size in self.parts) + CONTEXT


@dataclass(frozen=True)
class Plan:
    """A reckoning."""

    stages: tuple[Stage, ...]
    parameters: int
    """Of the denoiser, or of all where there are several."""
    trained: int
    """Parameters that learn."""

    @property
    def peak(self) -> Stage:
        return max(self.stages, key=lambda stage: stage.gb)

    @property
    def card(self) -> int | None:
        """GB of the smallest usual card that it fits on; None if on none."""
        return next((size for size in CARDS if size >= self.peak.gb), None)


def plan(job: TrainJob) -> Plan:
    """The reckoning for a graphics card. JobError if the model's configuration is not known here."""
    config, folder = _config(job)
    family = load_family(family_name(job.model.arch or _family_of(job), pipeline_in(folder) if folder else None, folder))
    with torch.device("meta"):
        denoiser = _build(config, family)
        parameters = sum(weight.numel() for weight in denoiser.parameters())
        trained = _count_trained(job, family, denoiser) * len(family.trained_parts(job.model.model_kwargs))
    stages = _stages(job, family, denoiser, config, folder, parameters, trained)
    return Plan(tuple(stages), parameters * len(family.denoiser_parts()), trained)


def _count_trained(job: TrainJob, family: type[ModelFamily], denoiser: nn.Module) -> int:
    """Parameters that learn in the denoiser. Of layers of the same shape and rank, one gets an adapter and stands for all."""
    parts, settings = {family.denoiser_part: denoiser}, job.network
    if job.adapter:
        return guide_size(job.adapter, family, denoiser)
    # words and tokens of the text: some thousands; or the text encoders alone
    if isinstance(settings, Nothing) or not job.train.train_unet:
        return 0
    if isinstance(settings, Full):
        weights = FullNetwork(parts, job.model.only_if_contains, job.model.ignore_if_contains)
        return sum(weight.numel() for weight in weights.parameters())
    large = find_targets(parts, family.lora_targets if settings.transformer_only else ".*")
    sizes = sizes_of(settings, {name: large[name] for name in choose_layers(settings, large)})
    layers: defaultdict[tuple[int, torch.Size], list[nn.Module]] = defaultdict(list)
    for name, size in sizes.items():
        layer = denoiser.get_submodule(name.partition(".")[2])
        layers[size.rank, layer.weight.shape].append(layer)
    plain: dict[str, Any] = {"only_if_contains": [], "ignore_if_contains": [], "rank_pattern": {}, "alpha_pattern": {}}
    total = 0
    for (rank, _), alike in layers.items():
        alone = attach(settings.model_copy(update={**plain, "rank": rank, "conv": rank}), {"one": nn.ModuleList(alike[:1])}, ".*")
        total += len(alike) * sum(weight.numel() for weight in alone.parameters())
    return total


def _stages(
    job: TrainJob, family: type[ModelFamily], denoiser: nn.Module, config: dict, folder: Path | None, parameters: int, trained: int
) -> Iterator[Stage]:
    model, full = job.model, isinstance(job.network, Full)
    held = job.train.weights_dtype if full else "bf16" if model.dtype == "auto" else model.dtype
    side = max(_sides(job))
    text = _text_parameters(job, family, folder) * _size_of(model.qtype_te if _quantizes_text(job) else held)
    one = (parameters - _away(model, denoiser)) * _size_of(model.qtype if model.quantize else held) / 1e9 + _recovery(model, denoiser)
    weights = one * len(family.denoiser_parts())
    optimizer = OPTIMIZERS[job.train.optimizer]
    remembered = optimizer.state_bytes / (4 if optimizer.on_cards else 1)
    at_once = _largest(denoiser) if job.train.fused_backward_pass and full else trained
    learning = (at_once * BYTES[held] if full else trained * 8) / 1e9 + trained * (remembered + 4 * job.train.ema_config.use_ema) / 1e9
    made = _activations(job, denoiser, config, side)
    yield Stage("Encoding captions", (("text encoders", text),))
    yield Stage(
        "Encoding pictures",
        (("autoencoder", VAE * BYTES[held] / 2), ("activations", _of_pixels(max(side**2, min(8 * side**2, 8 * 512**2)), BYTES[held]))),
    )
    kept = (("text encoders", text),) if job.reads_in_steps else ()
    yield Stage("Training", (("model", weights), *kept, ("gradients and optimizer", learning), ("activations", made)))
    if job.sample.sample_every:
        drawn = defaults_of(model.name_or_path, family.name)
        area = (job.sample.width or drawn.width) * (job.sample.height or drawn.height)
        frames = DECODED if family.is_video and (job.sample.num_frames or drawn.num_frames) > 1 else 1
        decoding = _of_pixels(frames * area, BYTES[held]) + VAE * BYTES[held] / 2
        beside = (("model for guidance", one * len(family.drawing_parts)),) if family.drawing_parts else ()
        yield Stage("Samples", (("model", weights), *beside, *kept, ("optimizer", learning), ("decoding", decoding)))


def _largest(denoiser: nn.Module) -> int:
    """Values of its largest weight: where each makes its step by itself, no more gradients are there at once."""
    return max(weight.numel() for weight in denoiser.parameters())


def _away(model: ModelSection, denoiser: nn.Module) -> int:
    """Values of the weights that stay in the computer's memory, but for two that are on the card at a time."""
    if not model.layer_offloading:
        return 0
    blocks = blocks_away(denoiser, model.layer_offloading_transformer_percent)
    sizes = [layer.weight.numel() for block in blocks.values() for layer in block.modules() if isinstance(layer, nn.Linear)]
    return sum(sorted(sizes)[:-2])


def _recovery(model: ModelSection, denoiser: nn.Module) -> float:
    """GB of an accuracy recovery adapter: rank 16 on each linear layer in half precision, as the published ones are said to be."""
    layers = [layer for layer in denoiser.modules() if isinstance(layer, nn.Linear)] if model.accuracy_recovery_adapter else []
    return sum(layer.in_features + layer.out_features for layer in layers) * 16 * 2 / 1e9


def _activations(job: TrainJob, denoiser: nn.Module, config: dict, side: int) -> float:
    """GB kept for the backward pass, after Korthikanti et al. 2022: 34 bytes a token and feature of a block in half precision.

    With checkpointing one block has them at a time, and of the others only the input is kept. For UNets: by the pixels of the latents.
    """
    latent = (side / 8) ** 2
    if "block_out_channels" in config and "num_attention_heads" not in config:
        share = 1.0 if job.train.gradient_checkpointing else 3.0
        return job.train.batch_size * latent * config["block_out_channels"][0] * 2 * 140 * share / 1e9
    blocks = sum(len(part) for part in denoiser.children() if isinstance(part, nn.ModuleList))
    features = Counter(layer.in_features for layer in denoiser.modules() if isinstance(layer, nn.Linear)).most_common(1)[0][0]
    references = max(
        len(dataset.controls) + (dataset.num_controls_from_same_folder if dataset.control_from_same_folder else len(dataset.control_path))
        for dataset in job.datasets
    )
    shown = references * (_reference_side(job, side) / 8) ** 2
    tokens = _latent_frames(job) * (latent + shown) / 4 + (defaults_of(job.model.name_or_path, job.model.arch).max_sequence_length or 256)
    of_block, of_input = 40, 2
    each = of_input * blocks + of_block if job.train.gradient_checkpointing else of_block * blocks
    return job.train.batch_size * tokens * features * each / 1e9


def _reference_side(job: TrainJob, side: int) -> float:
    """Of a square reference picture at the largest size at which it is shown beside a picture of ``side``."""
    size_of = reference_size_of(job.model.name_or_path, job.model.arch, job.model.model_kwargs)
    if size_of is None or job.adapter or job.pair_slider:  # what an adapter is shown, and the other half of a pair, fit the picture
        return side
    return math.sqrt(math.prod(size_of(MILLION, MILLION, (side, side))))


def _latent_frames(job: TrainJob) -> int:
    """Of the longest videos, as the autoencoders of videos press them: four frames into one, but for the first."""
    longest = max(dataset.num_frames or (MOST_FRAMES if dataset.auto_frame_count else 1) for dataset in job.datasets)
    return (longest - 1) // 4 + 1


def _of_pixels(pixels: float, width: float) -> float:
    """GB that an autoencoder needs for so many pixels at once: some ten maps of 128 channels."""
    return pixels * 128 * width * 10 / 1e9


def _size_of(kind: str) -> float:
    return BYTES[kind] * (SCALES if kind not in {"fp32", "bf16", "fp16"} else 1)


def _quantizes_text(job: TrainJob) -> bool:
    return job.model.quantize if job.model.quantize_te is None else job.model.quantize_te


def _sides(job: TrainJob) -> list[int]:
    default = defaults_of(job.model.name_or_path, job.model.arch).resolution
    asked = [dataset.resolution or default for dataset in job.datasets if not dataset.buckets]
    given = [math.isqrt(width * height) for dataset in job.datasets for width, height in dataset.buckets]
    return [side for one in asked for side in ([one] if isinstance(one, int) else one)] + given


def _family_of(job: TrainJob) -> str | None:
    base = base_of(job.model.name_or_path)
    return base.family if base else None


def _config(job: TrainJob) -> tuple[dict, Path | None]:
    """The denoiser's configuration, and the model's folder if it is on this computer."""
    folder, base = locate(job.model.name_or_path), base_of(job.model.name_or_path)
    if folder:
        family = load_family(family_name(job.model.arch, pipeline_in(folder), folder))
        return json.loads((folder / family.denoiser_part / "config.json").read_text(encoding="utf-8")), folder
    facts = CONFIGS / f"{base.id}.json" if base else None
    if facts is None or not facts.is_file():
        raise JobError(
            f"The sizes of {job.model.name_or_path} are not known before it is downloaded.",
            "Give a base model from the list, or the folder of a model on this computer.",
        )
    return json.loads(facts.read_text(encoding="utf-8")), None


def _build(config: dict, family: type[ModelFamily]) -> nn.Module:
    own = getattr(family.pipeline_class, "own_classes", {})
    kind = own.get(family.denoiser_part) or getattr(diffusers, config["_class_name"])
    return kind.from_config({key: value for key, value in config.items() if not re.match("_", key)})


def _text_parameters(job: TrainJob, family: type[ModelFamily], folder: Path | None) -> float:
    """Of the text encoders, in billions: counted in their files where they are here, else as the table has them."""
    base = base_of(job.model.name_or_path)
    if folder is None:
        return base.text_parameters if base else 0.0
    files = [file for part in family.text_parts for file in (folder / part).glob("*.safetensors")]
    shapes = [entry["shape"] for file in files for entry in read_header(file)[0].values()]
    return sum(torch.Size(shape).numel() for shape in shapes) / 1e9

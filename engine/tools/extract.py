"""The extract job: a LoRA whose update is nearest to the difference of two models, layer by layer.

Both models are read one weight at a time; what is held is one difference, and the LoRA.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..control import Control, Stopped
from ..data.words import count
from ..errors import JobError
from ..events import Event, Finished, Noted, Phase, Progress, Saved, Warned
from ..families.base import ModelFamily
from ..families.sources import Source
from ..jobs import ModelSection
from ..jobs.tools.weights import ExtractJob
from ..network.adapter import find_targets
from ..network.files import write_lora
from ..network.formats import Form, check_named
from ..network.keys import dialect_of, text_path
from ..network.metadata import describe_model
from ..runs.atomic import replace_file
from ..runs.folder import RunFolder
from ..runtime.device import DTYPES, free, pick_device
from ..runtime.lazily import Weights, open_weights
from ..runtime.loading import find_parts
from ..runtime.parts import empty_part
from .lowrank import NUMBERS, low_rank
from .pair import both_models

EXPERTS = ("high_noise", "low_noise")
"""What the files of a model's two denoisers end in, in the order of the denoisers."""
_READ = {"name_or_path", "arch", "revision", "extras_name_or_path", "unet_path", "vae_path", "te_name_or_path", "model_kwargs", "dtype"}
_HINT = "Give the model that it was made from as model.name_or_path."


@dataclass(frozen=True)
class Part:
    """A part of both models."""

    name: str
    base: Weights
    tuned: Weights
    own: list[str]
    """Names of all its weights."""
    layers: dict[str, bool]
    """Name of a layer that gets a LoRA → whether it is a convolution larger than 1x1."""


@dataclass
class Sums:
    """Squares of the differences so far: of the layers, of what the LoRA lacks of them, and of all other weights."""

    layers: float = 0.0
    lacking: float = 0.0
    others: float = 0.0
    dtypes: set[torch.dtype] = field(default_factory=set)


def extract(job: ExtractJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """The LoRA gets the final name in the folder of this run."""
    try:
        yield from _extract(job, folder, control)
    except Stopped:
        yield Finished(step=0, reason="stopped")


def _extract(job: ExtractJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    yield Phase(name="Opening both models")
    if idle := [name for name in job.model.differs(*ModelSection.model_fields) if name not in _READ]:
        yield Warned(
            message=f"model.{', model.'.join(idle)} {'has' if len(idle) == 1 else 'have'} no effect: the models are compared as they are stored."
        )
    base, tuned = both_models(job)
    family, ours = find_parts(base)
    theirs = _tuned_parts(tuned)
    chosen = (*(family.denoiser_parts() if job.extract_unet else ()), *(family.text_lora_targets if job.extract_text_encoder else ()))
    form: Form = family.default_form if job.format == "auto" else job.format
    parts = [part for name in chosen if (part := _part(job, family, form, name, ours, theirs))]
    if job.conv is not None and not any(large for part in parts for large in part.layers.values()):
        yield Warned(message="conv has no effect: the model has no convolutions larger than 1x1 that can carry a LoRA.")
    for part in parts:
        check_named((_path(part.name, name) for name in part.layers), form, family.name)
    yield Phase(name="Extracting")
    tensors: dict[str, Tensor] = {}
    sums, device = Sums(), pick_device()
    done, total = 0, sum(len(part.layers) for part in parts)
    for part in parts:
        for name, large in part.layers.items():
            control.wait()
            control.check()
            tensors |= _layer(job, part, name, large, device, sums)
            done += 1
            yield Progress(done=done, total=total, what="layers")
        _others(part, sums)
    free(device)
    if not tensors:
        raise JobError(
            "The two models do not differ in any layer that a LoRA can change.",
            "Choose another model, set all_layers, or ask for more ranks.",
        )
    control.check()
    yield from _told(tensors, sums, total, [part.name for part in parts])
    for place, own in _files(folder.final_path, tensors, family, form):
        write = partial(write_lora, tensors=own, metadata=_texts(job, family, own), dtype=job.dtype, form=form, family=family.name)
        replace_file(place, write)
        yield Saved(step=0, path=Path(place.name), final=True)
    yield Finished(step=done)


def _tuned_parts(model: ModelSection) -> dict[str, tuple[Any, Source]]:
    try:
        return find_parts(model)[1]
    except JobError as error:
        raise JobError(error.message.replace("model.name_or_path", "extract_model"), error.hint) from error


def _part(
    job: ExtractJob,
    family: type[ModelFamily],
    form: Form,
    name: str,
    ours: Mapping[str, tuple[Any, Source]],
    theirs: Mapping[str, tuple[Any, Source]],
) -> Part | None:
    """A part with the layers that get a LoRA; None where both models have the very same files. A JobError if it differs in more than its values."""
    if name not in ours:
        return None
    if name not in theirs:
        raise JobError(f"{job.extract_model} has no {name}, which the base model has.", _HINT)
    (kind, source), (other_kind, other) = ours[name], theirs[name]
    if source == other:
        return None
    module = empty_part(kind, source)
    base, tuned = open_weights(kind, source), open_weights(other_kind, other)
    own = [weight for weight, _ in module.named_parameters()]
    _same_shapes(name, base, tuned, [*own, *(weight for weight, _ in empty_part(other_kind, other).named_parameters())])
    layers = _layers(job, family, form, name, module)
    return Part(
        name,
        base,
        tuned,
        own,
        {layer: large for layer, large in layers.items() if base.shapes[f"{layer}.weight"].numel() >= job.parameter_threshold},
    )


def _layers(job: ExtractJob, family: type[ModelFamily], form: Form, name: str, module: nn.Module) -> dict[str, bool]:
    is_text = name in family.text_lora_targets
    pattern = family.text_lora_targets[name] if is_text else ".*" if job.all_layers else family.lora_targets
    found = dict.fromkeys((path for path, is_large in find_targets({name: module}, pattern).items() if not is_large), False)
    if job.conv is not None and not is_text:
        every = find_targets({name: module}, ".*")
        found |= dict.fromkeys((path for path, is_large in every.items() if is_large and _has_name(path, form, family.name)), True)
    return {path.removeprefix(f"{name}."): large for path, large in found.items()}


def _has_name(path: str, form: Form, family: str) -> bool:
    """Convolutions are outside the blocks too, where not all have a name in every form."""
    try:
        check_named([path], form, family)
    except JobError:
        return False
    return True


def _same_shapes(part: str, base: Weights, tuned: Weights, names: list[str]) -> None:
    for name in names:
        one, other = base.shapes.get(name), tuned.shapes.get(name)
        if one != other:
            first, second = ("not there" if shape is None else "×".join(map(str, shape)) for shape in (one, other))
            raise JobError(f"The two models are not built alike: {part}.{name} is {first} in the base, and {second} in the other.", _HINT)


def _layer(job: ExtractJob, part: Part, name: str, large: bool, device: torch.device, sums: Sums) -> dict[str, Tensor]:
    """The tensors of a layer's LoRA; none where the models do not differ."""
    difference = _difference(part, f"{name}.weight", device, sums)
    if difference is None:
        return {}
    square = _square(difference)
    sums.layers += square
    given = job.conv if large else job.linear
    factors = low_rank(difference.flatten(1), job.mode, NUMBERS[job.mode] if given is None else given)
    if factors is None:
        sums.lacking += square
        return {}
    up, down = (factor.to(DTYPES[job.dtype]) for factor in factors)
    sums.lacking += _square(difference.flatten(1) - up.float() @ down.float())
    if not up.isfinite().all() or not down.isfinite().all():
        raise JobError(f"The difference of {part.name}.{name} is too large for {job.dtype}.", "Set dtype to bf16 or fp32.")
    path, rank, kernel = _path(part.name, name), down.shape[0], difference.shape[1:]
    return {
        f"{path}.lora_A.weight": down.reshape(rank, *kernel).cpu().contiguous(),
        f"{path}.lora_B.weight": up.reshape(-1, rank, *(1 for _ in kernel[1:])).cpu().contiguous(),
        f"{path}.alpha": torch.tensor(float(rank)),
    }


def _difference(part: Part, name: str, device: torch.device, sums: Sums) -> Tensor | None:
    """In fp32; None where the weights are the same in the coarser of the two precisions that they are stored in."""
    one, other = part.base.read(name), part.tuned.read(name)
    sums.dtypes |= {one.dtype, other.dtype}
    coarse = next((kind for kind in (torch.bfloat16, torch.float16) if kind in (one.dtype, other.dtype)), torch.float32)
    if torch.equal(one.to(coarse), other.to(coarse)):
        return None
    difference = other.to(device, torch.float32) - one.to(device, torch.float32)
    if not difference.isfinite().all():
        raise JobError(f"{part.name}.{name} has values that are no numbers.", "One of the models is damaged.")
    return difference


def _others(part: Part, sums: Sums) -> None:
    """What cannot be in the LoRA: norms, biases, and layers that were not chosen."""
    chosen = {f"{name}.weight" for name in part.layers}
    for name in part.own:
        if (
            name not in chosen
            and name in part.base.shapes
            and (difference := _difference(part, name, torch.device("cpu"), sums)) is not None
        ):
            sums.others += _square(difference)


def _square(tensor: Tensor) -> float:
    return torch.linalg.vector_norm(tensor, dtype=torch.float64 if tensor.device.type != "mps" else torch.float32).item() ** 2


def _told(tensors: Mapping[str, Tensor], sums: Sums, total: int, parts: list[str]) -> Iterator[Event]:
    found = _ranks(tensors)
    if len(sums.dtypes) > 1:
        kinds = " and ".join(sorted(str(kind).removeprefix("torch.") for kind in sums.dtypes))
        yield Warned(
            message=f"The models are stored in {kinds}: part of their difference is rounding.", hint="Compare models of the same precision."
        )
    size = f"rank {min(found)}" if len(set(found)) == 1 else f"ranks {min(found)} to {max(found)}"
    yield Noted(message=f"{len(found)} of {count(total, 'layer has', 'layers have')} a LoRA, with {size}; the others are left out.")
    error, whole = (sums.lacking / sums.layers) ** 0.5, ((sums.lacking + sums.others) / (sums.layers + sums.others)) ** 0.5
    yield Noted(message=f"Relative error of the difference over these layers: {error:.4g}.")
    if sums.others:
        yield Noted(
            message=f"Weights that are not in the LoRA (norms, biases, other layers) differ too. Relative error over all weights of {' and '.join(parts)}: {whole:.4g}."
        )


def _ranks(tensors: Mapping[str, Tensor]) -> list[int]:
    return [tensor.shape[0] for name, tensor in tensors.items() if name.endswith(".lora_A.weight")]


def _files(place: Path, tensors: dict[str, Tensor], family: type[ModelFamily], form: Form) -> Iterator[tuple[Path, dict[str, Tensor]]]:
    """One file; of two denoisers one each, where the form has no names for the second."""
    experts = family.denoiser_parts()
    if form == "diffusers" or len(experts) == 1:
        yield place, tensors
        return
    for expert, title in zip(experts, EXPERTS, strict=True):
        first = dialect_of(family.name).part
        if own := {f"{first}.{name.partition('.')[2]}": tensor for name, tensor in tensors.items() if name.split(".")[0] == expert}:
            yield place.with_stem(f"{place.stem}_{title}"), own


def _path(part: str, name: str) -> str:
    """The path that a layer has in files."""
    return f"{part}.{text_path(name)}" if part.startswith("text_encoder") else f"{part}.{name}"


def _texts(job: ExtractJob, family: type[ModelFamily], tensors: Mapping[str, Tensor]) -> dict[str, str]:
    found = Counter(_ranks(tensors))
    size = str(next(iter(found))) if len(found) == 1 else "Dynamic"
    number = NUMBERS[job.mode] if job.linear is None else job.linear
    texts = {
        **describe_model(job.name, job.model.name_or_path, family.name),
        "ss_network_dim": size,
        "ss_network_alpha": size,
        "ss_comment": f"Extracted from {Path(job.extract_model).name}: {job.mode} {number:g}",
    }
    return {key: str(value) for key, value in texts.items() if value is not None}

"""What a training cannot be, and settings that have no effect: told before anything is loaded, or as soon as the model is known."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..data.augment import MOVING, check_augmentations
from ..data.buckets import sizing_notes
from ..data.scan import Item
from ..errors import JobError
from ..events import Event, Warned
from ..families.base import ModelFamily
from ..jobs import Full, TrainJob
from .made_controls import controls_notes
from .optimizers import optimizer_notes


def check_settings(job: TrainJob, device: torch.device) -> Iterator[Event]:
    """Settings that have no effect here, and settings that contradict each other."""
    yield from sizing_notes(job.datasets)
    yield from controls_notes(job.datasets)
    yield from optimizer_notes(job, device)
    quantize_te = job.model.quantize if job.model.quantize_te is None else job.model.quantize_te
    for index, dataset in enumerate(job.datasets):
        check_augmentations(dataset.augmentations)
        if (dataset.mask_path or dataset.alpha_mask) and (moved := [one.method for one in dataset.augmentations if one.method in MOVING]):
            raise JobError(
                f"datasets[{index}] has masks, which would stay where they are while {moved[0]} moves the pictures.",
                "Leave it out of augmentations; flip_x and flip_y turn masks too.",
            )
        if isinstance(job.network, Full) and dataset.prior_reg:
            raise JobError(
                f"datasets[{index}].prior_reg asks the base model, which is not there any more where all weights are trained.",
                "Leave it out, or train a LoRA: network.type lora.",
            )
    masked = any(dataset.mask_path or dataset.alpha_mask for dataset in job.datasets)
    if job.train.inverted_mask_prior and (isinstance(job.network, Full) or not masked):
        raise JobError(
            "train.inverted_mask_prior needs masks, and a base model to ask: an adapter, not all weights.",
            "Set mask_path or alpha_mask of a data set and train a LoRA, or leave it out.",
        )
    if isinstance(job.network, Full) and job.model.quantize:
        raise JobError(
            "Quantized weights cannot be trained.", "Set model.quantize to false, or train a LoRA: network.type lora."
        )
    if job.model.layer_offloading and isinstance(job.network, Full):
        raise JobError(
            "Offloaded weights cannot be trained.", "Set model.layer_offloading to false, or train a LoRA: network.type lora."
        )
    if job.train.train_text_encoder and isinstance(job.network, Full) and quantize_te:
        raise JobError(
            "Quantized text encoders cannot be trained.", "Set model.quantize_te or train.train_text_encoder to false."
        )
    if not isinstance(job.network, Full) and (job.model.only_if_contains or job.model.ignore_if_contains):
        yield Warned(
            message="model.only_if_contains and model.ignore_if_contains choose among all weights; a LoRA is chosen by network.only_if_contains."
        )


def check_family(job: TrainJob, family: ModelFamily, items: list[Item]) -> None:
    """Raises JobError for what does not go together with the model."""
    _check_references(family, items)
    _check_text(job, family)
    _check_objective(job, family)


def _check_references(family: ModelFamily, items: list[Item]) -> None:
    counts = {len(item.controls) for item in items}
    if max(counts) > family.max_controls:
        what = f"takes {family.max_controls}" if family.max_controls else "takes no"
        raise JobError(
            f"The data has {max(counts)} reference pictures for each picture; {family.title} {what}.",
            "Leave out control_path and controls, or choose an edit model as the base.",
        )
    if min(counts) < family.min_controls:
        raise JobError(
            f"{family.title} learns from pairs, and the data has no reference pictures.",
            "Set control_path to the folder of what each picture was made from, under the same names.",
        )


def _check_text(job: TrainJob, family: ModelFamily) -> None:
    if job.train.train_text_encoder and not isinstance(job.network, Full) and not family.text_lora_targets:
        raise JobError(
            f"The text encoders of {family.title} cannot be trained with a {job.network.type}.",
            "Set train.train_text_encoder to false, or network.type to full.",
        )


def _check_objective(job: TrainJob, family: ModelFamily) -> None:
    if family.objective == "flow" and (job.train.min_snr_gamma or job.train.snr_gamma):
        raise JobError(
            f"train.min_snr_gamma and train.snr_gamma are for models that learnt to denoise; {family.title} learnt a flow.",
            "Leave them out; content_or_style and timestep_type change which noise levels count.",
        )
    if family.objective != "flow" and job.train.timestep_type == "next_sample":
        raise JobError(f"train.timestep_type next_sample is for models that learnt a flow; {family.title} learnt to denoise.", "Choose another.")
    if job.train.min_denoising_steps >= job.train.max_denoising_steps:
        raise JobError("train.min_denoising_steps is not below train.max_denoising_steps.", "No noise level would be left.")

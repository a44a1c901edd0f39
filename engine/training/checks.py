"""What a training cannot be, and settings that have no effect: told before anything is loaded, or as soon as the model is known."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..data.augment import MOVING, check_augmentations
from ..data.buckets import sizing_notes
from ..data.masks import nothing_erased
from ..data.scan import Item
from ..data.words import listed, name_of
from ..errors import JobError
from ..events import Event, Warned
from ..families.base import ModelFamily
from ..jobs import Full, TrainJob
from ..runtime.push import check_repo, check_token
from .made_controls import controls_notes
from .networks import check_networks
from .optimizers import OPTIMIZERS, optimizer_notes


def check_settings(job: TrainJob, device: torch.device) -> Iterator[Event]:
    """Settings that have no effect here, and settings that contradict each other."""
    yield from sizing_notes(job.datasets)
    yield from controls_notes(job.datasets)
    yield from optimizer_notes(job, device)
    yield from check_networks(job)
    if job.train.start_step >= job.train.steps:
        raise JobError(f"train.start_step {job.train.start_step} leaves nothing of the {job.train.steps} steps.", "train.steps counts those before it too.")
    if job.train.merge_network_on_save:
        _check_merging(job)
    elif job.train.differs("merge_network_on_save_strength"):
        yield Warned(message="train.merge_network_on_save_strength has no effect without merge_network_on_save.")
    if job.save.push_to_hub and not job.save.hf_repo_id:
        raise JobError("save.push_to_hub needs to know where to upload.", "Set save.hf_repo_id to owner/name, or push_to_hub to false.")
    if job.save.push_to_hub and job.save.hf_repo_id:
        check_repo(job.save.hf_repo_id)
        try:
            check_token()
        except JobError as error:
            yield Warned(message=error.message, hint=f"{error.hint} The training goes on; it can be uploaded afterwards.")
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
    yield from _check_answers(job)
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


def _check_answers(job: TrainJob) -> Iterator[Event]:
    """Of settings about what the right answer is, and how the model is asked."""
    settings = job.train
    if settings.do_cfg and settings.do_guidance_loss:
        raise JobError("train.do_cfg and train.do_guidance_loss put guidance on both sides of the loss.", "Leave one of the two out.")
    if settings.do_cfg and settings.cfg_scale == 1 and settings.max_cfg_scale in (None, 1):
        yield Warned(message="train.do_cfg takes twice the time and changes nothing while train.cfg_scale is 1.")
    if settings.do_cfg and settings.mean_flow:
        raise JobError("train.mean_flow does not go together with train.do_cfg.", "Use do_guidance_loss: then the way that is learned is the guided one.")
    if not settings.do_cfg and (idle := settings.differs("cfg_scale", "max_cfg_scale")):
        yield Warned(message=f"train.{idle[0]} has no effect without do_cfg.")
    if settings.do_fft_velocity_equiv_weight and not settings.do_fft_loss:
        yield Warned(message="train.do_fft_velocity_equiv_weight has no effect without do_fft_loss.")


def _check_merging(job: TrainJob) -> None:
    if job.network.type not in ("lora", "lokr", "loha", "oft") or job.embedding or job.decorator:
        raise JobError("train.merge_network_on_save is for a LoRA, LoKr, LoHa or OFT alone.", "Leave it out.")
    if job.model.quantize or job.model.layer_offloading:
        raise JobError("Nothing can be merged into quantized or offloaded weights.", "Leave out train.merge_network_on_save, and merge the finished LoRA.")
    if OPTIMIZERS[job.train.optimizer].averages:
        raise JobError(f"{job.train.optimizer} averages the weights, which would be cut short at each merge.", "Choose another train.optimizer, or leave out merge_network_on_save.")


def check_family(job: TrainJob, family: ModelFamily, items: list[Item]) -> None:
    """Raises JobError for what does not go together with the model."""
    if not job.adapter and not job.pair_slider:  # which are shown them in the model's place
        _check_references(family, items)
    _check_text(job, family)
    _check_objective(job, family)


def inpainting_notes(family: ModelFamily, items: list[Item]) -> Iterator[Event]:
    """Raises JobError where pictures are drawn anew in part and the model does not look; tells of settings that need such pictures."""
    erased = any(item.erased for item in items)
    if erased and not family.inpaints:
        raise JobError(f"The data has inpaint_path; {family.title} draws whole pictures.", "Leave it out, or choose a base model that inpaints, such as Flex.2.")
    if whole := nothing_erased([item.erased for item in items if item.erased]):
        one = len(whole) == 1
        yield Warned(
            message=f"Nothing is transparent in {listed([name_of(path) for path in whole])}: no part of {'it' if one else 'them'} is drawn anew.",
            hint=f"Erase a part of {'it' if one else 'them'}, and save {'it' if one else 'them'} as PNG or WEBP, which keep what is transparent; or take {'it' if one else 'them'} out of inpaint_path.",
        )
    if idle := family.without_effect(erased):
        yield Warned(
            message=f"{listed([f'model.model_kwargs.{key}' for key in idle])} {'has' if len(idle) == 1 else 'have'} no effect: no part of a picture is drawn anew.",
            hint="Set inpaint_path of a data set, or do_random_inpainting.",
        )


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
    only_flow = [key for key in ("mean_flow", "t0_loss_target", "do_fft_loss") if getattr(job.train, key)]
    if family.objective != "flow" and only_flow:
        raise JobError(f"train.{only_flow[0]} is for models that learnt a flow; {family.title} learnt to denoise.", "Leave it out.")
    if family.objective != "flow" and job.train.timestep_type == "next_sample":
        raise JobError(f"train.timestep_type next_sample is for models that learnt a flow; {family.title} learnt to denoise.", "Choose another.")
    if job.train.min_denoising_steps >= job.train.max_denoising_steps:
        raise JobError("train.min_denoising_steps is not below train.max_denoising_steps.", "No noise level would be left.")

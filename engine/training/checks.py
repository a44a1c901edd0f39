"""What a training cannot be, and settings that have no effect: told before anything is loaded, or as soon as the model is known. No torch here."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.mates.masks import nothing_erased
from ..data.scan import Item
from ..data.sizes.augment import MOVING, check_augmentations
from ..data.sizes.buckets import sizing_notes
from ..data.words import count, listed, name_of
from ..errors import JobError
from ..events import Event, Warned
from ..families.facts import Facts
from ..jobs import Full, TrainJob
from ..jobs.adapters import none_for
from ..jobs.networks import no_decorator, no_new_word
from ..runtime.push import check_repo, check_token
from .control_notes import controls_notes
from .optimizer_table import OPTIMIZERS, optimizer_notes
from .sections import check_sections, no_control_pictures

if TYPE_CHECKING:
    from ..families.base import ModelFamily


def check_settings(job: TrainJob) -> Iterator[Event]:
    """Settings that have no effect, and settings that contradict each other, whatever the model and the device."""
    yield from check_sections(job)
    yield from sizing_notes(job.datasets)
    yield from controls_notes(job.datasets)
    yield from optimizer_notes(job)
    if job.train.start_step >= job.train.steps:
        raise JobError(
            f"train.start_step {job.train.start_step} leaves nothing of the {job.train.steps} steps.",
            "train.steps counts those before it too.",
        )
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
        if dataset.is_masked and (moved := [one.method for one in dataset.augmentations if one.method in MOVING]):
            raise JobError(
                f"datasets[{index}] has masks, which would stay where they are while {moved[0]} moves the pictures.",
                "Leave it out of augmentations; flip_x and flip_y turn masks too.",
            )
        if isinstance(job.network, Full) and dataset.prior_reg:
            raise JobError(
                f"datasets[{index}].prior_reg asks the base model, which is not there any more where all weights are trained.",
                "Leave it out, or train a LoRA: network.type lora.",
            )
    masked = any(dataset.is_masked for dataset in job.datasets)
    if job.train.inverted_mask_prior and (isinstance(job.network, Full) or not masked):
        raise JobError(
            "train.inverted_mask_prior needs masks, and a base model to ask: an adapter, not all weights.",
            "Set mask_path, alpha_mask or auto_mask of a data set and train a LoRA, or leave it out.",
        )
    yield from _check_answers(job)
    if isinstance(job.network, Full) and job.model.quantize:
        raise JobError("Quantized weights cannot be trained.", "Set model.quantize to false, or train a LoRA: network.type lora.")
    if job.model.layer_offloading and isinstance(job.network, Full):
        raise JobError("Offloaded weights cannot be trained.", "Set model.layer_offloading to false, or train a LoRA: network.type lora.")
    if job.train.train_text_encoder and isinstance(job.network, Full) and quantize_te:
        raise JobError("Quantized text encoders cannot be trained.", "Set model.quantize_te or train.train_text_encoder to false.")
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
        raise JobError(
            "train.mean_flow does not go together with train.do_cfg.",
            "Use do_guidance_loss: then the way that is learned is the guided one.",
        )
    if not settings.do_cfg and (idle := settings.differs("cfg_scale", "max_cfg_scale")):
        yield Warned(message=f"train.{idle[0]} has no effect without do_cfg.")
    if settings.do_fft_velocity_equiv_weight and not settings.do_fft_loss:
        yield Warned(message="train.do_fft_velocity_equiv_weight has no effect without do_fft_loss.")
    if settings.min_denoising_steps >= settings.max_denoising_steps:
        raise JobError("train.min_denoising_steps is not below train.max_denoising_steps.", "No noise level would be left.")


def _check_merging(job: TrainJob) -> None:
    if job.network.type not in ("lora", "lokr", "loha", "oft") or job.embedding or job.decorator:
        raise JobError("train.merge_network_on_save is for a LoRA, LoKr, LoHa or OFT alone.", "Leave it out.")
    if job.model.quantize or job.model.layer_offloading:
        raise JobError(
            "Nothing can be merged into quantized or offloaded weights.",
            "Leave out train.merge_network_on_save, and merge the finished LoRA.",
        )
    if OPTIMIZERS[job.train.optimizer].averages:
        raise JobError(
            f"{job.train.optimizer} averages the weights, which would be cut short at each merge.",
            "Choose another train.optimizer, or leave out merge_network_on_save.",
        )


def check_family(job: TrainJob, family: ModelFamily | Facts, title: str) -> None:
    """Raises JobError for settings that do not go together with the model, which people call ``title``."""
    # of a family that is loaded, the denoiser decides: guide_for
    if job.adapter and isinstance(family, Facts) and job.adapter.type not in family.adapters:
        raise none_for(job.adapter.type, title)
    if job.pair_slider and family.own_frame:
        raise JobError(
            f"A slider from pairs learns from still pictures, and {title} is shown the first frame, which is all of them.",
            "Choose another base model.",
        )
    _check_text(job, family, title)
    _check_objective(job, family, title)


def with_first_frames(job: TrainJob, family: ModelFamily | Facts, title: str, items: Sequence[Item]) -> Generator[Event, None, list[Item]]:
    """The items, those that the model is shown the first frame of with it as their reference."""
    shown = {
        index
        for index, dataset in enumerate(job.datasets)
        if family.own_frame or (dataset.do_i2v and family.is_video and family.max_controls)
    }
    if idle := [f"datasets[{index}]" for index, dataset in enumerate(job.datasets) if dataset.do_i2v and index not in shown]:
        yield Warned(message=f"do_i2v of {' and '.join(idle)} has no effect: {title} is shown no first frame.")
    if family.own_frame and any(not item.controls and item.frames == 1 for item in items):
        yield Warned(
            message=f"{title} is shown the first frame, and of a still picture that is all there is: it learns little from them.",
            hint="Train the model that makes videos from text alone, or give other first frames in control_path.",
        )
    return [replace(item, controls=item.controls or (item.path,)) if item.dataset in shown else item for item in items]


def check_references(job: TrainJob, family: ModelFamily | Facts, title: str, items: Sequence[Item]) -> None:
    """Raises JobError where pictures come with fewer or more reference pictures than what is trained is shown."""
    counts = sorted({len(item.controls) for item in items})
    found = " or ".join(str(one) for one in counts)
    if job.adapter:  # which is shown them in the model's place
        if counts != [1]:
            raise no_control_pictures(f"the data has {found}")
    elif job.pair_slider:
        if len(counts) > 1 or not family.min_controls < counts[0] <= family.max_controls + 1:
            shown = f", after {family.min_controls} or more that {title} is shown" if family.max_controls else ""
            raise JobError(
                f"pair_slider needs the opposite of each picture{shown}, and the data has {' or '.join(count(one, 'reference picture') for one in counts)} with each.",
                "Set control_path of each data set to the folder with the opposite pictures, under the same names; where there are several folders, it is the last.",
            )
        if any(item.frames > 1 for item in items):
            raise JobError(
                "pair_slider learns from pictures, and the data has videos.", "Set num_frames: 1 to learn from the first frame of each."
            )
    elif counts[-1] > family.max_controls:
        what = f"takes {family.max_controls}" if family.max_controls else "takes no"
        raise JobError(
            f"The data has {count(counts[-1], 'reference picture')} for each picture; {title} {what}.",
            "Leave out control_path and controls, or choose an edit model as the base.",
        )
    elif counts[0] < family.min_controls:
        raise JobError(
            f"{title} learns from pairs, and the data has no reference pictures.",
            "Set control_path to the folder of what each picture was made from, under the same names.",
        )


def guidance_notes(job: TrainJob, family: ModelFamily) -> Iterator[Event]:
    """Takes ``bypass_guidance_embedding`` over to the family; tells where that has no effect."""
    if not job.train.bypass_guidance_embedding:
        return
    if family.bypasses_guidance is None:
        yield Warned(message=f"train.bypass_guidance_embedding has no effect: {family.title} has no guidance embedding.")
    elif job.train.do_guidance_loss:
        raise JobError(
            "train.bypass_guidance_embedding and train.do_guidance_loss are two ways to do without guidance.", "Leave one of the two out."
        )
    else:
        family.bypasses_guidance = True


def check_inpainting(family: ModelFamily | Facts, title: str, items: Sequence[Item]) -> None:
    """Raises JobError where pictures are drawn anew in part and the model does not look."""
    if any(item.erased for item in items) and not family.inpaints:
        raise JobError(
            f"The data has auto_inpaint or inpaint_path; {title} draws whole pictures.",
            "Leave it out, or choose a base model that inpaints, such as Flex.2.",
        )


def inpainting_notes(family: ModelFamily, items: Sequence[Item], made: Collection[Path] = ()) -> Iterator[Event]:
    """Raises JobError where pictures are drawn anew in part and the model does not look; tells of settings that need such pictures.

    Of erased copies that are yet to be ``made`` nothing is said.
    """
    check_inpainting(family, family.title, items)
    erased = any(item.erased for item in items)
    if whole := nothing_erased([item.erased for item in items if item.erased and item.erased not in made]):
        one = len(whole) == 1
        yield Warned(
            message=f"Nothing is transparent in {listed([name_of(path) for path in whole])}: no part of {'it' if one else 'them'} is drawn anew.",
            hint=f"Erase a part of {'it' if one else 'them'}, and save {'it' if one else 'them'} as PNG or WEBP, which keep what is transparent; or take {'it' if one else 'them'} out of inpaint_path.",
        )
    if idle := family.without_effect(erased):
        yield Warned(
            message=f"{listed([f'model.model_kwargs.{key}' for key in idle])} {'has' if len(idle) == 1 else 'have'} no effect: no part of a picture is drawn anew.",
            hint="Set inpaint_path or auto_inpaint of a data set, or do_random_inpainting.",
        )


def _check_text(job: TrainJob, family: ModelFamily | Facts, title: str) -> None:
    if job.embedding and not family.word_keys:
        raise no_new_word(title)
    if job.decorator and family.decorated is None:
        raise no_decorator(title)
    if job.train.train_text_encoder and not isinstance(job.network, Full) and not family.text_lora_targets:
        raise JobError(
            f"The text encoders of {title} cannot be trained with a {job.network.type}.",
            "Set train.train_text_encoder to false, or network.type to full.",
        )


def _check_objective(job: TrainJob, family: ModelFamily | Facts, title: str) -> None:
    if family.objective == "flow" and (job.train.min_snr_gamma or job.train.snr_gamma):
        raise JobError(
            f"train.min_snr_gamma and train.snr_gamma are for models that learnt to denoise; {title} learnt a flow.",
            "Leave them out; content_or_style and timestep_type change which noise levels count.",
        )
    only_flow = [key for key in ("mean_flow", "do_fft_loss") if getattr(job.train, key)]
    if family.objective != "flow" and only_flow:
        raise JobError(f"train.{only_flow[0]} is for models that learnt a flow; {title} learnt to denoise.", "Leave it out.")
    if family.objective != "flow" and job.train.timestep_type == "next_sample":
        raise JobError(f"train.timestep_type next_sample is for models that learnt a flow; {title} learnt to denoise.", "Choose another.")

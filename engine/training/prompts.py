"""Prompts beside a picture's own caption, for objectives that ask the model more than once."""

from __future__ import annotations

from collections.abc import Iterator

from ..data.captions import whole_words, with_words
from ..data.scan import Item
from ..errors import JobError
from ..events import Event, Warned
from ..jobs import Dataset, Full, TrainJob


def other_prompts(job: TrainJob, dataset: Dataset, caption: str) -> dict[str, str]:
    """By what each is for: unconditional, class, blank; target, more, less and anchor of a slider; instead."""
    settings, trigger, prompts = job.train, job.trigger_of(dataset), {}
    if settings.do_guidance_loss or settings.do_cfg:
        prompts["unconditional"] = settings.unconditional_prompt
    if settings.diff_output_preservation and not dataset.is_reg:  # a batch has it for all of its pictures, or for none
        prompts["class"] = with_words(caption, trigger, settings.diff_output_preservation_class) if trigger else caption
    if settings.blank_prompt_preservation:
        prompts["blank"] = ""
    if slider := job.slider:
        prompts |= {"target": slider.target_class, "more": slider.positive_prompt, "less": slider.negative_prompt}
        prompts |= {"anchor": slider.anchor_class} if slider.anchor_class is not None else {}
    if job.pair_slider and job.pair_slider.target_class is not None:
        prompts["target"] = job.pair_slider.target_class
    if job.replacements:
        for one in job.replacements:
            caption = with_words(caption, one.concept, one.replacement)
        prompts["instead"] = caption
    return prompts


def check_prompts(job: TrainJob, items: list[Item]) -> Iterator[Event]:
    """Raises JobError where such an objective cannot be; warns where it does less than it might."""
    settings = job.train
    yield from _check_words(job, items)
    for key in ("diff_output_preservation", "blank_prompt_preservation"):
        if getattr(settings, key) and isinstance(job.network, Full):
            raise JobError(f"train.{key} asks the base model, which is not there any more where all weights are trained.", "Leave it out, or train a LoRA.")
        if getattr(settings, key) and settings.train_text_encoder:
            raise JobError(f"train.{key} does not go together with train.train_text_encoder.", "Leave one of the two out.")
    if settings.diff_output_preservation and settings.blank_prompt_preservation:
        yield Warned(message="Both the class and the empty prompt are held on to: a step takes three times as long.")
    if not settings.diff_output_preservation:
        return
    if not settings.diff_output_preservation_class:
        raise JobError("train.diff_output_preservation_class is missing.", "Name what the trigger words stand for, for example woman.")
    triggers = [job.trigger_of(job.datasets[item.dataset]) for item in items]
    learned = [(item, trigger) for item, trigger in zip(items, triggers, strict=True) if not job.datasets[item.dataset].is_reg]
    with_trigger = sum(bool(trigger and whole_words(trigger).search(item.caption)) for item, trigger in learned)
    if not with_trigger:
        raise JobError(
            "train.diff_output_preservation puts the class in the place of the trigger words, and no caption has them.",
            "Set trigger_word, and write it or [trigger] into the captions.",
        )
    if with_trigger < len(learned):
        yield Warned(
            message=f"{len(learned) - with_trigger} of {len(learned)} captions have no trigger words: what they show is learned and held on to at once.",
            hint="Write [trigger] into them.",
        )


def _check_words(job: TrainJob, items: list[Item]) -> Iterator[Event]:
    """Of trainings that ask the base model itself what is right."""
    if not (job.slider or job.replacements):
        return
    what = "slider" if job.slider else "replacements"
    if job.slider and job.replacements:
        raise JobError("A job has both slider and replacements.", "Make two jobs of it.")
    if isinstance(job.network, Full):
        raise JobError(f"{what} asks the base model, which is not there any more where all weights are trained.", "Train a LoRA: network.type lora.")
    idle = [key for key in WITH_PICTURES if getattr(job.train, key)]
    if idle:
        raise JobError(f"train.{idle[0]} has no effect on a training from words alone ({what}).", "Leave it out.")
    if job.train.train_text_encoder:
        raise JobError(f"train.train_text_encoder does not go together with {what}.", "Leave one of the two out.")
    if job.replacements:
        without = [item for item in items if not any(whole_words(one.concept).search(item.caption) for one in job.replacements)]
        if len(without) == len(items):
            raise JobError("No caption has any of the words in replacements.", "Write them into the captions, as prompts would have them.")
        if without:
            yield Warned(message=f"{len(without)} of {len(items)} captions have none of the words in replacements: those prompts stay as they are.")


WITH_PICTURES = (
    "diff_output_preservation", "blank_prompt_preservation", "do_guidance_loss", "do_differential_guidance", "inverted_mask_prior",
    "do_cfg", "mean_flow", "t0_loss_target", "do_fft_loss",
)  # fmt: skip
"""Settings of ``train`` about how pictures are learned."""

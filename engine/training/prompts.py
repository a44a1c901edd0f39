"""Prompts beside a picture's own caption, for objectives that ask the model more than once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..data.captions.text import whole_words, with_words
from ..data.scan import Item
from ..errors import JobError
from ..events import Event, Warned
from ..jobs import Dataset, TrainJob


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


def read_with(job: TrainJob, item: Item) -> tuple[Path, ...]:
    """The reference pictures that are read with an item's words: the opposite of a pair, which is the last one, is not."""
    return item.controls[:-1] if job.pair_slider else item.controls


def captioned(job: TrainJob, dataset: Dataset) -> Dataset:
    """A slider reads no captions, nor does one from pairs that are all called alike: so none has to be there."""
    unread = job.slider or (job.pair_slider and job.pair_slider.target_class is not None)
    return dataset.model_copy(update={"default_caption": dataset.default_caption or ""}) if unread else dataset


def check_prompts(job: TrainJob, items: list[Item]) -> Iterator[Event]:
    """Raises JobError where captions lack the words that such an objective needs; warns where some do."""
    if job.replacements:
        without = [item for item in items if not any(whole_words(one.concept).search(item.caption) for one in job.replacements)]
        if len(without) == len(items):
            raise JobError("No caption has any of the words in replacements.", "Write them into the captions, as prompts would have them.")
        if without:
            yield Warned(
                message=f"{len(without)} of {len(items)} captions have none of the words in replacements: those prompts stay as they are."
            )
    if job.train.diff_output_preservation:
        yield from _check_triggers(job, items)
    if job.embedding:
        yield from _check_word(job, job.embedding.trigger, items)


def _check_triggers(job: TrainJob, items: list[Item]) -> Iterator[Event]:
    """Whether there is something for the class to take the place of."""
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


def _check_word(job: TrainJob, word: str, items: list[Item]) -> Iterator[Event]:
    """Whether there is something to learn a new word from."""
    learned = [item for item in items if not job.datasets[item.dataset].is_reg]
    without = sum(word not in item.caption for item in learned)
    if without == len(learned):
        raise JobError(f"No caption has the word {word} that embedding is to teach.", "Write it, or [trigger], into the captions.")
    if without:
        yield Warned(
            message=f"{without} of {len(learned)} captions do not have the word {word}: it learns nothing from them.",
            hint="Write [trigger] into them.",
        )

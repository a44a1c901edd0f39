"""Which sections and settings of a job go together. Asked before anything is read or loaded: no torch here."""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import JobError
from ..events import Event, Warned
from ..jobs import Full, Nothing, TrainJob
from ..jobs.adapters import IpAdapter, Redux

MORE = ("embedding", "decorator")
"""Sections of a job that train something beside its network."""
WITH_PICTURES = (
    "diff_output_preservation", "blank_prompt_preservation", "do_guidance_loss", "do_differential_guidance", "inverted_mask_prior",
    "do_cfg", "mean_flow", "t0_loss_target", "do_fft_loss",
)  # fmt: skip
"""Settings of ``train`` about how pictures are learned."""


def check_sections(job: TrainJob) -> Iterator[Event]:
    """Raises JobError for what cannot be trained together; warns of what has no effect."""
    yield from _networks(job)
    if job.adapter:
        yield from _adapter(job)
    if job.pair_slider:
        _pair_slider(job)
    if job.slider or job.replacements:
        _words_alone(job)
    yield from _held_on_to(job)


def _networks(job: TrainJob) -> Iterator[Event]:
    more = [section for section in MORE if getattr(job, section)]
    alone = isinstance(job.network, Nothing)
    if alone and not more and not job.adapter:
        raise JobError("Nothing is trained: network.type is none.", "Set network.type to lora, or add an embedding.")
    if more and isinstance(job.network, Full):
        raise JobError(
            f"{more[0]} does not go together with network.type full, whose files are whole models.", "Train it alone, or beside a LoRA."
        )
    if more and job.adapter:
        raise JobError(f"{more[0]} does not go together with adapter, which is trained alone.", "Make two jobs of it.")
    if job.embedding and job.slider:
        raise JobError("slider does not go together with embedding.", "Make two jobs of it.")
    if job.embedding and job.train.inverted_mask_prior:
        raise JobError(
            "train.inverted_mask_prior asks the base model with the same words, and it does not know the one that embedding teaches.",
            "Leave one of the two out.",
        )
    if job.decorator and (key := next((key for key in ("do_guidance_loss", "do_cfg") if getattr(job.train, key)), None)):
        raise JobError(f"train.{key} asks without the prompt too, and a decorator goes with every prompt.", "Leave one of the two out.")
    if not alone and not job.adapter and not (job.train.train_unet or job.train.train_text_encoder):
        raise JobError("Nothing is trained: train.train_unet and train.train_text_encoder are both off.", "Set one of them to true.")
    if (alone or job.adapter) and not job.train.train_unet:
        yield Warned(message="train.train_unet has no effect: the model that draws is not trained anyway.")
    if alone and job.train.train_text_encoder and not job.adapter:
        yield Warned(
            message="train.train_text_encoder has no effect: there is no network that they would get.", hint="Set network.type to lora."
        )


def _adapter(job: TrainJob) -> Iterator[Event]:
    """Of a training of an adapter, which is trained alone, from pictures that go with pictures."""
    if both := [key for key in ("slider", "pair_slider", "replacements", *MORE) if getattr(job, key)]:
        raise JobError(f"A job has both adapter and {both[0]}.", "Make two jobs of it.")
    if job.train.train_text_encoder:
        raise JobError("train.train_text_encoder does not go together with adapter: all but the adapter stays as it is.", "Leave it out.")
    if isinstance(job.network, Full):
        raise JobError("network full does not go together with adapter: all but the adapter stays as it is.", "Leave network out.")
    if job.network.type != "none":
        yield Warned(message="network has no effect: the adapter is trained alone.")
    if isinstance(job.adapter, IpAdapter | Redux):  # which look at the pictures themselves
        return
    if bare := [index for index, one in enumerate(job.datasets) if not (one.control_path or one.controls or one.control_from_same_folder)]:
        raise no_control_pictures(f"datasets[{bare[0]}] names none")


def no_control_pictures(found: str) -> JobError:
    return JobError(
        f"The adapter follows 1 control picture with each picture, and {found}.",
        "Set control_path to the folder of control pictures under the same names, or controls: [canny] to have them made.",
    )


def _pair_slider(job: TrainJob) -> None:
    if job.network.type in ("full", "none") or job.embedding or job.decorator:
        raise JobError(
            "pair_slider turns a LoRA the one way and the other, and nothing else.",
            "Set network.type to lora, and leave embedding and decorator out.",
        )
    if both := [key for key in ("slider", "replacements", "adapter") if getattr(job, key)]:
        raise JobError(f"A job has both pair_slider and {both[0]}.", "Make two jobs of it.")
    if idle := [key for key in (*WITH_PICTURES, "train_text_encoder") if getattr(job.train, key)]:
        raise JobError(f"train.{idle[0]} does not go together with pair_slider.", "Leave it out.")
    if job.train.timestep_type == "next_sample":
        raise JobError("train.timestep_type next_sample does not go together with pair_slider.", "Choose another.")


def _words_alone(job: TrainJob) -> None:
    """Of trainings that ask the base model itself what is right."""
    what = "slider" if job.slider else "replacements"
    if job.slider and job.replacements:
        raise JobError("A job has both slider and replacements.", "Make two jobs of it.")
    if isinstance(job.network, Full):
        raise JobError(
            f"{what} asks the base model, which is not there any more where all weights are trained.", "Train a LoRA: network.type lora."
        )
    if idle := [key for key in WITH_PICTURES if getattr(job.train, key)]:
        raise JobError(f"train.{idle[0]} has no effect on a training from words alone ({what}).", "Leave it out.")
    if job.train.train_text_encoder:
        raise JobError(f"train.train_text_encoder does not go together with {what}.", "Leave one of the two out.")


def _held_on_to(job: TrainJob) -> Iterator[Event]:
    """Of trainings that keep what the model knew."""
    settings = job.train
    for key in ("diff_output_preservation", "blank_prompt_preservation"):
        if getattr(settings, key) and isinstance(job.network, Full):
            raise JobError(
                f"train.{key} asks the base model, which is not there any more where all weights are trained.",
                "Leave it out, or train a LoRA.",
            )
        if getattr(settings, key) and settings.train_text_encoder:
            raise JobError(f"train.{key} does not go together with train.train_text_encoder.", "Leave one of the two out.")
    if settings.diff_output_preservation and settings.blank_prompt_preservation:
        yield Warned(message="Both the class and the empty prompt are held on to: a step takes three times as long.")
    if settings.diff_output_preservation and not settings.diff_output_preservation_class:
        raise JobError("train.diff_output_preservation_class is missing.", "Name what the trigger words stand for, for example woman.")

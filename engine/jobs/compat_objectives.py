"""AI Toolkit's options of how something is learned: which of ours they are, and why a few are not here.

What they do there was read in its version 0.12.26.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import JobError

Section = dict[str, Any]
Note = Callable[..., None]

_OTHER_NOISE = "puts parts of pictures into the noise; a sampler starts from plain noise, and never sees that."
_PLAIN_NOISE = "Take noise_offset, random_noise_shift or random_noise_multiplier, which keep the noise a noise."
_OTHER_SCALE = (
    "shows the model latents of another strength than those that a sampler asks it about, so pictures come out too pale or too harsh."
)
_CONTRAST = "Change the contrast of the pictures themselves: augmentations with RandomBrightnessContrast."

UNWISE: dict[str, dict[str, tuple[Any, str, str]]] = {
    "train": {
        "adaptive_scaling_factor": (False, _OTHER_SCALE, "Leave it out."),
        "blended_blur_noise": (False, _OTHER_NOISE, _PLAIN_NOISE),
        "cfg_rescale": (None, "hides from the loss how strong an answer is.", "Take a smaller cfg_scale."),
        "correct_pred_norm": (False, "bends the right answer by what the model just got wrong.", "Hold on to what it knew with diff_output_preservation."),
        "do_batch_noise_correction": (False, _OTHER_NOISE, _PLAIN_NOISE),
        "do_blank_stabilization": (
            False, "teaches the model to draw nothing where there is no prompt, and guidance leads away from that.",
            "Take blank_prompt_preservation: it keeps what the model draws without a prompt.",
        ),
        "do_prior_divergence": (
            False, "rewards the model for being as far from what it knew as it can get, without an end.",
            "Take do_differential_guidance to learn faster, or a slider to lead away from something.",
        ),
        "do_signal_amplification": (False, "makes the right answer a wrong one: pictures come out too harsh.", "Leave it out."),
        "do_signal_correction_noise": (False, _OTHER_NOISE, _PLAIN_NOISE),
        "dynamic_noise_offset": (False, _OTHER_NOISE, "Take noise_offset: 0.05 is usual."),
        "free_u": (False, "changes how a UNet draws, and here it would change what is learned.", "Use FreeU where pictures are made."),
        "img_multiplier": (1.0, "makes all pictures paler, and the model learns to draw so.", _CONTRAST),
        "latent_multiplier": (1.0, _OTHER_SCALE, _CONTRAST),
        "learnable_snr_gos": (False, "lets the weights of the loss learn to make the loss small.", "Take min_snr_gamma: 5 is usual."),
        "match_noise_norm": (False, "hides from the loss how strong an answer is.", "Leave it out."),
        "noisy_latent_multiplier": (1.0, _OTHER_SCALE, "Leave it out."),
        "pred_scaler": (1.0, "teaches answers that are too weak or too strong by that factor.", "Change the strength of the LoRA in use instead."),
        "prompt_saturation_chance": (0.0, "says captions again and again, as nobody writes a prompt.", "Write longer captions."),
        "short_and_long_captions_encoder_split": (
            False, "gives each text encoder another caption, as no program does that draws.", "Take short_and_long_captions: both captions, one after the other.",
        ),
        "standardize_images": (False, "gives all pictures the same mean colours, and the model learns to draw so.", _CONTRAST),
        "standardize_latents": (False, "gives all pictures the same mean colours, and the model learns to draw so.", _CONTRAST),
        "target_noise_multiplier": (1.0, "makes the right answer a wrong one.", "Take noise_multiplier, which changes the noise on both sides."),
        "target_norm_std": (None, "wants answers as strong as pure noise, which right ones are not.", "Leave it out."),
        "weight_jitter": (0.0, "is read by none of its trainings.", "Take network.dropout against learning by heart."),
    },
    "dataset": {"standardize_images": (False, "gives all pictures the same mean colours, and the model learns to draw so.", _CONTRAST)},
    "ema": {
        "param_multiplier": (1.0, "multiplies all weights in each step.", "Leave it out."),
        "use_feedback": (False, "pulls the weights back to their average in each step.", "Take a smaller lr."),
    },
}  # fmt: skip
"""Keys that do nothing there, or harm: the value that changes nothing, what they do, and what to do instead."""


def check_unwise(kind: str, key: str, value: Any, path: str) -> bool:
    """Whether it is such a key; a JobError where it is set to something."""
    if key not in UNWISE.get(kind, {}):
        return False
    neutral, why, instead = UNWISE[kind][key]
    if value != neutral and (value or neutral):
        raise JobError(f"{path} is not here: it {why}", instead)
    return True


def read_objectives(given: Section, note: Note) -> Section:
    """The train section with our names for how something is learned."""
    given = {**given}
    if given.get("loss_type") == "mean_flow":
        given |= {"loss_type": "mse", "mean_flow": True}
        note(
            "train.loss_type mean_flow is our mean_flow: the way to the picture in one step, from every noise level.",
            "Draw its samples with sample_steps 1.",
        )
    _read_guidance(given, note)
    if given.pop("train_turbo", False):
        given["t0_loss_target"] = True
        note(
            "train.train_turbo is our t0_loss_target: the picture that one large step leads to is compared, and not the answer.",
            "timestep_type one_step to eight_step practises the levels of so few steps. It is experimental.",
        )
    target = given.pop("loss_target", "noise")
    if target == "source":
        note("train.loss_target source is the plain loss: its weights undo what it changes.")
    elif target != "noise":
        raise JobError(
            f"train.loss_target {target} is not here: it needs every picture with and without its augmentations.", "Leave it out."
        )
    if given.pop("t0_velocity_equiv_weight", False) and given.pop("t0_loss_target", False):
        note("train.t0_loss_target with t0_velocity_equiv_weight is the plain loss: the one undoes the other.")
    if given.pop("single_item_batching", False):
        given["gradient_accumulation"] = given.get("gradient_accumulation", 1) * given.pop("batch_size", 1)
    return given


def _read_guidance(given: Section, note: Note) -> None:
    at_random, most = given.pop("do_random_cfg", False), given.pop("max_cfg_scale", None)
    if at_random:
        given |= {"do_cfg": True, "cfg_scale": 1.0, "max_cfg_scale": most or given.get("cfg_scale", 1.0)}
    negative = given.pop("negative_prompt", None)
    if not given.get("do_cfg"):
        if given.pop("cfg_scale", 1.0) != 1:
            note("train.cfg_scale is what FLUX is told in training there; here it is told 1, as samples of a LoRA need it.")
    elif negative:
        if Path(str(negative)).suffix == ".txt":
            raise JobError("train.negative_prompt names a file of prompts.", "Write one prompt into it.")
        given["unconditional_prompt"] = negative


def read_captions(train: Section, datasets: list[Section], note: Note) -> list[Section]:
    """The data sets, with what its train section says about captions. Takes those keys out of ``train``."""
    if dropped := train.pop("prompt_dropout_prob", 0) or 0:
        datasets = [{**one, "caption_dropout_rate": 1 - (1 - (one.get("caption_dropout_rate") or 0)) * (1 - dropped)} for one in datasets]
    if train.pop("short_and_long_captions", False):
        note(
            "train.short_and_long_captions shows each picture with both captions at once there; here they take turns.",
            "A step takes half the time, so take twice the steps.",
        )
        datasets = [
            again
            for one in datasets
            for again in ([one] if one.get("is_reg") else [{**one, "use_short_captions": short} for short in (False, True)])
        ]
    return datasets

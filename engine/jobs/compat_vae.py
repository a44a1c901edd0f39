"""AI Toolkit's trainings of an autoencoder as ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import JobError

Section = dict[str, Any]
_NAMES = {
    "batch_size": "batch_size", "resolution": "resolution", "learning_rate": "lr", "max_steps": "steps", "save_every": "save_every",
    "mse_weight": "mse_weight", "mae_weight": "mae_weight", "kld_weight": "kld_weight", "train_encoder": "train_encoder", "training_seed": "seed",
}  # fmt: skip
"""Its key → ours."""
_DEFAULTS: Section = {
    "batch_size": 1, "resolution": 256, "lr": 1e-6, "mse_weight": 1.0, "mae_weight": 0.0, "kld_weight": 0.0, "edge_weight": 0.0, "train_encoder": False,
    "holdout": 0.0, "dtype": "fp32",
}  # fmt: skip
"""What it takes where a key is left out and ours would be something else; and what it does not have."""
_DTYPES = {"float32": "fp32", "float": "fp32", "fp32": "fp32", "bfloat16": "bf16", "bf16": "bf16", "float16": "auto", "fp16": "auto"}
_IDLE = {
    "device",
    "name",
    "log_every",
    "sample_every",
    "sample_sources",
    "sample_resolution",
    "log_dir",
    "training_folder",
    "performance_log_every",
    "content_folder",
}
_OTHER_LOSSES = (
    "style_weight",
    "content_weight",
    "clip_weight",
    "mv_loss_weight",
    "tv_weight",
    "ltv_weight",
    "lpm_weight",
    "lpips_weight",
    "pattern_weight",
    "dropout",
)
_ELSEWHERE = {
    "eq_vae": "latents that turn and grow with the picture", "target_latent_vae_path": "the latents of another autoencoder", "random_scaling": "pictures of changing size",
    "only_if_contains": "a part of the weights", "vae_config": "another shape",
}  # fmt: skip
"""Keys that ask for another training, and what for."""
_CRITIC = {"learning_rate": "critic_lr", "start_step": "critic_start"}


def read_vae(given: Section, name: str, note: Callable[..., None]) -> Section:
    """The job; what has no place here is noted, and what would be another training is an error."""
    given = {key: value for key, value in given.items() if value is not None}
    if given.pop("vae_type", "AutoencoderKL") != "AutoencoderKL":
        raise JobError("vae_type asks for a tiny autoencoder, which is not trained here.", "Set it to AutoencoderKL.")
    for key, what in _ELSEWHERE.items():
        if given.pop(key, None):
            raise JobError(f"{key} asks for {what}, which is not supported.", "Take it out to train without.")
    if given.pop("blocks_to_train", ["all"]) not in (["all"], "all"):
        raise JobError(
            "blocks_to_train asks for a part of the weights, which is not supported.",
            "Take it out; train_encoder: false trains the decoder alone.",
        )
    if "max_steps" not in given:
        raise JobError(
            "max_steps is missing: here steps are counted, not rounds over the pictures.",
            "Set max_steps; epochs is that times the batch size over the number of pictures.",
        )
    if not (path := given.pop("vae_path", None)):
        raise JobError("vae_path is missing.", "Name the folder of the autoencoder to begin with.")
    train = {**_DEFAULTS, **{ours: given.pop(key) for key, ours in _NAMES.items() if key in given}}
    train["dtype"] = _DTYPES.get(str(given.pop("dtype", "float32")), "auto")
    if given.pop("optimizer", "adam") not in ("adam", "adamw") or given.pop("optimizer_params", None):
        note(
            "optimizer and optimizer_params are left out: autoencoders are trained with AdamW, whose rate rises at first and falls along a cosine."
        )
    given.pop("epochs", None)
    critic, strength = given.pop("critic", None) or {}, given.pop("critic_weight", 1.0)
    if given.pop("use_critic", False):
        train |= {"critic_weight": strength, **{ours: critic[key] for key, ours in _CRITIC.items() if key in critic}}
        note("The critic learns by hinge loss, and its other settings are left out.")
    for key in _OTHER_LOSSES:
        if given.pop(key, 0):
            hint = (
                "Set train.perceptual_weight and train.perceptual_model of our job."
                if key in ("lpips_weight", "style_weight", "content_weight")
                else ""
            )
            note(f"{key} is left out: the result will differ.", hint)
    for key in sorted(set(given) - _IDLE - {"datasets"}):
        note(f"{key} is not a known key and is left out.", "Check its spelling.")
    return {
        "kind": "vae",
        "name": name,
        "vae_path": path,
        "datasets": [{"path": _path(one)} for one in given.get("datasets") or []],
        "train": train,
    }


def _path(dataset: Any) -> Any:
    return (dataset.get("path") or dataset.get("folder_path")) if isinstance(dataset, Mapping) else dataset

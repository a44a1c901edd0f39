"""AI Toolkit's keys that Darkroom's jobs do not have, section by section, as of its version 0.12.26.

A key that both have under one name stands nowhere here. What needs more than a name is in ``compat`` and its modules of single sections.
"""

from __future__ import annotations

from typing import Any

Keys = dict[str, dict[str, Any]]

PAIRS = "image_reference_slider_trainer"
"""Its slider from pairs of pictures."""
TRAINERS = ("sd_trainer", "diffusion_trainer", "ui_trainer", "textual_inversion_trainer", "concept_slider", "concept_replacer", PAIRS)
"""Types of process that train a LoRA or all weights."""

ARCHS = {
    "is_flux": "flux",
    "is_xl": "sdxl",
    "is_v2": "sd2",
    "is_v3": "sd3",
    "is_lumina2": "lumina2",
    "is_pixart": "pixart",
    "is_pixart_sigma": "pixart_sigma",
    "is_auraflow": "auraflow",
    "is_ssd": "ssd",
    "is_vega": "vega",
}
"""Its older way to name a family → the newer one."""
OPTIMIZERS_REFUSED = {"automagic2", "automagic3", "automagicexperiment"}
"""Optimizers of its own whose rules are written down nowhere but in its code."""
SCALED = {"sd1", "sd15", "sd2", "sdxl", "ssd", "vega", "pixart", "pixart_sigma", "auraflow"}
"""Families whose LoRAs it scales by alpha / rank. Everywhere else it ignores alpha."""

DEFAULTS: Keys = {
    "train": {"steps": 1000, "lr": 1e-6, "optimizer": "adamw", "dtype": "fp32"},
    "ema": {"ema_decay": 0.999},
    "save": {"save_every": 1000, "dtype": "fp16", "max_step_saves_to_keep": 5},
    "sample": {
        "sample_every": 100,
        "width": 512,
        "height": 512,
        "sample_steps": 20,
        "guidance_scale": 7.0,
        "seed": 0,
        "walk_seed": False,
    },
    "dataset": {"resolution": 512, "caption_dropout_rate": 0.0},
}
"""What it takes where a key is left out and Darkroom would take something else."""

NO_EFFECT: dict[str, set[str]] = {
    # Darkroom decides these by itself, does them always, or has no such thing
    "process": {
        "device", "name", "sqlite_db_path", "torch_profiler", "training_folder",
        "do_lorm", "lorm_extract_mode", "lorm_extract_mode_param",
    },
    "model": {
        "attn_masking", "cache_size_limit", "compile_dynamic", "compile_fullgraph", "compile_mode", "experimental_xl", "is_v_pred",
        "latent_space_version", "layer_offloading_text_encoder_percent",
        "refiner_start_at", "split_model_other_module_param_count_scale", "te_device", "te_dtype",
        "unet_sample_size", "use_text_encoder_1", "use_text_encoder_2", "vae_device", "vae_dtype",
    },
    "network": {"layer_offloading", "lorm", "old_lokr_format", "split_multistage_loras"},
    "train": {
        "adapter_assist_type", "adapter_lr", "attention_backend", "cache_text_embeddings",
        "max_loss_debug", "max_negative_prompts", "noise_scheduler", "num_train_timesteps", "paramiter_swapping_factor", "refiner_lr",
        "sdp", "show_turbo_outputs", "train_refiner", "xformers",
        "batch_noise_correction_scale", "correct_pred_norm_multiplier", "signal_amplification_strength", "signal_correction_noise_scale",
        "target_norm_std_value",
    },
    "ema": set(),
    "save": {"save_format"},
    "sample": {"adapter_conditioning_scale", "refiner_start_at", "sampler"},
    "item": {"ctrl_idx"},
    "dataset": {
        "audio_normalize", "audio_preserve_pitch", "bucket_tolerance", "cache_latents", "cache_latents_num_workers",
        "cache_latents_to_disk", "cache_tensors_to_disk", "cache_text_embeddings", "clip_image_augmentations",
        "clip_image_shuffle_augmentations", "control_transparent_color", "debug", "fast_image_size", "full_size_control_images",
        "guidance_type", "load_image_when_caching_latents", "num_workers", "prefetch_factor", "replay_transforms",
        "shuffle_augmentations", "type",
    },
    "logging": {"use_ui_logger", "verbose"},
}  # fmt: skip

LATER: Keys = {
    # something differs without them → the value that changes nothing
    "process": {"guidance": None},
    "model": {
        "in_context": False,
        "model_paths": {},
        "refiner_name_or_path": None, "split_model_over_gpus": False, "unconditional_lora_path": None, "use_flux_cfg": False,
    },
    "network": {"all_layers": False},
    "train": {
        "adapter_assist_name_or_path": None, "audio_loss_multiplier": 1.0, "content_or_style_reg": "balanced",
        "diffusion_feature_extractor_path": None, "diffusion_feature_extractor_weight": 1.0, "do_paramiter_swapping": False,
        "latent_feature_extractor_path": None, "latent_feature_loss_weight": 1.0,
        "match_adapter_assist": False, "match_adapter_chance": 0.0,
    },
    "ema": {},
    "save": {},
    "sample": {
        "do_cfg_norm": False, "extra_values": [], "guidance_rescale": 0.0,
    },
    "item": {"do_cfg_norm": False},
    "dataset": {
        "augments": [], "batch_size": None, "extra_values": [],
    },
    "logging": {},
}  # fmt: skip

MODEL_KWARGS = {
    "control_image_max_pixels",
    "use_image_refiner",
    "vlm_max_pixels",
}
"""Of its model.model_kwargs, those that no family here has."""

OWN_SIZES = ("flux2", "qwen_image_edit_plus")
"""What the names of families begin with that show reference pictures at sizes of their own."""

COSTS = {
    "split_model_over_gpus": "the model has to find room on one card; low_vram and layer_offloading help",
    "all_layers": "norms and embeddings are not trained, for only ComfyUI reads such files; transformer_only: false reaches all layers that can carry a network",
}
"""Those of LATER of which something else is to be said than that the result will differ."""

CONTROLS = {"depth", "line", "pose"}
"""Its kinds of made control pictures that are reference pictures there too: its mask says what is learned, its inpaint what is drawn anew."""
SUBJECTS = {"mask": ("auto_mask", "mask_path"), "sapiens2_mask": ("auto_mask", "mask_path"), "inpaint": ("auto_inpaint", "inpaint_path")}
"""Those, and the key that does it here, and the one of a folder with them."""

REFUSED: dict[str, dict[str, tuple[Any, str]]] = {
    # without them something else would be trained → the value that changes nothing, and what they ask for
    "process": {},
    "model": {},
    "network": {},
    "train": {},
    "ema": {},
    "save": {},
    "sample": {},
    "item": {},
    "dataset": {
        "do_audio": (False, "sound"),
        "poi": (None, "points of interest"),
    },
    "logging": {},
}

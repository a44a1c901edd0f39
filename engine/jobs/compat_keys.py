"""AI Toolkit's keys that Darkroom's jobs do not have, section by section, as of its version 0.12.26.

A key that both have under one name stands nowhere here. What needs more than a name is in ``compat``.
"""

from __future__ import annotations

from typing import Any

Keys = dict[str, dict[str, Any]]

TRAINERS = ("sd_trainer", "diffusion_trainer", "ui_trainer")
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
        "device", "log_dir", "name", "performance_log_every", "sqlite_db_path", "torch_profiler", "training_folder",
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
        "adapter_assist_type", "adapter_lr", "attention_backend", "bypass_guidance_embedding", "cache_text_embeddings", "embedding_lr",
        "max_loss_debug", "max_negative_prompts", "noise_scheduler", "num_train_timesteps", "paramiter_swapping_factor", "refiner_lr",
        "sdp", "show_turbo_outputs", "train_refiner", "xformers",
    },
    "ema": set(),
    "save": {"hf_private", "hf_repo_id", "save_format"},
    "sample": {"adapter_conditioning_scale", "refiner_start_at", "sampler"},
    "item": {"ctrl_idx"},
    "dataset": {
        "audio_normalize", "audio_preserve_pitch", "bucket_tolerance", "cache_latents", "cache_latents_num_workers",
        "cache_latents_to_disk", "cache_tensors_to_disk", "cache_text_embeddings", "clip_image_augmentations",
        "clip_image_shuffle_augmentations", "control_transparent_color", "debug", "fast_image_size", "full_size_control_images",
        "guidance_type", "load_image_when_caching_latents", "num_workers", "prefetch_factor", "replay_transforms",
        "shuffle_augmentations", "type",
    },
    "logging": {"project_name", "run_name", "use_ui_logger", "verbose"},
}  # fmt: skip

LATER: Keys = {
    # something differs without them → the value that changes nothing
    "process": {"first_sample": None, "guidance": None},
    "model": {
        "in_context": False,
        "model_paths": {},
        "refiner_name_or_path": None, "split_model_over_gpus": False, "text_encoder_bits": 16,
        "unconditional_lora_path": None, "use_flux_cfg": False,
    },
    "network": {"all_layers": False, "pretrained_lora_path": None, "transformer_only": True},
    "train": {
        "adapter_assist_name_or_path": None, "adaptive_scaling_factor": False, "audio_loss_multiplier": 1.0,
        "batch_noise_correction_scale": 0.1, "blended_blur_noise": False, "cfg_rescale": None, "cfg_scale": 1.0,
        "content_or_style_reg": "balanced", "correct_pred_norm": False, "correct_pred_norm_multiplier": 1.0,
        "diffusion_feature_extractor_path": None, "diffusion_feature_extractor_weight": 1.0, "do_batch_noise_correction": False,
        "do_blank_stabilization": False, "do_cfg": False, "do_fft_loss": False, "do_fft_velocity_equiv_weight": False,
        "do_paramiter_swapping": False, "do_prior_divergence": False, "do_random_cfg": False, "do_signal_amplification": False,
        "do_signal_correction_noise": False, "dynamic_noise_offset": False, "force_first_sample": False, "free_u": False,
        "img_multiplier": 1.0, "latent_feature_extractor_path": None, "latent_feature_loss_weight": 1.0,
        "latent_multiplier": 1.0, "learnable_snr_gos": False, "loss_target": "noise", "match_adapter_assist": False,
        "match_adapter_chance": 0.0, "match_noise_norm": False, "max_cfg_scale": 1.0, "merge_network_on_save": False,
        "merge_network_on_save_strength": 1.0, "negative_prompt": None, "noisy_latent_multiplier": 1.0, "pred_scaler": 1.0,
        "prompt_dropout_prob": 0.0, "prompt_saturation_chance": 0.0, "short_and_long_captions": False,
        "short_and_long_captions_encoder_split": False, "signal_amplification_strength": 0.5,
        "signal_correction_noise_scale": 1.0, "single_item_batching": False, "standardize_images": False,
        "standardize_latents": False, "start_step": None, "t0_loss_target": False, "t0_velocity_equiv_weight": False,
        "target_noise_multiplier": 1.0, "target_norm_std": None, "target_norm_std_value": 1.0,
        "train_turbo": False, "validation_config": None, "weight_jitter": 0.0,
    },
    "ema": {"param_multiplier": 1.0, "use_feedback": False},
    "save": {"push_to_hub": False},
    "sample": {
        "do_cfg_norm": False, "extra_values": [], "guidance_rescale": 0.0, "sample_start_step": 0,
    },
    "item": {"do_cfg_norm": False},
    "dataset": {
        "augments": [], "batch_size": None, "extra_values": [], "standardize_images": False, "unconditional_path": None,
    },
    "logging": {"use_wandb": False},
}  # fmt: skip

MODEL_KWARGS = {
    "control_image_max_pixels", "invert_inpaint_mask_chance", "inpaint_random_chance", "match_target_res", "random_blur_mask",
    "random_dialate_mask", "use_image_refiner", "vlm_max_pixels",
}  # fmt: skip
"""Of its model.model_kwargs, those that no family here has."""

COSTS = {
    "text_encoder_bits": "more memory is needed",
    "push_to_hub": "upload the files yourself",
    "use_wandb": "the log is in the run's folder",
    "validation_config": "no validation loss is measured",
}
"""Those of LATER that cost something else than a different result."""

CONTROLS = {"depth", "line", "pose"}
"""Its kinds of made control pictures that are reference pictures there too: its mask says what is learned, its inpaint what is drawn anew."""

REFUSED: dict[str, dict[str, tuple[Any, str]]] = {
    # without them something else would be trained → the value that changes nothing, and what they ask for
    "process": {
        "adapter": (None, "an adapter"),
        "decorator": (None, "a decorator"),
        "embedding": (None, "an embedding"),
        "slider": (None, "a slider"),
    },
    "model": {},
    "network": {},
    "train": {"train_unet": (True, "training without the denoiser")},
    "ema": {},
    "save": {},
    "sample": {},
    "item": {},
    "dataset": {
        "clip_image_from_same_folder": (False, "pictures for an adapter"),
        "clip_image_path": (None, "pictures for an adapter"),
        "do_audio": (False, "sound"),
        "inpaint_path": (None, "inpainting pictures"),
        "poi": (None, "points of interest"),
    },
    "logging": {},
}

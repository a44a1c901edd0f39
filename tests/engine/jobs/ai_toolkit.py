"""A job of AI Toolkit to change and to read."""

from __future__ import annotations

import copy
from typing import Any

from engine.jobs import TrainJob, load_job_with_notes

PROMPTS = ["a woman with red hair, playing chess", "a man holding a sign that says 'this is a sign'"]


def flux(**process: Any) -> dict[str, Any]:
    """The example for FLUX.1 dev on 24 GB, with what is given in place of its sections."""
    return {
        "job": "extension",
        "config": {
            "name": "my_first_lora_v1",
            "process": [
                {
                    "type": "sd_trainer",
                    "training_folder": "output",
                    "device": "cuda:0",
                    "network": {"type": "lora", "linear": 16, "linear_alpha": 16},
                    "save": {"dtype": "float16", "save_every": 250, "max_step_saves_to_keep": 4, "push_to_hub": False},
                    "datasets": [
                        {
                            "folder_path": "/pictures",
                            "caption_ext": "txt",
                            "caption_dropout_rate": 0.05,
                            "shuffle_tokens": False,
                            "cache_latents_to_disk": True,
                            "resolution": [512, 768, 1024],
                        }
                    ],
                    "train": {
                        "batch_size": 1,
                        "steps": 2000,
                        "gradient_accumulation_steps": 1,
                        "train_unet": True,
                        "train_text_encoder": False,
                        "gradient_checkpointing": True,
                        "noise_scheduler": "flowmatch",
                        "optimizer": "adamw8bit",
                        "lr": 1e-4,
                        "ema_config": {"use_ema": True, "ema_decay": 0.99},
                        "dtype": "bf16",
                    },
                    "model": {"name_or_path": "black-forest-labs/FLUX.1-dev", "is_flux": True},
                    "sample": {
                        "sampler": "flowmatch",
                        "sample_every": 250,
                        "width": 1024,
                        "height": 1024,
                        "prompts": PROMPTS,
                        "neg": "",
                        "seed": 42,
                        "walk_seed": True,
                        "guidance_scale": 4,
                        "sample_steps": 20,
                    },
                    **process,
                }
            ],
        },
        "meta": {"name": "[name]", "version": "1.0"},
    }


def changed(section: str, **values: Any) -> dict[str, Any]:
    """The example with these keys of one section changed."""
    data = copy.deepcopy(flux())
    process = data["config"]["process"][0]
    (process[section][0] if section == "datasets" else process[section]).update(values)
    return data


def read(data: dict[str, Any]) -> tuple[TrainJob, str]:
    """The job, and its notes as one text."""
    job, notes = load_job_with_notes(data)
    assert isinstance(job, TrainJob)
    return job, " ".join(f"{note.message} {note.hint}" for note in notes)

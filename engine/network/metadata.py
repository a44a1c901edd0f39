"""What a LoRA file says about itself: ModelSpec 1.0.1, and the ``ss_*`` texts that other tools show.

No date, time or machine: the same run gives the same bytes. No caption and no folder's name: they stay private.
"""

from __future__ import annotations

import json
from pathlib import Path

from .. import __version__
from ..families.base import ModelFamily
from ..families.catalog import FAMILIES, base_of
from ..families.rows import Kohya
from ..jobs import Adapter, TrainJob

LYCORIS = {"lokr": {"algo": "lokr"}, "loha": {"algo": "loha"}, "oft": {"algo": "diag-oft"}, "dora": {"algo": "lora", "dora_wd": "True"}}
"""Type of network → what LyCORIS says of it."""


def describe_network(job: TrainJob, family: ModelFamily, step: int) -> dict[str, str]:
    """The texts of the header of a LoRA file."""
    side = max(_sides(job, family))
    texts: dict[str, object] = {
        **describe_model(job.name, job.model.name_or_path, family.name),
        "modelspec.resolution": f"{side}x{side}",
        "modelspec.trigger_phrase": job.triggers,
        "modelspec.usage_hint": f"Write {job.triggers} in the prompt." if job.triggers else None,
        "ss_steps": step,
        "ss_max_train_steps": job.train.steps,
        "ss_learning_rate": job.train.lr,
        "ss_lr_scheduler": job.train.lr_scheduler,
        "ss_optimizer": job.train.optimizer,
        "ss_total_batch_size": job.train.batch_size * job.train.gradient_accumulation,
        "ss_seed": job.train.seed,
    }
    if isinstance(job.network, Adapter):
        texts["ss_network_dim"] = job.network.rank
        texts["ss_network_alpha"] = job.network.rank if job.network.alpha is None else job.network.alpha
        texts["ss_network_dropout"] = getattr(job.network, "dropout", 0) or None
        if args := LYCORIS.get(job.network.type):
            texts["ss_network_module"], texts["ss_network_args"] = "lycoris.kohya", json.dumps(args)
    return {key: str(value) for key, value in texts.items() if value is not None}


def describe_model(title: str, base_model: str, family: str) -> dict[str, object]:
    """What every LoRA file says: its name, and what it is for."""
    row = FAMILIES.get(family)
    names = (row and row.kohya) or Kohya(family, "diffusers", family)
    base = base_of(base_model)
    return {
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.architecture": f"{(base and base.architecture) or names.architecture}/lora",
        "modelspec.implementation": names.implementation,
        "modelspec.title": title,
        "ss_output_name": title,
        "ss_base_model_version": names.version,
        "ss_sd_model_name": base.name_or_path if base else Path(base_model).name,
        "ss_network_module": names.module,
        **names.more,
        "software": json.dumps({"name": "Darkroom", "version": __version__}),
    }


def _sides(job: TrainJob, family: ModelFamily) -> list[int]:
    sides: list[int] = []
    for dataset in job.datasets:
        asked = dataset.resolution or family.defaults.resolution
        sides += [asked] if isinstance(asked, int) else asked
    return sides

"""README.md of a run: what it is, its samples and how it is used, as the Hugging Face hub shows it. No torch here.

It says nothing of this computer: no path, no caption, no name of a folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..errors import JobError
from ..events import Sampled
from ..families.catalog import FAMILIES, STARTER, base_of, family_name
from ..families.rows import BaseInfo, FamilyInfo, Task
from ..jobs import Adapter, TrainJob
from .atomic import replace_text
from .folder import RunFolder
from .log import follow

NAME = "README.md"
PIPELINES: dict[Task, str] = {"image": "text-to-image", "edit": "image-to-image", "video": "text-to-video"}
LICENCES = {
    "Apache-2.0": "apache-2.0",
    "MIT": "mit",
    "CreativeML Open RAIL++-M": "openrail++",
    "CreativeML Open RAIL-M": "creativeml-openrail-m",
}
"""Licence of a base model → its name on the hub. Others are for a person to fill in."""


def write_card(folder: RunFolder, job: TrainJob) -> Path:
    """Makes it anew from what is in the folder."""
    path = folder.path / NAME
    replace_text(path, card(folder, job))
    return path


def card(folder: RunFolder, job: TrainJob) -> str:
    """The text."""
    base, family = base_of(job.model.name_or_path), _family(job)
    samples = newest_samples(folder)
    parts = [f"# {job.name}", _what(job, base, family)]
    if job.triggers:
        parts += ["## Trigger words", f"Write `{_plain(job.triggers)}` in the prompt."]
    if samples:
        rows = [f"| ![{_plain(one.prompt)}]({one.path.as_posix()}) | {_plain(one.prompt)} |" for one in samples]
        parts += ["## Samples", "\n".join(["| | prompt |", "|---|---|", *rows])]
    weights = [one for one in folder.checkpoints() if one.path.is_file()]
    if weights and isinstance(job.network, Adapter):
        parts += ["## Use", _use(weights[-1].path.name, base)]
    files = [f"| `{one.path.name}` | {one.step} |" for one in folder.checkpoints()]
    parts += ["## Files", "\n".join(["| file | step |", "|---|---|", *files])] if files else []
    parts += ["## Training", _facts(job), "Made with Darkroom."]
    head = yaml.safe_dump(_head(job, base, family, samples), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{head}---\n\n" + "\n\n".join(parts) + "\n"


def newest_samples(folder: RunFolder) -> list[Sampled]:
    """The last round of samples that is still there."""
    events, _ = follow(folder.events)
    found = [event for event in events if isinstance(event, Sampled) and (folder.path / event.path).is_file()]
    step = max((event.step for event in found), default=0)
    return sorted({event.index: event for event in found if event.step == step}.values(), key=lambda event: event.index)


def _head(job: TrainJob, base: BaseInfo | None, family: FamilyInfo | None, samples: list[Sampled]) -> dict[str, Any]:
    adapter = isinstance(job.network, Adapter)
    on_hub = _hub_name(base)
    head = {
        "license": LICENCES.get(base.licence, "other") if base else None,
        "base_model": on_hub,
        "base_model_relation": ("adapter" if adapter else "finetune") if on_hub else None,
        "pipeline_tag": PIPELINES[family.task] if family else None,
        "library_name": "diffusers",
        "tags": [*([job.network.type] if adapter else []), *(["lora"] if job.network.type not in ("lora", "full", "none") else []), *([family.name] if family else []), "diffusers"],
        "instance_prompt": job.triggers,
        "widget": [{"text": one.prompt, "output": {"url": one.path.as_posix()}} for one in samples] or None,
    }  # fmt: skip
    return {key: value for key, value in head.items() if value is not None}


def _hub_name(base: BaseInfo | None) -> str | None:
    """The base model's name on the hub, if it is there as a whole: the Starter is Darkroom's own, others are single files."""
    return base.name_or_path if base and base is not STARTER and base.name_or_path.count("/") == 1 else None


def _what(job: TrainJob, base: BaseInfo | None, family: FamilyInfo | None) -> str:
    kind = job.network.type if isinstance(job.network, Adapter) else {"full": "whole model"}.get(job.network.type, "small file")
    kind = {"lora": "LoRA", "dora": "DoRA", "lokr": "LoKr", "loha": "LoHa", "oft": "OFT"}.get(kind, kind)
    of = base.title if base else family.title if family else "a model of its own"
    return f"A {kind}, trained on {of}."


def _use(file: str, base: BaseInfo | None) -> str:
    model = STARTER.name_or_path if base is STARTER else _hub_name(base) or "the base model"
    return f"""```python
import torch
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("{model}", torch_dtype=torch.bfloat16)
pipe.load_lora_weights("this repository", weight_name="{file}")
```

ComfyUI and Forge: put the file among the LoRAs."""


def _facts(job: TrainJob) -> str:
    train = job.train
    rank = {"rank": job.network.rank} if isinstance(job.network, Adapter) and not getattr(job.network, "lokr_full_rank", False) else {}
    facts = {
        **rank, "steps": train.steps, "learning rate": f"{train.lr:g}", "optimizer": train.optimizer, "batch size": train.batch_size * train.gradient_accumulation,
        "schedule": train.lr_scheduler, "seed": train.seed,
    }  # fmt: skip
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items())])


def _family(job: TrainJob) -> FamilyInfo | None:
    base = base_of(job.model.name_or_path)
    try:
        return FAMILIES.get(family_name(job.model.arch, None) if job.model.arch else base.family if base else "")
    except JobError:
        return None


def _plain(text: str) -> str:
    """In one line of a table."""
    return " ".join(text.replace("|", "/").replace("`", "'").replace("[", "(").replace("]", ")").split())

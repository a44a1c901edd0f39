"""The two models of an extraction, as model sections: each found as every other job finds its model. No torch here."""

from __future__ import annotations

from pathlib import Path

from ..families.catalog import locate
from ..jobs import ModelSection
from ..jobs.tools.weights import ExtractJob
from ..settings import resolve


def both_models(job: ExtractJob) -> tuple[ModelSection, ModelSection]:
    """The base and the trained model. Where one is no whole model, the other one lends what is not compared."""
    base, tuned = job.model, ModelSection(name_or_path=job.extract_model, arch=job.model.arch)
    lends = base.extras_name_or_path or (base.name_or_path if is_whole_model(base.name_or_path) else None)
    if not is_whole_model(job.extract_model):
        tuned = tuned.model_copy(update={"extras_name_or_path": lends})
    elif lends is None:
        base = base.model_copy(update={"extras_name_or_path": job.extract_model})
    return base, tuned


def is_whole_model(name: str) -> bool:
    """A folder with a model_index.json, or what only the hub can have."""
    return locate(name) is not None or (Path(name).suffix.lower() != ".safetensors" and not resolve(name).exists())

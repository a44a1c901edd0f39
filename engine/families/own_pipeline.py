"""Pipelines for models that diffusers has no pipeline for. Tried with diffusers 0.42.

Such models bring their classes as code in their own files. That code is never run and never asked for: what stands in
their ``model_index.json`` is read, and the classes of this package are put in the place of theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from diffusers import DiffusionPipeline
from huggingface_hub import snapshot_download
from torch import Tensor


class OwnPipeline(DiffusionPipeline):
    """A pipeline that knows the classes of its parts by itself."""

    own_classes: ClassVar[Mapping[str, type]] = {}
    """Part → its class, for those that the model's files name after code of their own."""

    @classmethod
    def load_config(cls, *arguments: Any, **options: Any) -> Any:
        """The model_index.json with this package's classes, and without parts that the pipeline has no use for."""
        config = super().load_config(*arguments, **options)
        if isinstance(config, tuple):
            return (cls._with_own_classes(config[0]), *config[1:])
        return cls._with_own_classes(config)

    @classmethod
    def _with_own_classes(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        known, _ = cls._get_signature_keys(cls)
        kept = {name: value for name, value in config.items() if name.startswith("_") or name in known}
        own = {part: [_library(kind), kind.__name__] for part, kind in cls.own_classes.items() if part in config}
        return {**kept, "_class_name": cls.__name__, **own}

    @classmethod
    def download(cls, pretrained_model_name: str, revision: str | None = None, use_safetensors: bool = True, **given: Any) -> str:
        """The folder of a model on the hub, without the code in it, and without parts that are ``given`` or not the pipeline's."""
        parts = set(cls._get_signature_keys(cls)[0]) - set(given)
        files = [f"{part}/*.{ending}" for part in sorted(parts) for ending in ("json", "txt", "jinja", "model", "safetensors")]
        return snapshot_download(pretrained_model_name, revision=revision, allow_patterns=["model_index.json", *files])


def needed(mask: Tensor | None) -> Tensor | None:
    """The mask of a batch of texts, or None where there is nothing to hide: one text alone is never filled up."""
    return None if mask is None or len(mask) == 1 else mask


def _library(kind: type) -> str:
    """As diffusers names it: a library that it knows, else the module."""
    library = kind.__module__.partition(".")[0]
    return library if library in ("diffusers", "transformers") else kind.__module__

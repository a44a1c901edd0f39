"""A family around a tiny pipeline with a guide beside it, and the stock pipeline that takes the guide."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import tiny
import torch
from PIL import Image

from engine.families.catalog import load_family
from engine.families.defaults import ModelDefaults
from engine.jobs.adapters import ControlNet, T2i
from engine.network.guides.making import attach_guide

SIZE = (64, 32)


def in_two_steps(pipe: Any, **given: Any) -> None:
    """The stock pipeline draws at ``SIZE``; what its scheduler is handed on the way is what tests look at."""
    generator = torch.Generator().manual_seed(0)
    pipe(**given, width=SIZE[0], height=SIZE[1], num_inference_steps=2, guidance_scale=1.0, generator=generator, output_type="latent")


def control() -> Image.Image:
    shades = np.linspace(0, 255, SIZE[0] * SIZE[1] * 3).reshape(SIZE[1], SIZE[0], 3)
    return Image.fromarray(shades.astype(np.uint8))


def saved(folder: Path) -> Path:
    control().save(folder / "control.png")
    return folder / "control.png"


def opened(name: str, folder: Path) -> tuple[tiny.Case, Any]:
    case = next(case for case in tiny.CASES if case.name == name)
    tiny.save(case.make(), folder, **case.defaults)
    kind = load_family(case.family)
    pipe = kind.pipeline_class.from_pretrained(folder, local_files_only=True, **kind.pipeline_options)
    pipe.set_progress_bar_config(disable=True)
    return case, kind(pipe, ModelDefaults.model_validate(tiny.DEFAULTS | case.defaults), folder)


def guided(family: Any, kind: str, learnt: bool = True) -> Any:
    settings = (ControlNet if kind == "control_net" else T2i)()
    guide = attach_guide(settings, family, torch.device("cpu"), torch.float32, 0, False)
    if learnt:  # what is zero at first would not be seen
        rng = torch.Generator().manual_seed(7)
        for weight in guide.parameters():
            weight.data += 0.05 * torch.randn(weight.shape, generator=rng)
    return guide


def stock(family: Any, pipeline: type, guide: Any) -> Any:
    parts = {name: part for name, part in family.pipe.components.items() if name in inspect.signature(pipeline.__init__).parameters}
    extra = {"requires_safety_checker": False} if "requires_safety_checker" in inspect.signature(pipeline.__init__).parameters else {}
    pipe = pipeline(
        **copy.deepcopy(parts), **({"adapter": guide} if pipeline.__name__.endswith("AdapterPipeline") else {"controlnet": guide}), **extra
    )
    for name in ("unet", "transformer"):
        if model := getattr(pipe, name, None):
            model._forward_pre_hooks.clear()  # the copy is the plain model
    pipe.set_progress_bar_config(disable=True)
    return pipe

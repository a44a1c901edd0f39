"""Models that answer yes or no for each of many tags, in the form of transformers' image classification.

WD taggers of SmilingWolf are files of timm and of ONNX, which are not read here; their conversions for transformers are,
with the way that they see pictures written down below, since they bring it as code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from transformers import AutoModelForImageClassification

from ...data.files.pictures import decode
from ...jobs.tools.captions import Tagger
from ...runtime.device import pick_device, pick_dtype
from ..pretrained import fetch, read_images, read_model
from .base import Describe

RATING = "rating:"
KAOMOJI = 3
"""Tags of up to so many letters keep their underscores: they are faces such as ^_^."""


def open_tagger(settings: Tagger) -> Describe:
    folder = fetch(settings.model_name_or_path, "captioner.model_name_or_path", "use the captioner template")
    device = pick_device()
    model: Any = read_model(AutoModelForImageClassification, folder, device, pick_dtype(settings.dtype, device))
    names = [model.config.id2label[index] for index in range(model.config.num_labels)]
    see = _wd_pixels(folder, model) if _is_wd(folder) else _own_pixels(folder)
    excluded = {spoken(tag.strip()) for tag in settings.exclude_tags}

    def describe(paths: Sequence[Path]) -> list[str]:
        pixels = see([decode(path) for path in paths]).to(model.device, model.dtype)
        with torch.inference_mode():
            sure = model(pixel_values=pixels).logits.float().sigmoid().cpu()
        return [", ".join(chosen(names, row.tolist(), settings.threshold, excluded)) for row in sure]

    return describe


def chosen(names: Sequence[str], sure: Sequence[float], threshold: float, excluded: Container[str] = ()) -> list[str]:
    """The tags above the threshold as words, the surest first. Ratings are no tags."""
    order = sorted((-value, index) for index, value in enumerate(sure) if value >= threshold)
    tags = [spoken(names[index]) for _, index in order if not names[index].startswith(RATING)]
    return [tag for tag in dict.fromkeys(tags) if tag not in excluded]


def spoken(tag: str) -> str:
    """The tag as words: blue_hair becomes blue hair."""
    tag = tag.removeprefix("character:").removeprefix("general:")
    return tag if len(tag) <= KAOMOJI else tag.replace("_", " ")


def _is_wd(folder: Path) -> bool:
    file = folder / "preprocessor_config.json"
    return file.is_file() and str(json.loads(file.read_text("utf-8")).get("image_processor_type", "")).startswith("WD")


def _own_pixels(folder: Path) -> Callable[[list[Image.Image]], torch.Tensor]:
    images = read_images(folder)
    return lambda pictures: images(pictures, return_tensors="pt")["pixel_values"]


def _wd_pixels(folder: Path, model: Any) -> Callable[[list[Image.Image]], torch.Tensor]:
    """In the middle of a white square, blue first, from -1 to 1."""
    size = model.config.image_size

    def see(pictures: list[Image.Image]) -> torch.Tensor:
        squares = [
            ImageOps.pad(picture, (max(picture.size),) * 2, color="white").resize((size, size), Image.Resampling.BICUBIC)
            for picture in pictures
        ]
        pixels = np.stack([np.asarray(square, dtype=np.float32)[..., ::-1] for square in squares])
        return torch.from_numpy(pixels / 127.5 - 1).permute(0, 3, 1, 2).contiguous()

    return see

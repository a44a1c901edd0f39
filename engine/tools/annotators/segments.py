"""Masks by segmentation models of transformers: CLIPSeg, which is asked in words, and models with fixed names of things.

BiRefNet and RMBG bring code of their own, which is never run; neither is read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from PIL import Image
from torch.nn import functional as F

from ...errors import JobError
from ...jobs.explain import did_you_mean
from ...jobs.tools.masks import ClipSeg, Labels
from ...runtime.device import pick_device, pick_dtype
from ..pretrained import config_of, fetch, placed, read_images, read_model, read_tokenizer

Find = Callable[[list[Image.Image]], list[Image.Image]]
"""Pictures → for each one a mask of its size, white where something was found."""

UNIVERSAL = {"mask2former", "maskformer", "eomt"}
INSTEAD = "use the masker alpha for pictures with transparent backgrounds"


def open_segments(settings: ClipSeg | Labels) -> Find:
    return open_clipseg(settings) if isinstance(settings, ClipSeg) else open_labels(settings)


def open_clipseg(settings: ClipSeg) -> Find:
    folder = fetch(settings.model_name_or_path, "masker.model_name_or_path", INSTEAD)
    device = pick_device()
    model: Any = read_model(transformers.CLIPSegForImageSegmentation, folder, device, pick_dtype(settings.dtype, device))
    images = read_images(folder)
    asked = read_tokenizer(folder)(
        settings.prompts, padding=True, truncation=True, max_length=model.config.text_config.max_position_embeddings, return_tensors="pt"
    )
    words = {name: asked[name].to(device) for name in ("input_ids", "attention_mask")}
    count = len(settings.prompts)

    def find(pictures: list[Image.Image]) -> list[Image.Image]:
        pixels = placed(images(pictures, return_tensors="pt"), model)["pixel_values"].repeat_interleave(count, 0)
        repeated = {name: tokens.repeat(len(pictures), 1) for name, tokens in words.items()}
        with torch.inference_mode():
            logits = model(pixel_values=pixels, **repeated).logits.float()
            sure = logits.reshape(len(pictures), count, *logits.shape[-2:]).sigmoid().amax(1)
            return [_mask(one, picture, settings.threshold) for one, picture in zip(sure, pictures, strict=True)]

    return find


def open_labels(settings: Labels) -> Find:
    folder = fetch(settings.model_name_or_path, "masker.model_name_or_path", INSTEAD)
    universal = config_of(folder).get("model_type") in UNIVERSAL
    kind = transformers.AutoModelForUniversalSegmentation if universal else transformers.AutoModelForSemanticSegmentation
    device = pick_device()
    model: Any = read_model(kind, folder, device, pick_dtype(settings.dtype, device))
    images = read_images(folder)
    known = {name.lower(): index for index, name in model.config.id2label.items()}
    for label in settings.labels:
        if label.lower() not in known:
            raise JobError(f"{settings.model_name_or_path} knows no {label!r}.", did_you_mean(label.lower(), list(known)[:40]))
    wanted = torch.tensor([known[label.lower()] for label in settings.labels])

    def find(pictures: list[Image.Image]) -> list[Image.Image]:
        with torch.inference_mode():
            answer = model(**placed(images(pictures, return_tensors="pt"), model))
            maps = images.post_process_semantic_segmentation(answer, target_sizes=[(one.height, one.width) for one in pictures])
        return [Image.fromarray((torch.isin(one.cpu(), wanted).numpy() * 255).astype("uint8")) for one in maps]

    return find


def _mask(sure: torch.Tensor, picture: Image.Image, threshold: float) -> Image.Image:
    """Black and white, in the size of the picture."""
    whole = F.interpolate(sure[None, None], (picture.height, picture.width), mode="bilinear", align_corners=False)[0, 0]
    return Image.fromarray(((whole >= threshold).cpu().numpy() * 255).astype("uint8"))

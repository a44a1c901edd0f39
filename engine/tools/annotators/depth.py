"""Depth, by any model for it that transformers has."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch.nn import functional as F
from transformers import AutoModelForDepthEstimation

from ...jobs.tools.controls import Annotators
from ...runtime.device import pick_device, pick_dtype
from ..pretrained import fetch, placed, read_images, read_model
from .edges import Annotate

FAR_IS_MORE = {"zoedepth", "depth_pro", "glpn"}
"""Models that give metres; the others give how near something is."""


def open_depth(settings: Annotators) -> Annotate:
    """Grey pictures, what is near is white."""
    folder = fetch(settings.depth_model, "annotators.depth_model", "use canny or line")
    device = pick_device()
    model: Any = read_model(AutoModelForDepthEstimation, folder, device, pick_dtype(settings.dtype, device))
    images = read_images(folder)
    far = model.config.model_type in FAR_IS_MORE or getattr(model.config, "depth_estimation_type", "") == "metric"

    def annotate(picture: Image.Image) -> Image.Image:
        with torch.inference_mode():
            depth = model(**placed(images(picture, return_tensors="pt"), model)).predicted_depth[:1].float()
            depth = F.interpolate(depth[:, None], (picture.height, picture.width), mode="bicubic", align_corners=False)[0, 0]
            depth = -depth if far else depth
            lowest, highest = depth.min(), depth.max()
            grey = (depth - lowest) / (highest - lowest).clamp(min=1e-6)
        return Image.fromarray((grey * 255).round().clamp(0, 255).to(torch.uint8).cpu().numpy())

    return annotate

"""Measuring only: what an independent network sees in a picture, and what its colours are called.

EfficientNet-Lite0, trained on ImageNet photos by others; nothing of it goes into the starter. B batch, C channels, H W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

SIDE = 224
STAGES = ((1, 3, 1), (2, 3, 2), (2, 5, 2), (3, 3, 2), (3, 5, 1), (4, 5, 2), (1, 3, 1))
"""Blocks, kernel and stride of each stage; the kernel is in the weights too."""


@dataclass(frozen=True)
class EfficientNet:
    """Unit features of pictures. Weights are read without pickle's code (``weights_only``)."""

    weights: dict[str, Tensor]

    @classmethod
    def load(cls, file: Path) -> EfficientNet:
        return cls(torch.load(file, weights_only=True))

    @torch.no_grad()
    def __call__(self, pictures: list[Image.Image]) -> Tensor:
        """One row of 1280 features a picture, of length one."""
        rows = [self._features(as_batch(pictures[start : start + 32])) for start in range(0, len(pictures), 32)]
        return F.normalize(torch.cat(rows), dim=-1)

    def _features(self, x: Tensor) -> Tensor:
        x = F.interpolate(x, size=SIDE, mode="bicubic", align_corners=False) * (127.5 / 128)
        x = F.relu6(self._norm(self._conv(x, "_conv_stem", 2), "_bn0"))
        number = 0
        for blocks, _, stride in STAGES:
            for block in range(blocks):
                x = self._block(x, f"_blocks.{number}.", stride if block == 0 else 1)
                number += 1
        return F.relu6(self._norm(self._conv(x, "_conv_head"), "_bn1")).mean((2, 3))

    def _block(self, x: Tensor, name: str, stride: int) -> Tensor:
        y = x
        if f"{name}_expand_conv.weight" in self.weights:
            y = F.relu6(self._norm(self._conv(y, f"{name}_expand_conv"), f"{name}_bn0"))
        y = F.relu6(self._norm(self._conv(y, f"{name}_depthwise_conv", stride, y.shape[1]), f"{name}_bn1"))
        y = self._norm(self._conv(y, f"{name}_project_conv"), f"{name}_bn2")
        return x + y if stride == 1 and x.shape == y.shape else y

    def _conv(self, x: Tensor, name: str, stride: int = 1, groups: int = 1) -> Tensor:
        """Padded as TensorFlow does, where the weights come from."""
        weight = self.weights[f"{name}.weight"]
        missing = max((-(-x.shape[-1] // stride) - 1) * stride + weight.shape[-1] - x.shape[-1], 0)
        before, after = missing // 2, missing - missing // 2
        return F.conv2d(F.pad(x, (before, after, before, after)), weight, stride=stride, groups=groups)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        mean, var, weight, bias = (self.weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias, False, 0, 1e-3)


def as_batch(pictures: list[Image.Image]) -> Tensor:
    """BCHW in [-1, 1]; the pictures have one size."""
    stacked = np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 127.5 - 1


def paper_colour(picture: Image.Image) -> np.ndarray:
    """The background: the median colour of the outermost pixels, 0 to 255."""
    pixels = np.asarray(picture.convert("RGB"))
    return np.median(np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]), axis=0)


def object_mask(picture: Image.Image) -> np.ndarray:
    """HW: what is not background."""
    pixels = np.asarray(picture.convert("RGB")).astype(float)
    return np.linalg.norm(pixels - paper_colour(picture), axis=-1) > 60


def grey_object(picture: Image.Image) -> Image.Image:
    """The object without its colours, its greys spread evenly, on white: what is left is shape and drawing."""
    mask, grey = object_mask(picture), np.asarray(picture.convert("L")).astype(float)
    if mask.sum() < 20:
        return Image.new("RGB", picture.size, "white")
    ranks = np.interp(grey, np.sort(grey[mask]), np.linspace(30, 225, int(mask.sum())))
    return Image.fromarray(np.where(mask, ranks, 255).astype(np.uint8), "L").convert("RGB")


def colour_names(rgb: np.ndarray) -> list[str]:
    """What each colour, N x 3 of 0 to 255, is called."""
    return [_colour_name(*colour) for colour in rgb / 255]


def _colour_name(red: float, green: float, blue: float) -> str:
    top, low = max(red, green, blue), min(red, green, blue)
    spread = top - low
    strength = spread / top if top else 0.0
    if top < 0.22:
        return "dark"
    if strength < 0.13:
        return "white" if top > 0.9 else "grey"
    if top == red:
        hue = 60 * ((green - blue) / spread % 6)
    else:
        hue = 60 * ((blue - red) / spread + 2) if top == green else 60 * ((red - green) / spread + 4)
    if hue < 14 or hue >= 345:
        return "pink" if top > 0.8 and strength < 0.5 else "red"
    if hue < 40:
        return "brown" if top < 0.62 else "orange"
    bounds = ((66, "yellow"), (170, "green"), (250, "blue"), (303, "purple"))
    return next((name for bound, name in bounds if hue < bound), "pink")


def histogram(pictures: list[Image.Image]) -> np.ndarray:
    """Share of each of 64 coarse colours over all pixels of all pictures."""
    pixels = np.concatenate([np.asarray(picture.convert("RGB")).reshape(-1, 3) for picture in pictures]) // 64
    counts = np.bincount(pixels @ np.array([16, 4, 1]), minlength=64)
    return counts / counts.sum()


def colour_distance(one: list[Image.Image], other: list[Image.Image]) -> float:
    """Half the sum of differences of the two histograms: 0 the same colours, 1 none in common."""
    return float(np.abs(histogram(one) - histogram(other)).sum() / 2)

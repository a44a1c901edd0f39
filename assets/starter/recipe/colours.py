"""Named colours: backgrounds in them, and objects turned into them. All randomness comes in as ``rng``."""

from __future__ import annotations

import colorsys
from random import Random

import numpy as np
from PIL import Image

HUES = {"red": 0, "orange": 27, "yellow": 50, "green": 125, "blue": 218, "purple": 275, "pink": 330}
"""Degrees."""
OBJECT_COLOURS = (*HUES, "grey", "black")
LABEL_COLOURS = frozenset({*HUES, "grey", "black", "white", "brown", "light", "dark"})
"""Words that a new colour takes the place of."""

_TONE = {"red": 0.85, "orange": 0.93, "yellow": 0.95, "green": 0.68, "blue": 0.82, "purple": 0.70, "pink": 0.96}
"""Mean brightness by which the eye still gives the colour this name: dark yellow is olive."""
_STRENGTH = {"pink": 0.5}
"""Mean saturation, where it is not 0.8."""


def background(rng: Random, size: int) -> tuple[str, Image.Image]:
    """What a caption calls it, and the picture: one colour, a gradient, or the dark."""
    kind = rng.choices(("plain", "gradient", "dark"), (0.45, 0.3, 0.25))[0]
    if kind == "dark":
        name = rng.choice(("dark", "dark", "black"))
        value = 0.03 if name == "black" else rng.uniform(0.08, 0.17)
        colour = (rng.random(), 0.0 if name == "black" else rng.uniform(0.1, 0.6), value)
    else:
        name, colour = _named(rng)
    end = colour
    if kind == "gradient":
        hue, saturation, value = colour
        end = (hue + rng.uniform(-0.03, 0.03), saturation * rng.uniform(0.4, 0.9), min(1.0, value * rng.uniform(0.75, 1.3)))
    return name, _gradient(_rgb(colour), _rgb(end), rng.choice(("down", "across", "diagonal", "round")), size)


def _named(rng: Random) -> tuple[str, tuple[float, float, float]]:
    """A colour's name and its hue, saturation, value."""
    name = rng.choice((*HUES, *HUES, "brown", "grey", "light", "dark blue", "dark green", "dark red", "dark purple"))
    if name == "brown":
        return name, (rng.uniform(18, 28) / 360, rng.uniform(0.5, 0.7), rng.uniform(0.35, 0.5))
    if name == "grey":
        return name, (0.0, 0.0, rng.uniform(0.45, 0.68))
    tone, _, hue_name = name.rpartition(" ")
    if tone == "dark":
        return name, (_hue(hue_name, rng), rng.uniform(0.6, 0.9), rng.uniform(0.22, 0.36))
    if name == "light":
        hue_name = rng.choice([hue for hue in HUES if hue != "red"])
        return f"light {hue_name}", (_hue(hue_name, rng), rng.uniform(0.18, 0.32), rng.uniform(0.94, 1.0))
    strength, tone_ = _STRENGTH.get(name, 0.8), _TONE[name]
    return name, (_hue(name, rng), strength * rng.uniform(0.85, 1.15), min(1.0, tone_ * rng.uniform(0.92, 1.08)))


def _hue(name: str, rng: Random) -> float:
    return (HUES[name] + rng.uniform(-6, 6)) % 360 / 360


def _rgb(colour: tuple[float, float, float]) -> np.ndarray:
    hue, saturation, value = colour
    return np.array(colorsys.hsv_to_rgb(hue % 1, min(1.0, saturation), min(1.0, value))) * 255


def _gradient(start: np.ndarray, end: np.ndarray, direction: str, size: int) -> Image.Image:
    y, x = np.mgrid[0 : 1 : size * 1j, 0 : 1 : size * 1j]
    along = {"down": y, "across": x, "diagonal": (x + y) / 2, "round": np.hypot(x - 0.5, y - 0.5) * 1.4}[direction]
    mixed = start + (end - start) * along.clip(0, 1)[..., None]
    return Image.fromarray(mixed.round().clip(0, 255).astype(np.uint8), "RGB").convert("RGBA")


def recoloured(object_: Image.Image, name: str, rng: Random) -> Image.Image:
    """The RGBA object in the named colour: hue is replaced, light and shade stay."""
    pixels = np.asarray(object_).astype(np.float64) / 255
    rgb, alpha = pixels[..., :3], pixels[..., 3]
    value, saturation = rgb.max(-1), _saturation(rgb)
    coloured = (saturation > 0.18) & (value > 0.12) & (alpha > 0.5)
    if coloured.sum() < 0.35 * (alpha > 0.5).sum():
        coloured = alpha > 0  # a white or grey object: all of it takes the colour
        saturation = np.where(value < 0.25, 0.2, 0.8)
    if name in ("grey", "black"):
        tone = {"grey": 0.55, "black": 0.13}[name]
        value, saturation = _with_mean(value, coloured, tone), np.where(coloured, 0.0, saturation)
        painted = np.repeat(value[..., None], 3, -1)
    else:
        value = _with_mean(value, coloured, _TONE[name] * rng.uniform(0.95, 1.05))
        saturation = _with_mean(saturation, coloured, _STRENGTH.get(name, 0.8))
        painted = _hsv_to_rgb(_hue(name, rng), saturation, value)
    blend = coloured[..., None] * np.ones(3)
    result = np.concatenate([rgb * (1 - blend) + painted * blend, alpha[..., None]], -1)
    return Image.fromarray((result * 255).round().clip(0, 255).astype(np.uint8), "RGBA")


def _with_mean(channel: np.ndarray, where: np.ndarray, mean: float) -> np.ndarray:
    """The channel bent by a power so that its mean over ``where`` comes near ``mean``; black and white stay.

    What is white all over cannot be bent: the rest of the way is a plain factor.
    """
    if not where.any():
        return channel
    now = np.clip(channel[where], 0.02, 0.98).mean()
    bent = channel ** float(np.clip(np.log(min(mean, 0.98)) / np.log(now), 0.05, 4.0))
    return bent * min(1.0, 1.15 * mean / max(bent[where].mean(), 1e-6))


def _saturation(rgb: np.ndarray) -> np.ndarray:
    top = rgb.max(-1)
    return np.where(top > 0, (top - rgb.min(-1)) / np.maximum(top, 1e-6), 0)


def _hsv_to_rgb(hue: float, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    full = np.array(colorsys.hsv_to_rgb(hue, 1, 1))
    return value[..., None] * (1 - saturation[..., None] * (1 - full))

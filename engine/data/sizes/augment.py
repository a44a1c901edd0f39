"""Pictures changed a little each time they are shown. What is drawn follows from a number, so a resumed run shows the same.

The names are those of Albumentations, which AI Toolkit's files use; the arithmetic is Pillow's.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from ...errors import JobError
from ...jobs.data import Augmentation
from ..chance import number

Shares = Callable[[str], float]
"""A number in [0, 1) for each name that is asked for."""


def augmented(picture: Image.Image, steps: Sequence[Augmentation], *drawn_for: int | str) -> Image.Image:
    """The picture after each of ``steps`` that its ``p`` lets happen, in their order. Its size stays."""
    for index, step in enumerate(steps):

        def share(name: str, index: int = index) -> float:
            return number("augment", index, name, *drawn_for) / 2**64

        if share("whether") < step.p:
            picture = METHODS[step.method](picture, share, **step.params)
    return picture


def check_augmentations(steps: Sequence[Augmentation]) -> None:
    """Raises JobError for a method or a parameter that there is not. Each is tried once."""
    for step in steps:
        if step.method not in METHODS:
            near = difflib.get_close_matches(step.method, METHODS, 1)
            raise JobError(
                f"There is no augmentation {step.method}.",
                f"Did you mean {near[0]}?" if near else f"There are: {', '.join(METHODS)}.",
            )
        try:
            METHODS[step.method](Image.new("RGB", (8, 8)), lambda name: 0.5, **step.params)
        except (TypeError, ValueError) as error:
            raise JobError(
                f"The parameters of the augmentation {step.method} do not suit it: {error}.", "Check their names and values."
            ) from error


def _between(limits: float | Sequence[float], share: float) -> float:
    """A number between the limits; one limit stands for itself on both sides of nothing."""
    low, high = (-limits, limits) if isinstance(limits, int | float) else limits
    return low + (high - low) * share


def _brightness_contrast(picture: Image.Image, share: Shares, brightness_limit: Any = 0.2, contrast_limit: Any = 0.2) -> Image.Image:
    picture = ImageEnhance.Brightness(picture).enhance(1 + _between(brightness_limit, share("brightness")))
    return ImageEnhance.Contrast(picture).enhance(1 + _between(contrast_limit, share("contrast")))


def _hue_saturation(
    picture: Image.Image, share: Shares, hue_shift_limit: Any = 20, sat_shift_limit: Any = 30, val_shift_limit: Any = 20
) -> Image.Image:
    """Hue in half degrees, saturation and value of 255, as OpenCV counts them."""
    hue, saturation, value = picture.convert("HSV").split()
    turn = _between(hue_shift_limit, share("hue")) * 255 / 180
    more, lighter = _between(sat_shift_limit, share("saturation")), _between(val_shift_limit, share("value"))
    bands = (
        hue.point([round(level + turn) % 256 for level in range(256)]),
        saturation.point([min(255, max(0, round(level + more))) for level in range(256)]),
        value.point([min(255, max(0, round(level + lighter))) for level in range(256)]),
    )
    return Image.merge("HSV", bands).convert("RGB")


def _colour_jitter(
    picture: Image.Image, share: Shares, brightness: Any = 0.2, contrast: Any = 0.2, saturation: Any = 0.2, hue: Any = 0.2
) -> Image.Image:
    picture = _brightness_contrast(picture, share, brightness, contrast)
    picture = ImageEnhance.Color(picture).enhance(1 + _between(saturation, share("saturation")))
    return _hue_saturation(picture, share, [180 * limit for limit in hue] if isinstance(hue, Sequence) else 180 * hue, 0, 0)


def _rotate(picture: Image.Image, share: Shares, limit: Any = 90) -> Image.Image:
    """What comes in at the corners is the picture mirrored at its edges."""
    width, height = picture.size
    wide = Image.new("RGB", (3 * width, 3 * height))
    for column in range(3):
        for row in range(3):
            tile = ImageOps.mirror(picture) if column != 1 else picture
            wide.paste(ImageOps.flip(tile) if row != 1 else tile, (column * width, row * height))
    turned = wide.rotate(_between(limit, share("angle")), Image.Resampling.BICUBIC)
    return turned.crop((width, height, 2 * width, 2 * height))


def _blur(picture: Image.Image, share: Shares, sigma_limit: Any = (0.5, 3.0)) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(_between(sigma_limit, share("sigma"))))


def _sharpen(picture: Image.Image, share: Shares, alpha: Any = (0.2, 0.5)) -> Image.Image:
    return Image.blend(picture, picture.filter(ImageFilter.SHARPEN), _between(alpha, share("alpha")))


MOVING = frozenset({"HorizontalFlip", "VerticalFlip", "Rotate"})
"""They move what is in the picture, and its mask would stay."""

METHODS: dict[str, Callable[..., Image.Image]] = {
    "HorizontalFlip": lambda picture, share: ImageOps.mirror(picture),
    "VerticalFlip": lambda picture, share: ImageOps.flip(picture),
    "RandomBrightnessContrast": _brightness_contrast,
    "HueSaturationValue": _hue_saturation,
    "ColorJitter": _colour_jitter,
    "Rotate": _rotate,
    "GaussianBlur": _blur,
    "Sharpen": _sharpen,
    "ToGray": lambda picture, share: picture.convert("L").convert("RGB"),
    "AutoContrast": lambda picture, share: ImageOps.autocontrast(picture),
    "Equalize": lambda picture, share: ImageOps.equalize(picture),
}

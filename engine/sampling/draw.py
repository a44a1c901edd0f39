"""One request, one picture, one file with its settings inside."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from PIL import Image, PngImagePlugin

from ..data.files.pictures import decode
from ..errors import JobError
from ..families.base import Conditioning, ModelFamily, Request
from ..runs.atomic import replace_file
from ..runtime.device import autocast
from ..runtime.texts import Text, text_of

Conditioner = Callable[[Sequence[Text]], Conditioning]
"""Texts to their features on the device."""
Picture = Image.Image | list[Image.Image]
"""A picture, or the frames of a video."""
_DESCRIPTION = 0x010E  # EXIF ImageDescription


def draw(family: ModelFamily, conditioning: Conditioner, request: Request, device: torch.device, dtype: torch.dtype) -> Picture:
    """The picture of a request, by the stock pipeline. Leaves the training's random numbers as they were."""
    training = {denoiser: denoiser.training for denoiser in family.denoisers}
    for denoiser in training:
        denoiser.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(), autocast(device, dtype):
            pictures = [decode(Path(path)) for path in request.controls]
            positive, negative = texts_of(family, request)
            without = conditioning([negative]) if family.wants_negative(request) else None
            return family.sample(conditioning([positive]), without, request, pictures)
    except torch.OutOfMemoryError as error:
        raise JobError(
            f"There is not enough memory to draw {request.width} x {request.height} pixels.",
            "Choose a smaller picture.",
        ) from error
    finally:
        for denoiser, mode in training.items():
            denoiser.train(mode)


def texts_of(family: ModelFamily, request: Request) -> tuple[Text, Text]:
    """What the text encoders read for a request: the prompt and the negative prompt."""
    if len(request.controls) < family.min_controls:
        raise JobError(
            f"{family.title} draws from a reference picture, and the prompt {request.prompt!r} has none.",
            "Give each prompt its picture: ctrl_img under sample.samples.",
        )
    return text_of(family, request.prompt, request.controls), text_of(family, request.negative, request.controls)


def save_picture(image: Picture, path: Path, request: Request, **origin: str) -> None:
    """The picture with its settings as JSON inside: EXIF ImageDescription, or the text "darkroom" of a PNG. A video is a WebP."""
    image, *frames = image if isinstance(image, list) else [image]
    moving: dict[str, Any] = {"save_all": True, "append_images": frames, "duration": round(1000 / request.fps), "loop": 0} if frames else {}
    settings = json.dumps(asdict(request) | origin, ensure_ascii=False)
    if path.suffix == ".png":
        info = PngImagePlugin.PngInfo()
        info.add_itxt("darkroom", settings)
        replace_file(path, lambda new: image.save(new, pnginfo=info))
        return
    exif = Image.Exif()
    exif[_DESCRIPTION] = settings
    replace_file(path, lambda new: image.save(new, quality=95, exif=exif, **moving))


def read_settings(path: Path) -> dict[str, object]:
    """The settings inside a picture that ``save_picture`` made; empty if there are none."""
    with Image.open(path) as image:
        text = getattr(image, "text", {}).get("darkroom") or image.getexif().get(_DESCRIPTION)
    try:
        return json.loads(text) if text else {}
    except ValueError:
        return {}

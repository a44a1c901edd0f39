"""What is peculiar to a family's files, beside the names of its layers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Dialect:
    part: str = "transformer"
    """What diffusers calls the denoiser; a second expert is the same with _2."""
    texts: Mapping[str, str] = field(
        default_factory=lambda: {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2", "text_encoder_3": "lora_te3"}
    )
    """Text encoder → what its flat names begin with."""
    flat: Literal["native", "diffusers"] = "native"
    """Which names of the denoiser kohya's are made from."""
    plain: bool = False
    """Under native names diffusers (0.42) reads LoRAs of this family only with PEFT's endings and without an alpha."""
    whole: Collection[str] = ()
    """Forms under whose names ComfyUI knows no diffusers' layer that is a part of a native one: of such layers it reads LoRAs alone."""


# kohya trains SD 1 and 2 on diffusers' UNet and SDXL on the original one, and so are its names. ComfyUI, Forge and
# diffusers read these, and for SDXL diffusers' names too; kohya's own scripts read only these.
_SD = Dialect("unet", {"text_encoder": "lora_te"}, "diffusers")
_SDXL = Dialect("unet", {"text_encoder": "lora_te1", "text_encoder_2": "lora_te2"})
_FLUX = Dialect(texts={"text_encoder": "lora_te1", "text_encoder_2": "lora_te3"})

DIALECTS: dict[str, Dialect] = {
    "sd15": _SD,
    "sd21": _SD,
    "sdxl": _SDXL,
    **dict.fromkeys(("flux", "flux_kontext", "flex1", "flex2"), _FLUX),
    "flux2": Dialect(plain=True),
    "flux2_klein": Dialect(plain=True),
    "ernie_image": Dialect(plain=True),
    "krea2": Dialect(plain=True),
    "ltx_video": Dialect(plain=True),
    "ltx2": Dialect(plain=True),
    # ComfyUI (comfy/lora.py) has no table of the names of the first, the table that it uses for the second is Z-Image's, and
    # those of the last two are only for names with dots
    "ideogram4": Dialect(whole=("comfyui", "kohya")),
    "lumina2": Dialect(whole=("comfyui", "kohya")),
    "pixart_sigma": Dialect(whole=("kohya",)),
    "auraflow": Dialect(whole=("kohya",)),
}


def dialect_of(family: str | None) -> Dialect:
    return DIALECTS.get(family or "", Dialect())

"""What can be asked of each family before its module, and with it torch, is loaded. A test compares it with the classes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Facts:
    """The attributes of that name of a ``ModelFamily``; of those that are tables there, their keys."""

    objective: Literal["flow", "denoising"] = "flow"
    is_video: bool = False
    min_controls: int = 0
    max_controls: int = 0
    inpaints: bool = False
    own_frame: bool = False
    text_lora_targets: Collection[str] = ()
    word_keys: Collection[str] = ()
    decorated: str | None = None
    adapters: Collection[str] = ()
    """Types of adapters that can be trained beside its denoiser."""


_CLIP, _CLIPS, _THREE = ("text_encoder",), ("text_encoder", "text_encoder_2"), ("text_encoder", "text_encoder_2", "text_encoder_3")
_FLUX = Facts(word_keys=_CLIPS, decorated="prompt_embeds", adapters=("control_net", "control_lora", "redux"))
_SD = Facts("denoising", text_lora_targets=_CLIP, word_keys=_CLIP, decorated="prompt_embeds", adapters=("control_net", "t2i", "ip"))
_WAN, _WAN_I2V = Facts(is_video=True), Facts(is_video=True, min_controls=1, max_controls=1, own_frame=True)

FACTS: dict[str, Facts] = {
    "flux": _FLUX, "flex1": _FLUX,
    "flux_kontext": Facts(max_controls=1, word_keys=_CLIPS, decorated="prompt_embeds"),
    "flex2": Facts(max_controls=1, inpaints=True, word_keys=_CLIPS, decorated="prompt_embeds"),
    "chroma": Facts(word_keys=_CLIP),
    "flux2": Facts(max_controls=3), "flux2_klein": Facts(max_controls=3),
    "sd15": _SD, "sd21": _SD,
    "sdxl": Facts("denoising", text_lora_targets=_CLIPS, word_keys=_CLIPS, decorated="prompt_embeds", adapters=("control_net", "t2i", "ip")),
    "sd3": Facts(text_lora_targets=_CLIPS, word_keys=_THREE, decorated="prompt_embeds", adapters=("control_net",)),
    "qwen_image_edit": Facts(min_controls=1, max_controls=1), "qwen_image_edit_plus": Facts(min_controls=1, max_controls=3),
    "hidream_e1": Facts(min_controls=1, max_controls=1),
    "omnigen2": Facts(max_controls=5),
    "wan21": _WAN, "wan22_14b": _WAN, "wan21_i2v": _WAN_I2V, "wan22_14b_i2v": _WAN_I2V, "wan22_5b": Facts(is_video=True, max_controls=1),
    "ltx_video": Facts(is_video=True), "ltx2": Facts(is_video=True),
    "pixart_sigma": Facts("denoising"),
    **dict.fromkeys(("zimage", "lumina2", "qwen_image", "hidream", "cogview4", "auraflow", "krea2", "ideogram4", "ernie_image", "nucleus_image", "prx", "prx_pixel", "chroma_radiance"), Facts()),
}  # fmt: skip
"""By family. Those of extensions are not in it: they are asked when they are loaded."""

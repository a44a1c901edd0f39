"""Names of layers, as tables: diffusers' on one side, the original model's ("native", read by ComfyUI) on the other.

SAME says that a family's native names are diffusers' own. A family without a table has no native form: of CogView4 neither
ComfyUI nor kohya has the model, and AI Toolkit writes diffusers' form. ``{}`` stands for the number of a block.
"""

from __future__ import annotations

from collections.abc import Iterable

from .auraflow import AURAFLOW
from .chroma import CHROMA
from .dialect import Dialect, dialect_of
from .flux import FLUX
from .flux2 import FLUX2
from .ideogram4 import IDEOGRAM4
from .krea2 import KREA2
from .ltx2 import LTX2
from .lumina2 import LUMINA2
from .pixart import PIXART
from .qwen import QWEN
from .rule import SAME, Rule, fill, match
from .sd3 import SD3
from .text import TEXT, text_path
from .unet import SD, SDXL
from .wan import WAN
from .zimage import ZIMAGE

__all__ = [
    "SAME", "TABLES", "TEXT", "Dialect", "Rule", "dialect_of", "families_of", "family_of", "fill", "find_diffusers", "find_native", "text_path",
]  # fmt: skip

TABLES: dict[str, tuple[Rule, ...]] = {
    "flux": FLUX,
    "sd15": SD,
    "sd21": SD,
    "sdxl": SDXL,
    "sd3": SD3,
    "flux_kontext": FLUX,
    "flex1": FLUX,
    "flex2": FLUX,
    "lumina2": LUMINA2,
    "zimage": ZIMAGE,
    "chroma": CHROMA,
    "auraflow": AURAFLOW,
    "flux2": FLUX2,
    "flux2_klein": FLUX2,
    "qwen_image": QWEN,
    "qwen_image_edit": QWEN,
    "qwen_image_edit_plus": QWEN,
    "hidream": SAME,
    "hidream_e1": SAME,
    "omnigen2": SAME,
    "ernie_image": SAME,
    "krea2": KREA2,
    "ideogram4": IDEOGRAM4,
    "chroma_radiance": SAME,
    "ltx_video": SAME,
    "pixart_sigma": PIXART,
    "ltx2": LTX2,  # behind the one before, whose names may be some of these
    # ComfyUI has no such models; AI Toolkit writes and reads diffusers' names under diffusion_model.
    "nucleus_image": SAME,
    "prx": SAME,
    "prx_pixel": SAME,
    "wan21": WAN,
    "wan21_i2v": WAN,
    "wan22_5b": WAN,
    "wan22_14b": WAN,
    "wan22_14b_i2v": WAN,
}


def find_diffusers(table: Iterable[Rule], path: str, flat: bool = False) -> tuple[Rule, int, tuple[str, ...]] | None:
    """The rule of a diffusers path, its place among the rule's parts, and the block numbers in it."""
    for rule in table:
        for position, part in enumerate(rule.parts):
            if (groups := match(part, path, flat)) is not None:
                return rule, position, groups
    return None


def find_native(table: Iterable[Rule], path: str, flat: bool = False) -> tuple[Rule, tuple[str, ...]] | None:
    """The rule of a native path, and the block numbers in it."""
    for rule in table:
        if (groups := match(rule.native, path, flat)) is not None:
            return rule, groups
    return None


def families_of(paths: Iterable[str], flat: Iterable[str] = ()) -> list[str]:
    """The families whose table has every one of these paths, in diffusers' names or in native ones.

    ``flat`` are paths with underscores for dots. SAME, which takes any name, stands behind the others.
    """
    names = [*((path, False) for path in paths), *((path, True) for path in flat)]

    def knows(table: tuple[Rule, ...]) -> bool:
        return bool(names) and all(find_native(table, *name) or find_diffusers(table, *name) for name in names)

    return sorted((family for family, table in TABLES.items() if knows(table)), key=lambda family: TABLES[family] is SAME)


def family_of(paths: Iterable[str], hint: str | None = None) -> str | None:
    """The family of these paths. Several may share their names: ``hint`` is taken if it is one of them, else the first.

    SAME, which takes any name, is chosen by ``hint`` alone.
    """
    families = families_of(paths)
    return hint if hint in families else next((family for family in families if TABLES[family] is not SAME), None)

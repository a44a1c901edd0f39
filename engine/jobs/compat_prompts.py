"""Sample prompts with settings inside: "a cat --w 512 --d 42"."""

from __future__ import annotations

import re
from typing import Any

FLAGS: dict[str, tuple[str, type]] = {
    "n": ("neg", str),
    "w": ("width", int),
    "h": ("height", int),
    "d": ("seed", int),
    "seed": ("seed", int),
    "l": ("guidance_scale", float),
    "cfg": ("guidance_scale", float),
    "s": ("sample_steps", int),
    "steps": ("sample_steps", int),
    "m": ("network_multiplier", float),
    "network_multiplier": ("network_multiplier", float),
    "ctrl_img": ("ctrl_img", str),
    "ctrl_img_1": ("ctrl_img_1", str),
    "ctrl_img_2": ("ctrl_img_2", str),
    "ctrl_img_3": ("ctrl_img_3", str),
    "fps": ("fps", int),
    "frames": ("num_frames", int),
    "num_frames": ("num_frames", int),
}
"""AI Toolkit's flag → our key, and what its value is."""


def split_flags(text: str) -> tuple[str, dict[str, Any], list[str]]:
    """The prompt alone, the settings in it, and the flags that are not known here or have a strange value.

    Two dashes with a space behind them, or inside a word, are no flag and stay in the prompt.
    """
    prompt, *rest = re.split(r"(?:^|\s)--(?=[a-z_0-9]+(?:\s|$))", text)
    settings: dict[str, Any] = {}
    strange: list[str] = []
    for part in rest:
        flag, _, value = part.strip().partition(" ")
        key, kind = FLAGS.get(flag, ("", str))
        try:
            settings[key] = kind(value.strip())
        except ValueError:
            key = ""
        if not key:
            strange.append(flag)
    settings.pop("", None)
    return prompt.strip(), settings, strange

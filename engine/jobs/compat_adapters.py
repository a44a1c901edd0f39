"""The adapter section of AI Toolkit's jobs as ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..errors import JobError
from .adapters import ControlLora, ControlNet, Guide, IpAdapter, Redux, T2i

KINDS: Mapping[str, type[Guide]] = {"control_net": ControlNet, "t2i": T2i, "control_lora": ControlLora, "ip": IpAdapter, "redux": Redux}
"""Its types that are trained here."""
FOLLOWS = {"in_channels", "channels", "downscale_factor", "adapter_type"}
"""Shapes of a T2I-Adapter: here they follow from the model."""
ELSEWHERE = {
    "i2v": "Set datasets[0].do_i2v instead.", "text_encoder": "Set train.train_text_encoder instead.", "mean_flow": "Set train.mean_flow instead.",
    "subpixel": "Take adapter out to train without.",
}  # fmt: skip
"""Its types that are another setting here."""
Section = dict[str, Any]


def read_adapter(
    given: Section, train: Section, sample: Section, lora: Callable[[Section], Section], note: Callable[[str], None]
) -> Section:
    """The section. What ``train`` and ``sample`` say of it is taken out of them, and put where it is here; ``lora`` reads a network section."""
    kind = str(given.pop("type", "t2i"))
    if kind not in KINDS:
        raise JobError(f"adapter.type {kind} is not supported yet.", ELSEWHERE.get(kind, f"Supported are {', '.join(KINDS)}."))
    if not given.pop("train", False):
        raise JobError(
            "adapter.train: false asks for an adapter that helps a training and does not learn, which is not supported yet.",
            "Set it to true, or take adapter out.",
        )
    fields = KINDS[kind].model_fields
    kept: Section = {"type": kind}
    if (network := given.pop("lora_config", None)) and "lora_config" in fields:
        kept["lora_config"] = lora(dict(network))
    if given.pop("num_control_images", 1) != 1:
        raise JobError("adapter.num_control_images asks for several control pictures, which no stock pipeline draws with.", "Set it to 1.")
    if given.pop("has_inpainting_input", False):
        raise JobError("adapter.has_inpainting_input is not supported yet.", "Take it out to train without.")
    for key, value in given.items():
        if value is None:
            continue
        if key in fields:
            kept[key] = value
        elif key not in FOLLOWS:
            note(f"adapter.{key} has no effect on an adapter of the type {kind}, and is left out.")
    if rate := train.pop("adapter_lr", None):
        train["lr"] = rate
    if (strength := sample.pop("adapter_conditioning_scale", None)) is not None:
        sample["network_multiplier"] = strength
    return kept

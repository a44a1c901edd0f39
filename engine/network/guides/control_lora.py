"""A LoRA of FLUX.1 that is shown a control picture beside the noise: FLUX.1 Canny and Depth as LoRAs. Tried with diffusers 0.42.

The layer that reads tokens is widened by as many inputs as a token has; their weights are zero, so that only what is learned looks at them.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import nn

from ...errors import JobError
from ...families.base import ModelFamily
from ...families.layout import pack
from ...jobs import Lora
from ...jobs.adapters import ControlLora
from ..lora import LoraNetwork
from .base import Listener, repeated

READS = "x_embedder"


class ControlLoraNetwork(LoraNetwork, Listener):
    """The tokens of the control picture stand behind those of the noise, in the same place."""

    takes = "latents"

    @classmethod
    def attached(
        cls, settings: ControlLora, family: ModelFamily, device: torch.device, dtype: torch.dtype, seed: int, checkpointing: bool
    ) -> Self:
        made = cls(settings.lora_config, family, seed)
        family.denoiser.to(device)
        return made

    @classmethod
    def size(cls, settings: ControlLora, family: type[ModelFamily], denoiser: nn.Module, vae_scale: int) -> int:
        denoiser.x_embedder = widened(denoiser.x_embedder)
        return sum(
            weight.numel() for weight in LoraNetwork(settings.lora_config, {"one": denoiser}, f"{family.lora_targets}|{READS}").parameters()
        )

    def __init__(self, settings: Lora, family: ModelFamily, seed: int):
        part, denoiser = family.denoiser_part, family.denoiser
        denoiser.x_embedder = widened(denoiser.x_embedder)
        super().__init__(settings, {part: denoiser}, {part: f"{family.lora_targets}|{READS}"}, seed, family.name)
        self.listen(denoiser)

    def _heard(self, denoiser: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self.steered(args, keywords)  # the layer always wants as many

    def steered(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        tokens = keywords["hidden_states"]
        beside = repeated(pack(self._shown[0]), tokens).to(tokens) if self._shown else torch.zeros_like(tokens)
        return args, {**keywords, "hidden_states": torch.cat([tokens, beside], -1)}


def widened(layer: nn.Module) -> nn.Linear:
    """The layer with twice as many inputs, that says the same whatever the new ones are."""
    if type(layer) is not nn.Linear:
        raise JobError(
            f"The model's {READS} is quantized or offloaded, and a control LoRA has to widen it.",
            f"Leave it out of that: model.quantize_kwargs: {{exclude: [{READS}]}}, and model.layer_offloading false.",
        )
    made = nn.Linear(
        2 * layer.in_features, layer.out_features, layer.bias is not None, device=layer.weight.device, dtype=layer.weight.dtype
    )
    with torch.no_grad():
        made.weight.copy_(torch.cat([layer.weight, torch.zeros_like(layer.weight)], 1))
        if layer.bias is not None:
            made.bias.copy_(layer.bias)
    return made.requires_grad_(False)

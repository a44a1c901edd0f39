"""LoRA and DoRA: two thin matrices beside frozen weights. Tried with PEFT 0.21."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from peft import LoraConfig
from peft.functional import inject_adapter_in_model
from torch import Tensor, nn

from ..jobs import Dora, Lora
from .adapter import ADAPTER, AdapterNetwork, pattern
from .layers import MAGNITUDE, PEFT


class LoraNetwork(AdapterNetwork):
    """up @ down * alpha / rank."""

    kind = "lora"
    zero = scaled_by = PEFT[1:]
    settings: Lora | Dora

    def inject(self, module: nn.Module, names: Sequence[str], large: Sequence[str]) -> None:
        rank, conv = self.settings.rank, self.settings.conv or 1
        alpha = float(rank if self.settings.alpha is None else self.settings.alpha)
        conv_alpha = float(conv if self.settings.conv_alpha is None else self.settings.conv_alpha)
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=self.settings.dropout,
            target_modules=pattern(names),
            rank_pattern={f"^{re.escape(name)}": conv for name in large},
            alpha_pattern={f"^{re.escape(name)}": conv_alpha for name in large},
            use_dora=self.kind == "dora",
        )
        inject_adapter_in_model(config, module, ADAPTER)

    def weights(self, layer: Any) -> dict[str, nn.Parameter]:
        return {PEFT[0]: layer.lora_A[ADAPTER].weight, PEFT[1]: layer.lora_B[ADAPTER].weight}

    def alpha(self, layer: Any) -> float:
        return float(layer.lora_alpha[ADAPTER])


class DoraNetwork(LoraNetwork):
    """A LoRA, after which each row of the changed weight gets a length that is learnt as well."""

    kind = "dora"

    def weights(self, layer: Any) -> dict[str, nn.Parameter]:
        return {**super().weights(layer), MAGNITUDE: layer.lora_magnitude_vector[ADAPTER].weight}

    @contextlib.contextmanager
    def scaled(self, multiplier: float) -> Iterator[None]:
        """Inside, the weights are that far on the way from the base model's to the trained ones."""

        def nearer(layer: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            base = layer.base_layer(*inputs)
            return base + (output - base) * multiplier

        with contextlib.ExitStack() as hooks:
            for layer in self._layers.values() if multiplier != 1 else ():
                hooks.callback(layer.register_forward_hook(nearer).remove)
            yield

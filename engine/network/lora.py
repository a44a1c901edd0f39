"""LoRA and DoRA: two thin matrices beside frozen weights. Tried with PEFT 0.21."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from peft import LoraConfig
from peft.functional import inject_adapter_in_model
from torch import Tensor, nn

from ..jobs import Dora, Lora
from .adapter import ADAPTER, AdapterNetwork
from .dropping import drop_ranks
from .layers import MAGNITUDE, PEFT
from .sizes import Size, pattern, patterns


class LoraNetwork(AdapterNetwork):
    """up @ down * alpha / rank."""

    kind = "lora"
    zero = scaled_by = PEFT[1:]
    settings: Lora | Dora

    def inject(self, module: nn.Module, sizes: Mapping[str, Size]) -> None:
        rank = self.settings.rank
        alpha = float(rank if self.settings.alpha is None else self.settings.alpha)
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=self.settings.dropout,
            target_modules=pattern(sizes),
            rank_pattern=patterns({name: size.rank for name, size in sizes.items()}, rank),
            alpha_pattern=patterns({name: size.alpha for name, size in sizes.items()}, alpha),
            use_dora=self.kind == "dora",
        )
        inject_adapter_in_model(config, module, ADAPTER)
        for name in sizes:
            drop_ranks(module.get_submodule(name).lora_A[ADAPTER], self.settings.rank_dropout)

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

"""LoKr and LoHa: adapters that act on a whole layer through products. Tried with PEFT 0.21."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from peft import LoHaConfig, LoKrConfig
from peft.tuners.loha import LoHaModel
from peft.tuners.loha.layer import Conv2d as LohaConv
from peft.tuners.loha.layer import Linear as LohaLinear
from peft.tuners.loha.layer import make_weight
from peft.tuners.lokr import LoKrModel
from peft.tuners.lokr.layer import Conv2d as LokrConv
from peft.tuners.lokr.layer import Linear as LokrLinear
from torch import Tensor, nn

from ..jobs import Adapter, Loha, Lokr
from .adapter import ADAPTER, AdapterNetwork
from .dropping import RowDropout
from .layers import LOHA, LOKR
from .sizes import Size, pattern, patterns

_WHOLE = 1 << 31
"""A rank that no layer is larger than: then PEFT takes whole matrices."""


class FactoredLokr(LokrLinear):
    """A linear layer's LoKr that never makes the update itself: far less to compute, and packed weights may be of any shape."""

    def _get_delta_activations(self, adapter_name: str, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        small = self._factor("lokr_w1", adapter_name) * self.scaling[adapter_name]
        large = self._factor("lokr_w2", adapter_name)
        blocks = self._cast_input_dtype(input, large.dtype).unflatten(-1, (small.shape[1], large.shape[1]))
        return torch.matmul(small, F.linear(blocks, large)).flatten(-2)

    def _factor(self, name: str, adapter: str) -> Tensor:
        whole = getattr(self, name)
        return whole[adapter] if adapter in whole else getattr(self, f"{name}_a")[adapter] @ getattr(self, f"{name}_b")[adapter]


class PlainLoha(LohaLinear):
    """A linear layer's LoHa that does not ask the weight for its shape: packed weights have another."""

    def create_adapter_parameters(self, adapter_name: str, r: int, shape: tuple[int, ...]) -> None:
        super().create_adapter_parameters(adapter_name, r, (self.out_features, self.in_features))

    def _get_delta_activations(self, adapter_name: str, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        factors = [getattr(self, name)[adapter_name] for name in LOHA[:4]]
        weight = make_weight(*factors, scale=torch.tensor(self.scaling[adapter_name]))
        return F.linear(self._cast_input_dtype(input, weight.dtype), weight)


class _LokrConv(RowDropout, LokrConv):
    pass


class _LokrLinear(RowDropout, FactoredLokr):
    pass


class _LohaConv(RowDropout, LohaConv):
    pass


class _LohaLinear(RowDropout, PlainLoha):
    pass


class _Lokrs(LoKrModel):
    layers_mapping = {nn.Conv2d: _LokrConv, nn.Linear: _LokrLinear}


class _Lohas(LoHaModel):
    layers_mapping = {nn.Conv2d: _LohaConv, nn.Linear: _LohaLinear}


class LokrNetwork(AdapterNetwork):
    """The Kronecker product of a small and a large factor, times alpha / rank where one of them has a rank."""

    kind = "lokr"
    zero = ("lokr_w2", "lokr_w2_b")
    scaled_by = ("lokr_w1", "lokr_w1_a")
    settings: Lokr

    def inject(self, module: nn.Module, sizes: Mapping[str, Size]) -> None:
        whole = self.settings.lokr_full_rank
        if whole:
            given = self.settings.differs("rank", "alpha", "conv_alpha", "rank_pattern", "alpha_pattern")
            self.idle = [*self.idle, *(f"network.{key}" for key in given if f"network.{key}" not in self.idle)]
        common: dict[str, Any] = {
            "target_modules": pattern(sizes),
            "decompose_factor": self.settings.lokr_factor or -1,
            "init_weights": "lycoris",
        }
        if whole:
            config = LoKrConfig(r=_WHOLE, alpha=_WHOLE, **common)
        else:
            config = LoKrConfig(**ranks(self.settings, sizes), **common)
        _Lokrs(module, config, ADAPTER)
        for name in sizes:
            layer: Any = module.get_submodule(name)
            layer.dropped_rows = self.settings.rank_dropout
            if self._is_whole(layer):
                layer.scaling[ADAPTER] = 1.0  # as all readers of these files have it

    def weights(self, layer: Any) -> dict[str, nn.Parameter]:
        return {name: getattr(layer, name)[ADAPTER] for name in LOKR if ADAPTER in getattr(layer, name)}

    def alpha(self, layer: Any) -> float | None:
        return 1.0 if self._is_whole(layer) else super().alpha(layer)

    def _is_whole(self, layer: Any) -> bool:
        return ADAPTER in layer.lokr_w1 and ADAPTER in layer.lokr_w2


class LohaNetwork(AdapterNetwork):
    """The product, value by value, of two matrices of low rank, times alpha / rank."""

    kind = "loha"
    zero = ("hada_w2_b",)
    scaled_by = ("hada_w1_a",)
    settings: Loha

    def inject(self, module: nn.Module, sizes: Mapping[str, Size]) -> None:
        _Lohas(module, LoHaConfig(target_modules=pattern(sizes), **ranks(self.settings, sizes)), ADAPTER)
        for name in sizes:
            layer: Any = module.get_submodule(name)
            layer.dropped_rows = self.settings.rank_dropout

    def weights(self, layer: Any) -> dict[str, nn.Parameter]:
        return {name: getattr(layer, name)[ADAPTER] for name in LOHA if ADAPTER in getattr(layer, name)}


def ranks(settings: Adapter, sizes: Mapping[str, Size]) -> dict[str, Any]:
    """What LyCORIS layers of PEFT are told of rank and alpha."""
    alpha = float(settings.rank if settings.alpha is None else settings.alpha)
    return {
        "r": settings.rank,
        "alpha": alpha,
        "rank_pattern": patterns({name: size.rank for name, size in sizes.items()}, settings.rank),
        "alpha_pattern": patterns({name: size.alpha for name, size in sizes.items()}, alpha),
    }

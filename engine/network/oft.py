"""OFT: each layer's answer is turned, block by block, and not stretched. Formulas and names of LyCORIS' diag-oft, as ComfyUI reads them.

PEFT (0.21) has an OFT that turns what goes into a layer, and no other tool reads its files: so only its frame is used here.
O features out, cut into K blocks of N; Q a skew matrix of each block.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from peft import LoHaConfig
from peft.tuners.loha import LoHaModel
from peft.tuners.lycoris_utils import LycorisLayer
from torch import Tensor, nn

from ..jobs import Oft
from .adapter import ADAPTER, AdapterNetwork
from .layers import OFT
from .lycoris import ranks
from .sizes import Size, pattern
from .turning import turned, turning


class OftLayer(nn.Module, LycorisLayer):
    """Beside a linear layer or a convolution of any precision: it looks at the answers alone."""

    adapter_layer_names = ("oft_blocks",)

    def __init__(self, base_layer: nn.Module, adapter_name: str, r: int = 0, alpha: float = 0.0, **rest: Any):
        nn.Module.__init__(self)
        LycorisLayer.__init__(self, base_layer)
        self.oft_blocks = nn.ParameterDict({})
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, r, alpha)

    @property
    def _available_adapters(self) -> set[str]:
        return set(self.oft_blocks)

    def update_layer(self, adapter_name: str, r: int, alpha: float, **rest: Any) -> None:
        """``r`` is the size of a block; where it does not divide the features, the next smaller number that does."""
        size = next(size for size in range(min(r, self.out_features), 0, -1) if self.out_features % size == 0)
        self.r[adapter_name], self.alpha[adapter_name], self.scaling[adapter_name] = size, 0.0, 1.0
        self.create_adapter_parameters(adapter_name, size)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters)

    def create_adapter_parameters(self, adapter_name: str, r: int, **rest: Any) -> None:
        self.oft_blocks[adapter_name] = nn.Parameter(torch.zeros(self.out_features // r, r, r))

    def reset_adapter_parameters(self, adapter_name: str) -> None:
        nn.init.zeros_(self.oft_blocks[adapter_name])

    def _get_delta_activations(self, adapter_name: str, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        raise NotImplementedError("it follows from the layer's answer, see forward")

    def get_delta_weight(self, adapter_name: str, *, apply_rank_dropout: bool = False) -> Tensor:
        raise NotImplementedError("it follows from the layer's weight, see turning.Turn")

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        answer = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters:
            return answer
        change = turning(self.oft_blocks[ADAPTER]) * self.scaling[ADAPTER]
        return answer + turned(answer, change, self.get_base_layer())


class _Ofts(LoHaModel):
    prefix = "oft_"
    tuner_layer_cls = OftLayer
    layers_mapping = {nn.Conv2d: OftLayer, nn.Linear: OftLayer}


class OftNetwork(AdapterNetwork):
    """``rank`` is the size of a block."""

    kind = "oft"
    zero = scaled_by = (OFT,)
    settings: Oft

    def inject(self, module: nn.Module, sizes: Mapping[str, Size]) -> None:
        idle = [f"network.{key}" for key in self.settings.differs("alpha", "conv_alpha", "alpha_pattern")]
        self.idle = [*self.idle, *(key for key in idle if key not in self.idle)]
        _Ofts(module, LoHaConfig(target_modules=pattern(sizes), **ranks(self.settings, sizes)), ADAPTER)

    def weights(self, layer: Any) -> dict[str, nn.Parameter]:
        return {OFT: layer.oft_blocks[ADAPTER]}

    def alpha(self, layer: Any) -> None:
        return None

"""From the settings of a job to weights that are trained: adapters beside the model's own, or those themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from ..jobs import Adapter, Full
from .adapter import AdapterNetwork
from .base import Network
from .full import FullNetwork
from .lora import DoraNetwork, LoraNetwork
from .lycoris import LohaNetwork, LokrNetwork
from .oft import OftNetwork

__all__ = ["FullNetwork", "LoraNetwork", "Network", "attach"]

NETWORKS: dict[str, type[AdapterNetwork]] = {
    network.kind: network for network in (LoraNetwork, LokrNetwork, LohaNetwork, DoraNetwork, OftNetwork)
}


def attach(
    settings: Adapter | Full,
    modules: Mapping[str, nn.Module],
    targets: str | Mapping[str, str],
    only_if_contains: Sequence[str] = (),
    ignore_if_contains: Sequence[str] = (),
    seed: int = 0,
    family: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Network:
    """What is trained in ``modules``, which are named as in the pipeline; everything else in them is frozen.

    ``targets`` is a regular expression over whole names of layers, for an adapter; or one for each part that gets one.
    The two lists choose among all weights; an adapter has its own in ``settings``. ``family`` finds the native names. The same seed gives the same
    first weights. ``dtype`` is that of trained weights of the model itself; adapters are fp32.
    """
    if isinstance(settings, Adapter):
        return NETWORKS[settings.type](settings, modules, targets, seed, family)
    return FullNetwork(modules, only_if_contains, ignore_if_contains, dtype)

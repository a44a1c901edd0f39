"""From the settings of a job to weights that are trained: adapters beside its own, or those themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from ..jobs import Full, Lora
from .base import Network
from .full import FullNetwork
from .lora import LoraNetwork

__all__ = ["FullNetwork", "LoraNetwork", "Network", "attach"]


def attach(
    settings: Lora | Full,
    modules: Mapping[str, nn.Module],
    targets: str,
    only_if_contains: Sequence[str] = (),
    ignore_if_contains: Sequence[str] = (),
    seed: int = 0,
    family: str | None = None,
) -> Network:
    """What is trained in ``modules``, which are named as in the pipeline; everything else in them is frozen.

    ``targets`` is a regular expression over whole names of layers, for a LoRA. The two lists choose among all
    weights; a LoRA has its own in ``settings``. ``family`` finds the native names. The same seed gives the same
    first weights.
    """
    if isinstance(settings, Lora):
        return LoraNetwork(settings, modules, targets, seed, family)
    return FullNetwork(modules, only_if_contains, ignore_if_contains)

"""What an adapter has learned, put into the weights that it lies beside: for a whole model, and to begin anew on top of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ..errors import JobError
from .adapter import AdapterNetwork
from .base import Network


@contextlib.contextmanager
def merged(network: Network, strength: float) -> Iterator[None]:
    """Inside, the model's own weights are what they and the adapter make together; outside they are what they were, bit for bit.

    The adapter itself is still there: the model is to be saved inside, and not to be asked.
    """
    kept = {name: weight.detach().to("cpu", copy=True) for name, weight in base_weights(network).items()}
    merge(network, strength)
    try:
        yield
    finally:
        restore(network, kept)


@torch.no_grad()
def merge(network: Network, strength: float) -> None:
    """Adds the update to the model's weights, so strongly, in full precision."""
    for name, (layer, update) in _adapter(network).updates().items():
        weight = layer.get_base_layer().weight
        whole = weight.float()
        changed = update.onto(whole)
        if not torch.isfinite(changed).all():
            raise JobError(f"The update of {name} is not a number.", "Go back to an earlier checkpoint, with a lower learning rate.")
        weight.copy_(whole + (changed - whole) * strength)


@torch.no_grad()
def begin_anew(network: Network) -> None:
    """The adapter changes nothing, as it did at first; what its other factors have learned stays."""
    own = _adapter(network)
    for name, weight in own.named_parameters():
        if name.endswith(tuple(f".{end}" for end in own.zero)):
            weight.zero_()


def base_weights(network: Network) -> dict[str, nn.Parameter]:
    """The model's weights that a merge changes, by layer. They are the model's own: they change with it."""
    return {name: layer.get_base_layer().weight for name, (layer, _) in _adapter(network).updates().items()}


@torch.no_grad()
def restore(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Puts such weights back."""
    for name, weight in base_weights(network).items():
        weight.copy_(weights[name])


def _adapter(network: Network) -> AdapterNetwork:
    if not isinstance(network, AdapterNetwork) or network.kind == "dora":
        raise JobError("train.merge_network_on_save is for a LoRA, LoKr, LoHa or OFT alone.", "Leave it out.")
    return network

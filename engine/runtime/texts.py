"""Text features that were once made are remembered; the text encoders are loaded only for prompts that are new."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from functools import partial

import torch

from ..control import Control
from ..data.cache import TextCache
from ..events import Event
from ..families.base import Conditioning, ModelFamily, stack
from ..settings import load_settings
from .device import autocast
from .loading import drop_parts, fingerprint, load_parts

BATCH = 32


def remember(
    family: ModelFamily,
    prompts: Iterable[str],
    device: torch.device,
    held: torch.dtype,
    compute: torch.dtype,
    control: Control,
) -> Generator[Event, None, TextCache]:
    """Yields progress; returns a cache that has all of ``prompts``. The text encoders are gone afterwards."""
    options = repr((family.defaults.max_sequence_length, held, compute))
    key = {"family": family.name, "encoder": fingerprint(family, family.text_parts), "options": options}
    texts = TextCache(load_settings().folder("cache"), key)
    if missing := texts.missing(sorted(set(prompts))):
        load_parts(family, family.text_parts, device, held)
        yield from texts.fill(missing, partial(_encode, family, device, compute), BATCH, control)
        drop_parts(family, family.text_parts, device)
    return texts


def together(texts: TextCache, device: torch.device, prompts: Sequence[str]) -> Conditioning:
    """Remembered features of ``prompts`` as one batch on the device."""
    batch = stack([texts.get(prompt) for prompt in prompts])
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def _encode(
    family: ModelFamily, device: torch.device, dtype: torch.dtype, prompts: Sequence[str]
) -> Conditioning:
    with torch.no_grad(), autocast(device, dtype):
        return family.encode_prompts(prompts)

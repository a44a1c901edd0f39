"""Text features that were once made are remembered; the text encoders are loaded only for prompts that are new."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch

from ..control import Control
from ..data.caches.cache import TextCache
from ..data.files.clips import Cut, still_of
from ..data.files.pictures import digest
from ..events import Event
from ..families.base import Conditioning, ModelFamily, stack
from ..settings import load_settings
from .device import autocast
from .loading import drop_parts, fingerprint, load_parts


class Text(NamedTuple):
    """What a text encoder reads."""

    prompt: str
    pictures: tuple[Path, ...] = ()
    """Reference pictures, for a family that sees them."""
    cut: Cut | None = None
    """Of a video among them, the first frame of this is seen."""


def text_of(family: ModelFamily, prompt: str, controls: Sequence[str | Path], cut: Cut | None = None) -> Text:
    return Text(prompt, tuple(map(Path, controls)), cut) if family.sees_controls else Text(prompt)


def encode(family: ModelFamily, texts: Sequence[Text]) -> Conditioning:
    """Fresh text features; carries gradients where the caller allows them."""
    prompts = [text.prompt for text in texts]
    if not family.sees_controls:
        return family.encode_prompts(prompts)
    pictures = [[still_of(path, text.cut) for path in text.pictures] for text in texts]
    return family.encode_prompts(prompts, pictures)  # type: ignore[call-arg]  # as its family says


class Texts:
    """Features of texts, found again by content."""

    def __init__(
        self,
        family: ModelFamily,
        device: torch.device,
        held: torch.dtype,
        compute: torch.dtype,
        around: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext,
        variant: str = "",
    ):
        """``around`` is entered while text encoders read; ``variant`` names what it does to them, for the cache."""
        self.family, self.device, self.held, self.compute, self.around = family, device, held, compute, around
        options = repr((family.defaults.max_sequence_length, held, compute)) + variant
        key = {"family": family.name, "encoder": fingerprint(family, family.text_parts), "options": options}
        self._cache = TextCache(load_settings().folder("cache"), key)
        self._digest = cache(digest)

    def remember(self, texts: Iterable[Text], control: Control) -> Generator[Event, None, None]:
        """Encodes what is new, and yields progress. The text encoders are gone afterwards."""
        known = {self._name(text): text for text in sorted(set(texts), key=lambda text: (*text[:2], str(text.cut)))}
        if missing := self._cache.missing(list(known)):
            yield from load_parts(self.family, self.family.text_parts, self.device, self.held)
            yield from self._cache.fill(
                missing, lambda names: self._encode([known[name] for name in names]), self.family.text_batch, control
            )
            drop_parts(self.family, self.family.text_parts, self.device)

    def knows(self, texts: Iterable[Text]) -> bool:
        """Whether all of them are remembered."""
        return not self._cache.missing(sorted({self._name(text) for text in texts}))

    def together(self, texts: Sequence[Text]) -> Conditioning:
        """Remembered features as one batch on the device."""
        batch = stack([self._cache.get(self._name(text)) for text in texts])
        return {name: tensor.to(self.device, non_blocking=True) for name, tensor in batch.items()}

    def _name(self, text: Text) -> str:
        cut = [str(text.cut)] if text.cut else []
        return json.dumps([text.prompt, *map(self._digest, text.pictures), *cut]) if text.pictures else text.prompt

    def _encode(self, texts: Sequence[Text]) -> Conditioning:
        with torch.no_grad(), autocast(self.device, self.compute), self.around():
            return encode(self.family, texts)

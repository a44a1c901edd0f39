"""All that the training loop works with, and the batches that it is fed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ..data.caches.room import Use
from ..data.chance import number
from ..families.base import Conditioning, ModelFamily, Request
from ..jobs import TrainJob
from ..network.attach import Network
from ..network.companions import Companions
from ..network.metadata import describe_network
from ..runtime.saving import save_pipeline
from ..runtime.texts import Text, Texts, encode
from .feed import Feed
from .loader import Column, Loader
from .objectives import Batch


@dataclass
class Bench:
    """All that the loop works with."""

    job: TrainJob
    family: ModelFamily
    network: Network
    device: torch.device
    dtype: torch.dtype
    """Of the arithmetic."""
    loader: Loader
    texts: Texts | None
    """None where the text encoders learn too."""
    requests: list[Request]
    companions: Companions
    stay: tuple[str, ...] = ()
    """Parts that every step needs, besides the denoiser: they never leave the device."""
    in_use: Sequence[Use | None] = ()
    """Keeps the pictures that were fetched or made in the cache."""
    first: Sequence[Request] = ()
    """What is drawn before the first step, where that is something else than ``requests``."""
    held: Bench | None = None
    """The same, with the pictures that are held back for validation."""

    def __post_init__(self) -> None:
        self.feed = Feed(self.loader.load)

    def batch(self, micro: int) -> Batch:
        """The pictures of one micro-batch, on the device. A function of its number alone."""
        loaded = self.feed(micro)
        frames = loaded.items[0].frames
        (mean, std), *references = (self._latents(column, frames if index else 0) for index, column in enumerate(loaded.columns))
        mates = [mate for mate, _ in references]
        shown = {f"control_{index}": mate for index, mate in enumerate(mates)} if self.network.takes is None else {}
        features = loaded.features or {kind: self.conditioning(texts) for kind, texts in loaded.texts.items()}
        cond = features.pop("")
        anew = self._mask(loaded.anew, mean)
        shown |= {} if anew is None else {"anew": anew}
        stages = self.family.stages
        stage = stages[micro // self.job.train.switch_boundary_every % len(stages)]
        return Batch(
            mean, std, {**cond, **shown}, (stage.low, stage.high), self._mask(loaded.mask, mean),
            None if loaded.weights is None else self._sent(loaded.weights), self.loader.data_set(micro).prior_reg, features, loaded.identities,
            self._shown(micro, [self._sent(pixels) for pixels in loaded.shown] or mates) if self.network.takes else (),
        )  # fmt: skip

    def _shown(self, micro: int, pictures: Sequence[Tensor]) -> list[Tensor]:
        """The control pictures, nothing in the place of those that are to be left out."""
        share = getattr(self.job.adapter, "control_image_dropout", 0.0)
        if not share:
            return list(pictures)
        drawn = [number("control picture", self.job.train.seed, micro, position) / 2**64 for position in range(len(pictures[0]))]
        kept = self._sent(torch.tensor([one >= share for one in drawn]))
        return [picture * kept.view(-1, *[1] * (picture.ndim - 1)) for picture in pictures]

    def with_strength(self, micro: int) -> contextlib.AbstractContextManager[None]:
        """Inside, the network acts as strongly as the data sets of that micro-batch ask for."""
        strength = self.loader.data_set(micro).network_weight
        return self.network.scaled(strength) if strength != 1 else contextlib.nullcontext()

    @contextlib.contextmanager
    def drawn(self, request: Request) -> Iterator[Request]:
        """What is left of a request where its control pictures are shown to the network, inside; all of it where they are the model's own."""
        if self.network.takes is None:
            yield request
            return
        with torch.no_grad():
            pictures = self.network.prepared(self.family, [Path(path) for path in request.controls], (request.width, request.height))
        with self.network.shown(pictures):
            yield replace(request, controls=())

    def _latents(self, column: Column, shown_for: int) -> tuple[Tensor, Tensor]:
        """Mean and deviation as one batch on the device; pixels are encoded first."""
        parts = [(self._sent(column.kept[0]), self._sent(column.kept[1]))] if column.kept else []
        if column.pixels is not None:
            with torch.autocast(self.device.type, enabled=False):  # as the kept ones were encoded
                parts.append(self._encoded(self._sent(column.pixels), shown_for))
        mean, std = (torch.cat(list(tensors)) if len(parts) > 1 else tensors[0] for tensors in zip(*parts, strict=True))
        if column.order is not None:
            order = self._sent(column.order)
            mean, std = mean[order], std[order]
        return mean, std

    def _sent(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)

    def _encoded(self, pixels: Tensor, shown_for: int) -> tuple[Tensor, Tensor]:
        """``shown_for``: the frames that they are references for; 0 for what is learned."""
        if shown_for < 2:
            return self.family.encode_pixels(pixels)
        mean = self.family.encode_reference(pixels, shown_for)
        return mean, torch.zeros_like(mean)

    def _mask(self, mask: Tensor | None, latents: Tensor) -> Tensor | None:
        """At the size of the latents, with as many dimensions."""
        if mask is None:
            return None
        small = functional.interpolate(self._sent(mask), latents.shape[-2:], mode="area")
        return small.view(len(mask), *[1] * (latents.ndim - 3), *small.shape[-2:])

    def conditioning(self, texts: Sequence[Text]) -> Conditioning:
        """Text features on the device: remembered ones, or fresh ones where the text encoders learn too."""
        return self.texts.together(texts) if self.texts else encode(self.family, texts)

    @contextlib.contextmanager
    def at_hand(self, *parts: str) -> Iterator[None]:
        """The named parts are on the device inside, and on the CPU outside."""
        fetched = [part for part in parts if part not in self.stay]
        for part in fetched:
            getattr(self.family.pipe, part).to(self.device)
        try:
            yield
        finally:
            for part in fetched:
                getattr(self.family.pipe, part).to("cpu")

    def close(self) -> None:
        """Nothing is read ahead any more."""
        if self.held:
            self.held.close()
        self.feed.close()
        self.loader.close()

    def write_weights(self, path: Path, step: int) -> None:
        """The network as other tools read it: one file, one for each expert, or a folder in diffusers layout for all weights."""
        save = self.job.save
        if not self.network.is_adapter:
            save_pipeline(self.family, path, save.dtype)
        else:
            form = self.family.default_form if save.format == "auto" else save.format
            texts = describe_network(self.job, self.family, step)
            for stage in self.family.stages:
                own = (path.with_stem(f"{path.stem}_{stage.title}"), stage.part) if stage.title else (path, None)
                self.network.save(own[0], texts, save.dtype, form, own[1])

"""How like the samples of a run are to pictures that it is not trained on, and to their prompts. By models that a person names.

CLIP-I and DINO are the mean similarity of each sample to each held-out picture (cosine of their features; Ruiz et al. 2023, DreamBooth),
CLIP-T that of each sample to its own prompt. 1 is the same. Samples are compared as they lie in the run's folder.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModel

from ..data.files.clips import Cut, still_of
from ..errors import JobError
from ..events import Event, Measured, Phase, Sampled, Warned
from ..jobs import TrainJob
from ..runs.folder import RunFolder
from ..tools.pretrained import fetch, placed, read_config, read_images, read_model, read_tokenizer
from .bench import Bench

Shown = tuple[Path, Cut | None]
"""A picture, or a clip of which the first frame counts."""
BATCH = 8
INSTEAD = "Leave it out: the validation loss needs no further model."


def check_likeness(job: TrainJob) -> Iterator[Event]:
    """What such a model asks for, told before anything is loaded; models of the hub are fetched."""
    named = {key: name for key in ("clip_model", "dino_model") if (name := getattr(job.validation, key))}
    if named and job.sample.sample_every is None:
        yield Warned(
            message=f"validation.{next(iter(named))} has no effect: there are no samples to compare.", hint="Set sample.sample_every."
        )
    for key, name in named.items():
        yield Phase(name=f"Looking for {name}")
        read_config(fetch(name, f"validation.{key}", INSTEAD), f"validation.{key}")


def compared(events: Iterator[Event], bench: Bench, folder: RunFolder) -> Iterator[Event]:
    """The events, and after each round of samples how like they are."""
    judges = judges_of(bench)
    if not judges or bench.held is None:
        yield from events
        return
    held = [(item.path, item.cut) for item in bench.held.loader.items]
    wanted: list[Tensor] = []
    shown: list[Sampled] = []
    for event in events:
        yield event
        if not isinstance(event, Sampled):
            continue
        shown = [*shown, event] if event.index else [event]
        if [one.prompt for one in shown] != [request.prompt for request in bench.requests]:
            continue  # the round is not over, or it is one of other prompts
        wanted = wanted or [judge.pictures(held) for judge in judges]
        files, prompts = [(folder.path / one.path, None) for one in shown], [one.prompt for one in shown]
        for judge, features in zip(judges, wanted, strict=True):  # the loop stands still: this is no part of a step's time
            for name, value in judge.scores(files, prompts, features).items():
                yield Measured(step=event.step, name=name, value=value)


@dataclass
class Judge:
    """A model that turns pictures, and perhaps texts, into features."""

    name: str
    """Of its measurement, without -I and -T where it knows texts."""
    model: Any
    images: Any
    tokenizer: Any
    """None where it knows no texts."""
    device: torch.device

    def scores(self, files: Sequence[Shown], prompts: Sequence[str], wanted: Tensor) -> dict[str, float]:
        """The mean similarities of these pictures to the features ``wanted``, and to their prompts."""
        shown = self.pictures(files)
        alike = float((shown @ wanted.T).mean())
        if self.tokenizer is None:
            return {self.name: alike}
        return {f"{self.name}-I": alike, f"{self.name}-T": float((shown * self.texts(prompts)).sum(1).mean())}

    def pictures(self, files: Sequence[Shown]) -> Tensor:
        """Features [N D] of length 1, on the processor."""
        return torch.cat([self._asked(partial(self._seen, files[start : start + BATCH])) for start in range(0, len(files), BATCH)])

    def texts(self, prompts: Sequence[str]) -> Tensor:
        """The same of texts."""
        return self._asked(partial(self._read, prompts))

    def _seen(self, files: Sequence[Shown]) -> Tensor:
        pictures = [still_of(path, cut).convert("RGB") for path, cut in files]
        inputs = placed(self.images(pictures, return_tensors="pt"), self.model)
        if self.tokenizer is not None:
            return self.model.get_image_features(**inputs).pooler_output
        return self.model(**inputs).last_hidden_state[:, 0]

    def _read(self, prompts: Sequence[str]) -> Tensor:
        longest = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(list(prompts), padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
        return self.model.get_text_features(**tokens.to(self.model.device)).pooler_output

    @torch.no_grad()
    def _asked(self, ask: Callable[[], Tensor]) -> Tensor:
        """On the device if there is room beside what is trained, else on the processor; it is there only while it is asked."""
        try:
            self.model.to(self.device)
            found = ask()
        except torch.OutOfMemoryError:
            self.model.to("cpu")
            found = ask()
        finally:
            self.model.to("cpu")
        return functional.normalize(found.float().cpu(), dim=1)


def judges_of(bench: Bench) -> list[Judge]:
    """Those that the job names."""
    settings, found = bench.job.validation, []
    with torch.random.fork_rng():  # training goes on with the numbers that it would have drawn
        for key, name in (("clip_model", "CLIP"), ("dino_model", "DINO")):
            if where := getattr(settings, key):
                found.append(_judge(name, fetch(where, f"validation.{key}", INSTEAD), key, bench.device))
    return found


def _judge(name: str, folder: Path, key: str, device: torch.device) -> Judge:
    model: Any = read_model(AutoModel, folder, torch.device("cpu"), torch.float32)
    if name == "CLIP" and not (hasattr(model, "get_text_features") and hasattr(model, "get_image_features")):
        raise JobError(
            f"validation.{key}: {type(model).__name__} does not compare pictures with texts.",
            "Name a whole CLIP model, for example openai/clip-vit-large-patch14.",
        )
    return Judge(name, model, read_images(folder), read_tokenizer(folder) if name == "CLIP" else None, device)

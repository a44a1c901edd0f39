"""What a job trains of a model that is loaded: an adapter or all weights, a new word, vectors behind the text; or several of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import torch
from torch import nn

from ..data.scan import Item
from ..errors import JobError
from ..events import Event, Warned
from ..families.base import ModelFamily
from ..jobs import Adapter, Full, Nothing, TrainJob
from ..network.adapter import AdapterNetwork
from ..network.attach import attach
from ..network.base import Network
from ..network.decorator import DecoratorNetwork
from ..network.embedding import EmbeddingNetwork
from ..network.files import with_its_mates
from ..network.together import Together
from ..runtime.device import DTYPES
from ..runtime.places import fetch_lora

ANY_LAYER = ".*"
MORE = ("embedding", "decorator")
"""Sections of a job that train something beside its network."""


def check_networks(job: TrainJob) -> Iterator[Event]:
    """Raises JobError for what cannot be trained together; warns of what has no effect. Before anything is loaded."""
    more = [section for section in MORE if getattr(job, section)]
    alone = isinstance(job.network, Nothing)
    if alone and not more and not job.adapter:
        raise JobError("Nothing is trained: network.type is none.", "Set network.type to lora, or add an embedding.")
    if more and isinstance(job.network, Full):
        raise JobError(f"{more[0]} does not go together with network.type full, whose files are whole models.", "Train it alone, or beside a LoRA.")
    if more and job.adapter:
        raise JobError(f"{more[0]} does not go together with adapter, which is trained alone.", "Make two jobs of it.")
    if job.embedding and job.slider:
        raise JobError("slider does not go together with embedding.", "Make two jobs of it.")
    if job.embedding and job.train.inverted_mask_prior:
        raise JobError(
            "train.inverted_mask_prior asks the base model with the same words, and it does not know the one that embedding teaches.",
            "Leave one of the two out.",
        )
    if job.decorator and (key := next((key for key in ("do_guidance_loss", "do_cfg") if getattr(job.train, key)), None)):
        raise JobError(f"train.{key} asks without the prompt too, and a decorator goes with every prompt.", "Leave one of the two out.")
    if alone and job.train.train_text_encoder:
        yield Warned(message="train.train_text_encoder has no effect: there is no network that they would get.", hint="Set network.type to lora.")


def check_word(job: TrainJob, items: Sequence[Item]) -> Iterator[Event]:
    """Whether the pictures' captions have the new word, so that there is something to learn it from."""
    if job.embedding is None:
        return
    word, learned = job.embedding.trigger, [item for item in items if not job.datasets[item.dataset].is_reg]
    without = sum(word not in item.caption for item in learned)
    if without == len(learned):
        raise JobError(f"No caption has the word {word} that embedding is to teach.", "Write it, or [trigger], into the captions.")
    if without:
        yield Warned(message=f"{without} of {len(learned)} captions do not have the word {word}: it learns nothing from them.", hint="Write [trigger] into them.")


def network_of(job: TrainJob, family: ModelFamily, device: torch.device) -> Network:
    """The denoisers are loaded, and of the text encoders those that learn. All that does not learn is frozen."""
    networks = list(_networks(job, family, device))
    return networks[0] if len(networks) == 1 else Together(networks)


def _networks(job: TrainJob, family: ModelFamily, device: torch.device) -> Iterator[Network]:
    trained, settings = trained_parts(job, family), job.network
    word = EmbeddingNetwork(job.embedding, family) if job.embedding else None  # first: it freezes what an adapter is put into then
    if isinstance(settings, Nothing):
        for part in trained.values():
            part.requires_grad_(False)
    else:
        everywhere = isinstance(settings, Adapter) and not settings.transformer_only
        targets = dict.fromkeys(trained, ANY_LAYER if everywhere else family.lora_targets)
        network = attach(
            settings, trained, {**targets, **family.text_lora_targets}, job.model.only_if_contains, job.model.ignore_if_contains,
            job.train.seed, family.name, DTYPES[job.train.weights_dtype],
        )  # fmt: skip
        if isinstance(network, AdapterNetwork):
            network.check_form(family.default_form if job.save.format == "auto" else job.save.format)
        if isinstance(settings, Adapter) and settings.pretrained_lora_path:
            begin_with(network, settings.pretrained_lora_path, family)
        yield network
    if word:
        yield word
    if job.decorator:
        yield DecoratorNetwork(job.decorator, family, device, job.train.seed)


def begin_with(network: Network, name: str, family: ModelFamily) -> None:
    """Takes over the weights of a file; of two experts, those of both files."""
    several = any(stage.title for stage in family.stages)
    for file, part in with_its_mates(family, fetch_lora(name, "network.pretrained_lora_path")):
        network.load(file, part if several else None)


def trained_parts(job: TrainJob, family: ModelFamily) -> dict[str, nn.Module]:
    text: Collection[str] = family.text_parts if isinstance(job.network, Full) else family.text_lora_targets
    text = text if job.train.train_text_encoder else ()
    return {name: getattr(family.pipe, name) for name in (*(stage.part for stage in family.stages), *text)}

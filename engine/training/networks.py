"""What a job trains of a model that is loaded: an adapter or all weights, a new word, vectors behind the text; or several of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import torch
from torch import nn

from ..events import Event
from ..families.base import ModelFamily
from ..jobs import Adapter, Full, Nothing, TrainJob
from ..network.adapter import AdapterNetwork
from ..network.attach import attach
from ..network.base import Network
from ..network.decorator import DecoratorNetwork
from ..network.embedding import EmbeddingNetwork
from ..network.files import with_its_mates
from ..network.formats import Form
from ..network.together import Together
from ..runtime.device import DTYPES
from ..runtime.places import fetch_lora

ANY_LAYER = ".*"


def network_of(job: TrainJob, family: ModelFamily, device: torch.device) -> Network:
    """The denoisers are loaded, and of the text encoders those that learn. All that does not learn is frozen."""
    networks = list(_networks(job, family, device))
    return networks[0] if len(networks) == 1 else Together(networks)


def _networks(job: TrainJob, family: ModelFamily, device: torch.device) -> Iterator[Network]:
    trained, settings = trained_parts(job, family), job.network
    for denoiser in family.denoisers if not job.train.train_unet else ():
        denoiser.requires_grad_(False)
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
            network.check_form(_form(job, family))
        if isinstance(settings, Adapter) and settings.pretrained_lora_path:
            begin_with(network, settings.pretrained_lora_path, family)
        yield network
    if word:
        yield word
    if job.decorator:
        yield DecoratorNetwork(job.decorator, family, device, job.train.seed)


def form_notes(job: TrainJob, family: ModelFamily, network: Network) -> Iterator[Event]:
    """What other tools will not find in the files that are saved."""
    for one in network.networks if isinstance(network, Together) else [network]:
        if isinstance(one, AdapterNetwork) and (note := one.form_note(_form(job, family))):
            yield note


def _form(job: TrainJob, family: ModelFamily) -> Form:
    return family.default_form if job.save.format == "auto" else job.save.format


def begin_with(network: Network, name: str, family: ModelFamily) -> None:
    """Takes over the weights of a file; of two experts, those of both files."""
    several = any(stage.title for stage in family.stages)
    for file, part in with_its_mates(family, fetch_lora(name, "network.pretrained_lora_path")):
        network.load(file, part if several else None)


def trained_parts(job: TrainJob, family: ModelFamily) -> dict[str, nn.Module]:
    text: Collection[str] = family.text_parts if isinstance(job.network, Full) else family.text_lora_targets
    text = text if job.train.train_text_encoder else ()
    drawing = [stage.part for stage in family.stages] if job.train.train_unet else []
    return {name: getattr(family.pipe, name) for name in (*drawing, *text)}

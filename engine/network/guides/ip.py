"""An IP-Adapter of Stable Diffusion 1.5 to XL: the model is prompted with a picture beside the words. Tried with diffusers 0.42.

What a CLIP encoder says of the picture becomes four tokens, and each attention to the text gets an attention to them beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from diffusers.models.embeddings import ImageProjection
from torch import Tensor, nn

from ...errors import JobError
from ...families.base import ModelFamily
from ...jobs import Dtype
from ...jobs.adapters import IpAdapter
from ...runs.safe import read_safetensors, write_safetensors
from ...runtime.device import DTYPES
from ...runtime.places import fetch_lora
from ..base import copy_into
from ..formats import Form
from .base import Listener
from .eyes import Eye
from .opening import plain_denoiser

TOKENS = 4
"""That the picture becomes: as many as diffusers reads."""
PROJECTION = {"image_embeds": "proj", "norm": "norm"}
"""Parts of diffusers' projection → as files call them."""


class IpNetwork(Listener):
    """The file that ``load_ip_adapter`` reads. The names of its weights are those of the file."""

    is_adapter = True
    takes = "looks"
    sight = "clip"

    @classmethod
    def attached(
        cls, settings: IpAdapter, family: ModelFamily, device: torch.device, dtype: torch.dtype, seed: int, checkpointing: bool
    ) -> Self:
        fresh = new_weights(plain_denoiser(family, dtype), Eye(settings.image_encoder_path, "clip").width, seed)
        made = cls(family.denoiser, fresh, device)
        if settings.name_or_path:
            made.load(fetch_lora(settings.name_or_path, "adapter.name_or_path"))
        return made

    @classmethod
    def size(cls, settings: IpAdapter, family: type[ModelFamily], denoiser: nn.Module, vae_scale: int) -> int:
        return sum(tensor.numel() for tensor in new_weights(denoiser, Eye(settings.image_encoder_path, "clip").width, 0).values())

    def __init__(self, unet: nn.Module, weights: Mapping[str, Tensor], device: torch.device):
        unet.requires_grad_(False)
        parts = {
            part: {name.removeprefix(f"{part}."): tensor.float() for name, tensor in weights.items() if name.startswith(part)}
            for part in ("image_proj", "ip_adapter")
        }
        unet._load_ip_adapter_weights([parts], low_cpu_mem_usage=False)
        self._processors = [processor for name, processor in unet.attn_processors.items() if name.endswith("attn2.processor")]
        named: dict[str, nn.Parameter] = {}
        for name, weight in unet.encoder_hid_proj.image_projection_layers[0].named_parameters():
            head, _, end = name.partition(".")
            named[f"image_proj.{PROJECTION[head]}.{end}"] = weight
        for index, processor in enumerate(self._processors):
            named[f"ip_adapter.{2 * index + 1}.to_k_ip.weight"] = processor.to_k_ip[0].weight
            named[f"ip_adapter.{2 * index + 1}.to_v_ip.weight"] = processor.to_v_ip[0].weight
        super().__init__(named)
        for module in (unet.encoder_hid_proj, *self._processors):
            module.to(device, torch.float32)
        self.beside = (unet.encoder_hid_proj, *self._processors)
        self.empty = torch.zeros(1, 1, weights["image_proj.proj.weight"].shape[1])
        self.listen(unet)

    def _heard(self, denoiser: nn.Module, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self.steered(args, keywords)  # with such processors, the UNet always wants a picture

    def steered(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        sample = args[0]
        acts = self._active and self._shown
        for processor in self._processors:
            processor.scale = [self.strength if acts else 0.0]
        look = self._shown[0] if acts else self.empty.to(sample.device).expand(len(sample), -1, -1)
        if len(sample) > len(look):  # with guidance, the negative prompt comes first, and has no picture
            look = torch.cat([torch.zeros_like(look), look])
        return args, {**keywords, "added_cond_kwargs": {**(keywords.get("added_cond_kwargs") or {}), "image_embeds": [look]}}

    def save(self, path: Path, metadata: Mapping[str, str], dtype: Dtype, form: Form, part: str | None = None) -> None:
        """One file, of one form."""
        write_safetensors(path, {name: tensor.cpu().to(DTYPES[dtype]) for name, tensor in self.state_tensors().items()}, {"format": "pt"})

    def load(self, path: Path, part: str | None = None) -> None:
        tensors = read_safetensors(path)
        own = dict(self.named_parameters())
        if odd := sorted(set(tensors) ^ set(own)):
            raise JobError(
                f"{path.name} is no plain IP-Adapter of this model: {odd[0]} is in only one of them.",
                "Choose another, or leave name_or_path out.",
            )
        for name, weight in own.items():
            copy_into(weight, tensors[name], name)


def new_weights(unet: nn.Module, width: int, seed: int) -> dict[str, Tensor]:
    """A fresh adapter: the picture's tokens are read as those of the text are."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        projection = ImageProjection(width, unet.config.cross_attention_dim, TOKENS)
    named = {
        f"image_proj.{PROJECTION[name.partition('.')[0]]}.{name.partition('.')[2]}": tensor
        for name, tensor in projection.state_dict().items()
    }
    attentions = [unet.get_submodule(name.removesuffix(".processor")) for name in unet.attn_processors if name.endswith("attn2.processor")]
    for index, attention in enumerate(attentions):
        named[f"ip_adapter.{2 * index + 1}.to_k_ip.weight"] = attention.to_k.weight.detach().clone()
        named[f"ip_adapter.{2 * index + 1}.to_v_ip.weight"] = attention.to_v.weight.detach().clone()
    return named

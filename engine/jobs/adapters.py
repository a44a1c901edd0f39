"""A small model beside the frozen base model, which is shown pictures and steers it: what the adapter section of a train job can be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from ..errors import JobError
from .base import Strict
from .networks import Lora


def _as_paths(value: Any) -> Any:
    """AI Toolkit writes several paths with commas between them."""
    return [] if value is None else [one.strip() for one in value.split(",")] if isinstance(value, str) else value


class Guide(Strict):
    """What all kinds have."""

    type: str
    test_img_path: Annotated[list[str], BeforeValidator(_as_paths)] = []
    """Control pictures of samples, for prompts that name none: one after the other."""


class ControlNet(Guide):
    """A copy of half of the model that follows a control picture: edges, depth, a pose. For Stable Diffusion 1.5 to 3.5 and FLUX.1."""

    type: Literal["control_net"] = "control_net"
    name_or_path: str | None = None
    """A ControlNet to go on from: a folder in diffusers layout, or its id on the hub. Left out: a new one."""
    num_layers: Annotated[int, Field(ge=1, le=100)] = 4
    """Of FLUX and SD 3: how many of the model's first blocks a new one copies."""
    num_single_layers: Annotated[int, Field(ge=0, le=100)] = 4
    """Of FLUX: how many of the model's first single blocks a new one copies."""


class T2i(Guide):
    """A T2I-Adapter: a small network that follows a control picture, much lighter than a ControlNet. For Stable Diffusion 1.5 to XL."""

    type: Literal["t2i"] = "t2i"
    name_or_path: str | None = None
    """A T2I-Adapter to go on from: a folder in diffusers layout, or its id on the hub. Left out: a new one."""
    num_res_blocks: Annotated[int, Field(ge=1, le=16)] = 2
    """Blocks at each size, of a new one."""


class ControlLora(Guide):
    """A LoRA of a model that is shown a control picture beside the noise, as further channels: small, and as exact as a ControlNet. For FLUX.1."""

    type: Literal["control_lora"] = "control_lora"
    lora_config: Lora = Lora(rank=64)
    """The LoRA."""
    control_image_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the pictures that are learned without their control picture."""


class IpAdapter(Guide):
    """An IP-Adapter: the model is prompted with a picture beside the words. For Stable Diffusion 1.5 to XL."""

    type: Literal["ip"] = "ip"
    image_encoder_path: str
    """The CLIP that looks at pictures, with its projection: a folder, or its id on the hub. Whoever draws with the adapter needs the same."""
    name_or_path: str | None = None
    """An IP-Adapter to go on from: a .safetensors file, or owner/name/file on the hub. Left out: a new one."""
    control_image_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the pictures that are learned without being looked at. Keeps guidance working."""


class Redux(Guide):
    """A Redux adapter: a picture becomes a part of the prompt, many words long. For FLUX.1."""

    type: Literal["redux"] = "redux"
    image_encoder_path: str
    """The SigLIP that looks at pictures: a folder, or its id on the hub. Whoever draws with the adapter needs the same."""
    name_or_path: str | None = None
    """A Redux adapter to go on from: the folder of its image_embedder, or its id on the hub. Left out: a new one."""
    control_image_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the pictures that are learned without being looked at."""


def _a_t2i_unless_said(value: Any) -> Any:
    return {"type": "t2i", **value} if isinstance(value, Mapping) else value


AdapterSection = Annotated[
    ControlNet | T2i | ControlLora | IpAdapter | Redux, Field(discriminator="type"), BeforeValidator(_a_t2i_unless_said)
]
WHERE = (
    "control_net is for Stable Diffusion 1.5 to 3.5 and FLUX.1, t2i and ip for Stable Diffusion 1.5 to XL, control_lora and redux for FLUX.1; "
    "an edit model takes control pictures by itself."
)


def none_for(kind: str, title: str) -> JobError:
    """There is no adapter of that type for a model."""
    return JobError(f"There is no adapter of the type {kind} for {title}.", f"Choose another type: {WHERE}")

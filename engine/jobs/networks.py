"""What a train job can train: the network section, and words and tokens of the text's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BeforeValidator, Field

from ..errors import JobError
from .base import Strict

Share = Annotated[float, Field(ge=0, lt=1)]


class Adapter(Strict):
    """A small file of changes that other tools load on top of the base model."""

    type: str
    rank: Annotated[int, Field(ge=1, le=1024, validation_alias=AliasChoices("rank", "linear"))] = 16
    """Size of the update. 16 suits a character, 32 to 64 a style."""
    alpha: Annotated[float | None, Field(gt=0, validation_alias=AliasChoices("alpha", "linear_alpha"))] = None
    """Scale of the update; the update is multiplied by alpha / rank. Left out: the same as rank."""
    conv: Annotated[int | None, Field(ge=1, le=1024)] = None
    """Size of the update of 3x3 convolutions, in models that have them. Left out: they are not trained."""
    conv_alpha: Annotated[float | None, Field(gt=0)] = None
    """Scale of the update of 3x3 convolutions. Left out: the same as conv."""
    only_if_contains: list[str] = []
    """Attach only to layers whose names contain one of these."""
    ignore_if_contains: list[str] = []
    """Leave out layers whose names contain one of these."""
    transformer_only: bool = True
    """Off: attach to every layer of the model that can carry it, not only to those of its blocks."""
    rank_pattern: dict[str, Annotated[int, Field(ge=1, le=1024)]] = {}
    """Other ranks for some layers, by a regular expression that their names end with: {attn.to_q: 32}. The first that fits counts."""
    alpha_pattern: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Other scales for some layers, in the same way."""
    module_dropout: Share = 0.0
    """Share of the layers whose update is left out at random in each step."""
    pretrained_lora_path: str | None = None
    """Begin with the weights of this file instead of new ones. A file of the same type and rank, or owner/name/file on the hub."""


class Ranked(Adapter):
    """An adapter whose update is a product of thin matrices."""

    rank_dropout: Share = 0.0
    """Share of the ranks that are left out at random in each step; of a LoKr or LoHa, of the rows of the update."""


class Lora(Ranked):
    """Two thin matrices beside each layer. Small, and read by every tool."""

    type: Literal["lora"] = "lora"
    dropout: Share = 0.0
    """Share of the inputs that are left out at random in each step. Helps against learning by heart."""


class Lokr(Ranked):
    """Few numbers that act on whole layers: a product of two factors. For ComfyUI and Forge."""

    type: Literal["lokr"] = "lokr"
    lokr_full_rank: bool = True
    """Learn both factors as whole matrices. Then rank and alpha have no effect."""
    lokr_factor: Annotated[int | None, Field(ge=2, le=1024), BeforeValidator(lambda value: None if value == -1 else value)] = None
    """Size of the smaller factor. A larger one gives a smaller file: 4 learns most, 32 least. Left out, or -1: as large as the other."""


class Loha(Ranked):
    """The product of two LoRAs, value by value: richer than its size, slower to train. For ComfyUI and Forge."""

    type: Literal["loha"] = "loha"


class Dora(Ranked):
    """A LoRA that learns direction and strength of each layer apart. Learns more with a low rank, and takes longer."""

    type: Literal["dora"] = "dora"
    dropout: Share = 0.0
    """Share of the inputs that are left out at random in each step. Helps against learning by heart."""


class Oft(Adapter):
    """Turns what each layer says without stretching it: keeps best what the model knew. For ComfyUI."""

    type: Literal["oft"] = "oft"
    rank: Annotated[int, Field(ge=2, le=1024, validation_alias=AliasChoices("rank", "linear"))] = 16
    """How many of a layer's values are turned together; where that does not divide them, the next smaller number that does."""


class Nothing(Strict):
    """Nothing of the model itself: for a job with an embedding or a decorator alone."""

    type: Literal["none"] = "none"


class Full(Strict):
    """All weights of the model. Needs several times the memory; gives a whole model."""

    type: Literal["full"] = "full"


def _a_lora_unless_said(value: Any) -> Any:
    return {"type": "lora", **value} if isinstance(value, Mapping) else value


Network = Annotated[Lora | Lokr | Loha | Dora | Oft | Full | Nothing, Field(discriminator="type"), BeforeValidator(_a_lora_unless_said)]


class Embedding(Strict):
    """A new word for the text encoders: its vectors are all that is learned of them. A file of a few kilobytes."""

    trigger: Annotated[str, Field(min_length=1, max_length=80, pattern=r"^\S+$")] = "custom_embedding"
    """The word. It takes the place of [trigger] in captions and sample prompts where trigger_word is left out."""
    tokens: Annotated[int, Field(ge=1, le=75)] = 4
    """Vectors that the word stands for. Each takes the room of one token of the prompt."""
    init_words: Annotated[str, Field(min_length=1)] = "*"
    """Words whose vectors it begins with, for example the class: woman."""


class Decorator(Strict):
    """Vectors that are put behind the text features of every prompt, whatever it says. Only Darkroom reads its file."""

    num_tokens: Annotated[int, Field(ge=1, le=256)] = 4
    """How many."""


def no_new_word(title: str) -> JobError:
    """An embedding is not for a model."""
    return JobError(f"The text encoders of {title} cannot be taught a new word.", "Leave out embedding, and train a LoRA.")


def no_decorator(title: str) -> JobError:
    return JobError(f"{title} cannot be given a decorator.", "It is for Stable Diffusion 1.5 to 3.5 and FLUX.1.")

"""Textual inversion: a new word of the text encoders. Its vectors learn; the tables that they stand beside stay as they are.

Files: one encoder's vectors are ``emb_params``, as A1111 calls them, or, in the diffusers form, have the word for a name, as
``load_textual_inversion`` reads them; those of several are named after their encoders, clip_l, clip_g, t5xxl, as ComfyUI looks
for them. ComfyUI and A1111 read all three. Tried with diffusers 0.42. T tokens of the word, D features.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.loaders import TextualInversionLoaderMixin
from torch import Tensor, nn

from ..errors import JobError
from ..families.base import ModelFamily
from ..jobs import Dtype, Embedding
from ..jobs.networks import no_new_word
from ..runs.safe import read_safetensors, write_safetensors
from ..runtime.device import DTYPES
from .base import Network, copy_into
from .formats import Form
from .reader import read_header

ALONE = "emb_params"
ENCODERS = ("clip_l", "clip_g", "clip_h", "t5xxl")
OTHER_KEYS = {"t5": "t5xxl"}
"""As other trainers call an encoder → ours."""


def read_embedding(path: Path) -> tuple[dict[str, Tensor], dict[str, str]] | None:
    """The vectors of a word by encoder, and the texts of the file; None where it is a file of another kind."""
    header, texts = read_header(path)
    flat = all(len(entry.get("shape", ())) == 2 for entry in header.values())
    named = bool(header) and set(header) <= {ALONE, *ENCODERS, *OTHER_KEYS}
    if flat and (named or (len(header) == 1 and texts.get("modelspec.trigger_phrase") in header)):
        return read_safetensors(path), texts
    return None


class TextWord:
    """The word of a file, for as long as prompts are encoded."""

    def __init__(self, path: Path, vectors: Mapping[str, Tensor], texts: Mapping[str, str]):
        count = max(len(tensor) for tensor in vectors.values())
        self.path, self.settings = path, Embedding(trigger=texts.get("modelspec.trigger_phrase") or path.stem, tokens=count)

    def __bool__(self) -> bool:
        return True

    @contextlib.contextmanager
    def acting(self, family: ModelFamily, strength: float) -> Iterator[None]:
        """Inside, the text encoders of ``family``, which are loaded, know it. A tokenizer forgets no word, so it is a copy that learns it."""
        tokenizers = {name: part for name, part in family.pipe.components.items() if name.startswith("tokenizer")}
        tables = {part: getattr(family.pipe, part).get_input_embeddings() for part in family.word_keys}
        for name, tokenizer in tokenizers.items():
            setattr(family.pipe, name, copy.deepcopy(tokenizer))
        try:
            network = EmbeddingNetwork(self.settings, family)
            network.load(self.path)
            with network.scaled(strength):
                yield
        finally:
            family.__dict__.pop("encode_prompts", None)
            for part, table in tables.items():
                getattr(family.pipe, part).set_input_embeddings(table)
            for name, tokenizer in tokenizers.items():
                setattr(family.pipe, name, tokenizer)


class GrownTable(nn.Embedding):
    """The table of a text encoder, and further rows beside it. The table itself is the same tensor as before."""

    def __init__(self, table: nn.Embedding, rows: nn.Parameter, first: int):
        """``rows`` are those of the tokens ``first``, first + 1, and so on: [T, D]."""
        nn.Module.__init__(self)
        for name in ("num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"):
            setattr(self, name, getattr(table, name))
        self.weight, self.rows, self.first = table.weight, rows, first
        self.register_buffer("start", rows.detach().clone(), persistent=False)
        self.strength = 1.0
        """0: the rows as they were at first."""

    def forward(self, input: Tensor) -> Tensor:
        count = len(self.rows)
        new = (input >= self.first) & (input < self.first + count)
        found = super().forward(input.masked_fill(new, 0))
        rows = self.rows if self.strength == 1 else self.start + (self.rows - self.start) * self.strength
        own = F.embedding((input - self.first).clamp(0, count - 1), rows.to(found.dtype))
        return torch.where(new.unsqueeze(-1), own, found)


class EmbeddingNetwork(Network):
    """The vectors of one new word, in each text encoder of a family that can be taught one. Everything else in those is frozen.

    ``disabled`` is the model that reads the first words, ``init_words``, in its place.
    """

    is_adapter = True
    title = "embedding"

    def __init__(self, settings: Embedding, family: ModelFamily):
        if not family.word_keys:
            raise no_new_word(family.title)
        self.settings, self.keys = settings, dict(family.word_keys)
        self.words = [settings.trigger, *(f"{settings.trigger}_{number}" for number in range(1, settings.tokens))]
        self._tables = {part: self._grow(family, part) for part in self.keys}
        if not isinstance(family.pipe, TextualInversionLoaderMixin):  # the others write all tokens of the word by themselves
            encode = family.encode_prompts
            family.encode_prompts = lambda prompts, *pictures: encode([self.spelled(prompt) for prompt in prompts], *pictures)  # type: ignore[method-assign]
        super().__init__({f"{part}.embedding": table.rows for part, table in self._tables.items()})

    def spelled(self, prompt: str) -> str:
        """The prompt with all tokens of the word, as stock pipelines write it."""
        return prompt.replace(self.settings.trigger, " ".join(self.words))

    def save(self, path: Path, metadata: Mapping[str, str], dtype: Dtype, form: Form, part: str | None = None) -> None:
        tensors = {self.keys[part]: table.rows.detach().cpu().to(DTYPES[dtype]) for part, table in self._tables.items()}
        if len(tensors) == 1:
            tensors = {self.settings.trigger if form == "diffusers" else ALONE: tensor for tensor in tensors.values()}
        texts = {
            key: text.removesuffix("/lora") + "/textual-inversion" if key == "modelspec.architecture" else text
            for key, text in metadata.items()
        }
        write_safetensors(path, tensors, texts | {"format": "pt", "modelspec.trigger_phrase": self.settings.trigger})

    def load(self, path: Path, part: str | None = None) -> None:
        tensors = {OTHER_KEYS.get(name, name): tensor for name, tensor in read_safetensors(path).items()}
        if len(tensors) == len(self._tables) == 1:
            tensors = dict(zip(self.keys.values(), tensors.values(), strict=True))
        if odd := sorted(set(tensors) ^ set(self.keys.values())):
            raise JobError(
                f"{path.name} is no embedding for this model: {odd[0]} is in only one of them.", "It was made for another model family."
            )
        for own, table in self._tables.items():
            copy_into(table.rows, tensors[self.keys[own]], f"The word in {own}")

    def disabled(self) -> contextlib.AbstractContextManager[None]:
        return self.scaled(0)

    @contextlib.contextmanager
    def scaled(self, multiplier: float) -> Iterator[None]:
        before = [table.strength for table in self._tables.values()]
        for table, strength in zip(self._tables.values(), before, strict=True):
            table.strength = strength * multiplier
        try:
            yield
        finally:
            for table, strength in zip(self._tables.values(), before, strict=True):
                table.strength = strength

    def _grow(self, family: ModelFamily, part: str) -> GrownTable:
        encoder, tokenizer = getattr(family.pipe, part), getattr(family.pipe, part.replace("text_encoder", "tokenizer"))
        encoder.requires_grad_(False)
        table = encoder.get_input_embeddings()
        start = self._first_rows(table, tokenizer)
        if taken := next((word for word in self.words if word in tokenizer.get_vocab()), None):
            raise JobError(
                f"embedding.trigger: {taken!r} is a word that the text encoder has already.", "Choose a word that means nothing yet."
            )
        tokenizer.add_tokens(self.words)
        first = tokenizer.convert_tokens_to_ids(self.words)[0]
        grown = GrownTable(table, nn.Parameter(start), first)
        encoder.set_input_embeddings(grown)
        return grown

    def _first_rows(self, table: nn.Embedding, tokenizer: Any) -> Tensor:
        """Those of the first words, spread evenly over the tokens [T, D]."""
        ids = tokenizer(self.settings.init_words, add_special_tokens=False).input_ids
        if not ids:
            raise JobError(
                f"embedding.init_words: {self.settings.init_words!r} are no words for the text encoder.",
                "Write what it is, for example: woman.",
            )
        count = self.settings.tokens
        chosen = [ids[index * len(ids) // count] for index in range(count)]
        return table.weight.detach()[chosen].clone().float()

"""How many tokens of a caption a base model reads: counted by its own tokenizer where that is on this computer, else guessed.

No torch and no transformers here. Which tokenizer a model has follows from its files: a tokenizer.json, vocab.json and merges.txt
of CLIP, or a SentencePiece model.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from ...families.catalog import base_of, defaults_of, locate

USUAL = 512
"""Tokens that most models read at most."""
LARGEST = 8192
"""A tokenizer that says more has no limit of its own: the pipeline does."""
OF_A_WORD, OF_A_SIGN = 1.3, 1.0
"""Tokens of an English word and of a letter of a script without spaces, about."""
_SIGN = re.compile(r"[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]|[^\w\s]")


@dataclass(frozen=True)
class Ruler:
    """Measures captions. ``count`` is None where no tokenizer is here, and lengths are guessed."""

    limit: int = USUAL
    """Tokens that are read, the special ones included."""
    name: str = ""
    """What was measured with: the model's title."""
    count: Callable[[str], int] | None = None

    @property
    def guessed(self) -> bool:
        return self.count is None

    def beyond(self, text: str) -> int | None:
        """Tokens of the caption if they are more than are read; None if it fits."""
        if self.count is None:
            tokens = guess(text)
        elif len(text.encode("utf-8", "replace")) + 2 <= self.limit:
            return None  # no token is less than a byte
        else:
            tokens = self.count(text)
        return tokens if tokens > self.limit else None


def guess(text: str) -> int:
    """Tokens of a text, about."""
    if len(text) <= 64:
        return len(text)
    signs = len(_SIGN.findall(text))
    return math.ceil(OF_A_WORD * len(text.split()) + OF_A_SIGN * signs)


def ruler_of(name: str | None, arch: str | None = None) -> Ruler:
    """The ruler of a base model, by its id, hub name or folder; the usual one without a name. Asks nobody, downloads nothing."""
    if not name:
        return Ruler()
    base = base_of(name)
    name = base.name_or_path if base else name
    title, most = base.title if base else Path(name).name, defaults_of(name, arch).max_sequence_length
    if base is None and locate(name) is None:
        title = ""
    rulers = [
        (min(_limit_of(folder), most or USUAL), count)
        for part in ("tokenizer", "tokenizer_2", "tokenizer_3")
        if (folder := _folder_of(name, part)) and (count := _load(folder))
    ]
    if not rulers:
        return Ruler(most or USUAL, title)
    limit, count = max(rulers, key=lambda one: one[0])  # what the others cut off, the one that reads most still reads
    return Ruler(limit, title, count)


def _folder_of(name: str, part: str) -> Path | None:
    """Where the files of a tokenizer are on this computer."""
    if found := locate(name):
        return found / part if (found / part).is_dir() else None
    if name.count("/") == 1:
        for file in ("tokenizer.json", "vocab.json", "spiece.model", "tokenizer_config.json"):
            with suppress(Exception):  # a name that is none
                cached = try_to_load_from_cache(name, f"{part}/{file}")
                if isinstance(cached, str):
                    return Path(cached).parent
    return None


def _limit_of(folder: Path) -> int:
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        limit = settings.get("model_max_length", math.inf)
        return int(min(limit, LARGEST + 1)) if isinstance(limit, int | float) else LARGEST + 1
    except (OSError, ValueError, AttributeError):
        return LARGEST + 1


def _load(folder: Path) -> Callable[[str], int] | None:
    """Counts tokens as the tokenizer in this folder does, special ones included; None if it cannot be read without torch."""
    with suppress(Exception):  # a file that is damaged, or of a kind that is not known: then lengths are guessed
        if (folder / "tokenizer.json").is_file():
            from tokenizers import Tokenizer

            whole = Tokenizer.from_file(str(folder / "tokenizer.json"))
            whole.no_truncation()
            whole.no_padding()
            return lambda text: len(whole.encode(text).ids)
        if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
            return _clip(folder)
        if (folder / "spiece.model").is_file():
            from sentencepiece import SentencePieceProcessor

            pieces = SentencePieceProcessor(model_file=str(folder / "spiece.model"))
            return lambda text: len(pieces.encode(text)) + 1  # and the end
    return None


def _clip(folder: Path) -> Callable[[str], int]:
    """CLIP's tokenizer from its two files, put together as transformers does; a start and an end are added."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    settings = (
        json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")) if (folder / "tokenizer_config.json").is_file() else {}
    )
    if "CLIP" not in str(settings.get("tokenizer_class", "CLIPTokenizer")):
        raise ValueError("The tokenizer is of another kind.")
    tokens = Tokenizer(
        models.BPE.from_file(
            str(folder / "vocab.json"), str(folder / "merges.txt"), unk_token="<|endoftext|>", end_of_word_suffix="</w>",
            continuing_subword_prefix="", fuse_unk=False,
        )
    )  # fmt: skip
    tokens.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    tokens.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(words, behavior="removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    return lambda text: len(tokens.encode(text).ids) + 2

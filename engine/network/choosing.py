"""Which names are trained: those that contain one of some fragments, and none of some others.

A fragment is a piece of the name as in the pipeline, ``transformer.blocks.7.attn``, with the part of the model or
without it; or of the name that trainers make of it, ``lora_transformer_blocks_7_attn`` or ``lora_unet_blocks_7_attn``.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from ..errors import JobError


def choose(names: Sequence[str], only: Sequence[str], ignore: Sequence[str], section: str) -> list[str]:
    """The names that are left. A fragment that is in no name, or nothing left, is an error that helps."""
    for key, fragments in (("only_if_contains", only), ("ignore_if_contains", ignore)):
        for fragment in fragments:
            if not any(_has(name, fragment) for name in names):
                raise JobError(
                    f"{section}.{key}: {fragment!r} is in none of the names that can be trained.",
                    near(fragment, names),
                )
    chosen = [name for name in names if not only or any(_has(name, fragment) for fragment in only)]
    chosen = [name for name in chosen if not any(_has(name, fragment) for fragment in ignore)]
    if not chosen:
        raise JobError("Nothing is left to train.", f"Loosen {section}.only_if_contains or {section}.ignore_if_contains.")
    return chosen


def _has(name: str, fragment: str) -> bool:
    part, _, path = name.partition(".")
    flat = (f"lora_{part}_{path}".replace(".", "_"), f"lora_unet_{path}".replace(".", "_"))
    return any(fragment in spelled for spelled in (name, *flat))


def near(fragment: str, names: Iterable[str]) -> str:
    """What else may be meant: pieces of names with as many dots as the fragment has, that look like it."""
    length = fragment.strip(".").count(".") + 1
    pieces: dict[str, None] = {}
    for name in names:
        words = name.split(".")
        pieces |= dict.fromkeys(".".join(words[i : i + length]) for i in range(len(words) - length + 1))
    near = difflib.get_close_matches(fragment.strip("."), pieces, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(near)}?" if near else f"Names look like {next(iter(names), '')}."

"""AI Toolkit's network section as ours."""

from __future__ import annotations

from . import compat_keys as keys
from .compat_sections import Idle, Note, Section, as_section, given_in, names_of, read_section
from .networks import Adapter, Dora, Lokr, Lora

KINDS: dict[str, type[Adapter]] = {"lora": Lora, "lokr": Lokr, "dora": Dora}
"""Its types, and the models whose keys they have."""


def read_network(given: Section | None, arch: str | None, note: Note, idle: Idle) -> Section:
    """The section; without one, all weights are trained. ``arch``: whether alpha counts depends on the family."""
    if not given:
        return {"type": "full"}
    given = given_in(as_section(given, "network"))
    kept: Section = {"type": str(given.pop("type", "lora")).lower()}
    rank, alpha = given.pop("linear", 4), given.pop("alpha", 1.0)
    kept["rank"] = given.pop("rank", rank)  # with both given, it takes rank
    alpha = given.pop("linear_alpha", alpha)
    if (arch or "").split(":")[0] in keys.SCALED:
        given.pop("transformer_only", None)  # it is asked for transformers alone there
        kept["alpha"] = alpha
        if "conv" in given:
            kept |= {key: given.pop(key) for key in ("conv", "conv_alpha") if key in given}
    elif alpha not in (1.0, kept["rank"]):
        note("network.linear_alpha is ignored for this family by AI Toolkit, and here too.", "In a Darkroom job, alpha counts.")
    kept |= _read_kwargs(given.pop("network_kwargs", None) or {}, note)
    if kept["type"] == "lokr" and given.get("lokr_full_rank", True):
        kept = {key: value for key, value in kept.items() if key not in ("rank", "alpha", "conv_alpha")}  # its factors are whole
    has = KINDS.get(kept["type"], Lora).model_fields.keys() - {"conv", "conv_alpha"}  # elsewhere there are no such layers
    of_others = names_of("network") - has
    for key in [key for key in given if key in of_others]:
        del given[key]
        idle(f"network.{key}")
    return kept | read_section("network", given, "network.", note, idle)


def _read_kwargs(given: Section, note: Note) -> Section:
    """Those of its network_kwargs that are keys of our section."""
    kept: Section = {}
    for key in ("only_if_contains", "ignore_if_contains"):
        if patterns := given.pop(key, None):  # it matches "transformer." and the name; ours is the name alone
            kept[key] = [str(pattern).removeprefix("transformer.") for pattern in patterns]
    kept |= {key: value for key in ("rank_dropout", "module_dropout") if (value := given.pop(key, None))}
    for key, value in given.items():
        if value:
            note(f"network.network_kwargs.{key} is not supported yet and is left out: the result will differ.")
    return kept

"""Nested plain data by dotted paths: how a job being typed is held, right or wrong. It knows no job."""

from __future__ import annotations

from typing import Any

Draft = dict[str, Any]


def get(draft: Draft, path: str, default: Any) -> Any:
    value: Any = draft
    for part in path.split("."):
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return default
    return value


def put(draft: Draft, path: str, value: Any) -> None:
    *parts, last = path.split(".")
    place: Any = draft
    for part, following in zip(parts, [*parts, last][1:], strict=True):
        empty: Any = [] if following.isdigit() else {}
        if isinstance(place, list):
            while len(place) <= int(part):
                place.append({})
            place = place[int(part)]
        else:
            if not isinstance(place.get(part), dict | list):
                place[part] = empty
            place = place[part]
    if isinstance(place, list):
        place[int(last) : int(last) + 1] = [value]
    else:
        place[last] = value


def drop(draft: Draft, path: str) -> None:
    """Takes the path out, and what is empty without it."""
    parts = path.split(".")
    owner = get(draft, ".".join(parts[:-1]), None) if len(parts) > 1 else draft
    if isinstance(owner, dict) and parts[-1] in owner:
        del owner[parts[-1]]
        if not owner and len(parts) > 1 and not parts[-2].isdigit():
            drop(draft, ".".join(parts[:-1]))

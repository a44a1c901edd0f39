"""Pictures that come twice, or nearly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..files.notes import Notes
from ..files.pictures import PictureError, digest
from ..words import listed
from .album import Album
from .finding import Finding, found

NEAR, NEAR_IN_MANY = 6, 3
"""Bits of 64 by which two pictures that look the same may differ; fewer are looked for in large sets, or it takes minutes."""
MANY = 20_000
MOST_ALIKE = 2000
"""Pictures that share a part of their hash and are compared with one another, at most."""


def about_likeness(album: Album, notes: Notes) -> Iterator[Finding]:
    twin = _twins(album, notes)
    told = listed([f"{Path(path).name} is {Path(other).name} again" for path, other in twin.items()], 3)
    yield from found("look", "duplicate", list(twin), f"comes twice: {told}", f"come more than once: {told}")
    if not twin and album.good().sum() > 1:
        yield Finding("ok", "duplicate", "No picture comes twice.")
    near = _near(album, twin)
    told = listed([f"{Path(path).name} and {Path(other).name}" for path, other in near.items()], 3)
    yield from found("look", "near", list(near), f"looks almost like another one: {told}", f"look almost like another one: {told}")


def _twins(album: Album, notes: Notes) -> dict[str, str]:
    """Picture → an earlier one with the same bytes. Only what looks alike and is equally large is read."""
    groups: dict[tuple[int, ...], list[str]] = {}
    columns = (album.bytes, album.width, album.height, album.likeness)
    alike = _repeated(np.array(album.bytes, dtype=np.uint64)) & _repeated(np.array(album.likeness, dtype=np.uint64)) & album.good()
    for index in np.flatnonzero(alike):
        groups.setdefault(tuple(column[index] for column in columns), []).append(album.paths[index])
    asked = [Path(path) for group in groups.values() if len(group) > 1 for path in group]
    first: dict[str, str] = {}
    twins = {}
    for path, known in notes.about("digest", asked, _digest_or_name):
        if first.setdefault(known, str(path)) != str(path):
            twins[str(path)] = first[known]
    return twins


def _digest_or_name(path: Path) -> str:
    try:
        return digest(path)
    except PictureError:
        return str(path)  # it has just been taken away


def _repeated(values: NDArray[np.uint64]) -> NDArray[np.bool_]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(counts[inverse] > 1)


def _near(album: Album, twins: dict[str, str]) -> dict[str, str]:
    """Picture → an earlier one that looks almost the same."""
    hashes = np.array(album.likeness, dtype=np.uint64)
    kept = np.flatnonzero((hashes != 0) & album.good())
    near: dict[str, str] = {}
    for first, second in near_pairs(hashes[kept], NEAR if len(kept) <= MANY else NEAR_IN_MANY):
        path, other = album.paths[kept[second]], album.paths[kept[first]]
        if path not in twins and twins.get(other, other) != path:
            near.setdefault(path, twins.get(other, other))
    return near


def near_pairs(hashes: NDArray[np.uint64], distance: int) -> list[tuple[int, int]]:
    """Places (i, j), i < j, of hashes that differ in at most ``distance`` bits, in order.

    Of ``distance`` + 1 parts of the bits at least one is then the same in both; only what shares a part is compared.
    """
    pairs: set[tuple[int, int]] = set()
    edges = [64 * part // (distance + 1) for part in range(distance + 2)]
    for start, end in pairwise(edges):
        part = (hashes >> np.uint64(start)) & np.uint64((1 << (end - start)) - 1)
        order = np.argsort(part, kind="stable")
        sorted_part, sorted_hashes = part[order], hashes[order]
        for offset in range(1, min(len(hashes), MOST_ALIKE)):
            same = sorted_part[offset:] == sorted_part[:-offset]
            if not same.any():
                break
            close = same & (np.bitwise_count(sorted_hashes[offset:] ^ sorted_hashes[:-offset]) <= distance)
            for place in np.flatnonzero(close):
                one, other = int(order[place]), int(order[place + offset])
                pairs.add((min(one, other), max(one, other)))
    return sorted(pairs)

"""How often each noise level is practised, drawn as small curves: one picture for the docs."""

from __future__ import annotations

from typing import get_args

import torch

from ..jobs.train import TimestepType
from .timesteps import STEPS, Levels

BARS, WIDE, HIGH, GAP, COLUMNS = 40, 200, 80, 28, 4
SHARES = 8000
TOKENS = 4096
"""Of a picture of 1024 x 1024 pixels, for those that look at it."""


def noise_levels() -> str:
    """An SVG with one curve for each timestep_type: from no noise, left, to noise alone."""
    kinds = get_args(TimestepType)
    rows = -(-len(kinds) // COLUMNS)
    width, height = COLUMNS * (WIDE + GAP), rows * (HIGH + 2 * GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
        *(_curve(kind, index % COLUMNS * (WIDE + GAP), index // COLUMNS * (HIGH + 2 * GAP)) for index, kind in enumerate(kinds)),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _curve(kind: TimestepType, left: int, top: int) -> str:
    bars = density(kind)
    highest = max(bars)
    step, floor = WIDE / BARS, top + GAP + HIGH
    drawn = "".join(
        f'<rect x="{left + index * step:.1f}" y="{floor - HIGH * bar / highest:.1f}" width="{step:.1f}" height="{HIGH * bar / highest:.1f}"/>'
        for index, bar in enumerate(bars)
        if bar
    )
    return (
        f'<text x="{left}" y="{top + GAP - 8}" fill="#888">{kind}</text><g fill="#d8402f">{drawn}</g>'
        f'<path d="M{left} {floor + 0.5}h{WIDE}" stroke="#888"/>'
    )


def density(kind: TimestepType) -> list[float]:
    """How often a level falls into each of ``BARS`` equal parts of [0, 1], 1 being as often as if all were alike."""
    levels = Levels(kind).at((torch.arange(SHARES) + 0.5) / SHARES, TOKENS)
    if kind in STEPS or kind == "next_sample":
        levels = levels - 1e-4  # the last level is inside
    counts = torch.histc(levels, bins=BARS, min=0, max=1)
    return [round(count, 2) for count in (counts * BARS / SHARES).tolist()]

"""How often each noise level is practised, for the picture in the form. The same curves as engine.training.timesteps draws from, without torch.

A level is the share of noise, in [0, 1]. Evenly spread numbers go in, levels come out; a test holds the two side by side.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

from engine.errors import JobError
from engine.families.catalog import defaults_of

from . import chart
from .nested import Draft, get

BARS, SHARES = 50, 4000
EDGE = 1e-6
STEPS = {"one_step": 1, "two_step": 2, "four_step": 4, "eight_step": 8}
USUAL = "sigmoid"
"""Of most models; those that learnt to denoise take linear."""
TOKENS = 4096
_normal = NormalDist().inv_cdf


def picture(draft: Draft) -> str:
    """The density that a draft asks for, as a piece of the page."""
    settings: dict[str, Any] = get(draft, "train", None) or {}
    kind = settings.get("timestep_type") or USUAL
    try:
        low, high = 1 - (int(settings.get("max_denoising_steps", 999)) + 1) / 1000, 1 - int(settings.get("min_denoising_steps", 0)) / 1000
        bars = density(
            kind, settings.get("content_or_style") or "balanced", tokens_of(draft), low, high, int(settings.get("next_sample_timesteps", 8))
        )
    except (ValueError, TypeError, ZeroDivisionError):
        return ""  # the field says what is wrong
    if not settings.get("timestep_type"):
        return chart.density(bars, f"as {USUAL} practises them, which suits most models")
    return chart.density(bars, f"how often {kind} practises each noise level")


def density(
    kind: str, bias: str = "balanced", tokens: int = TOKENS, low: float = 0.0, high: float = 1.0, sampler_steps: int = 8
) -> list[float]:
    """The share of draws that falls into each of ``BARS`` equal parts of [0, 1]. ValueError for a kind that there is not."""
    found = [level(kind, (number + 0.5) / SHARES, bias, tokens, sampler_steps) for number in range(SHARES)]
    inside = [one for one in found if low <= one <= high] or [min(max(found[0], low), high)]
    counts = [0] * BARS
    for one in inside:
        counts[min(BARS - 1, int((one - (1e-4 if kind in STEPS or kind == "next_sample" else 0)) * BARS))] += 1
    return [count / len(inside) for count in counts]


def level(kind: str, share: float, bias: str = "balanced", tokens: int = TOKENS, sampler_steps: int = 8) -> float:
    """The level at a quantile, [0, 1] from the least noise to the most."""
    share = 1 - (1 - share) ** 3 if bias == "content" else share**3 if bias == "style" else share
    share = min(max(share, EDGE), 1 - EDGE)
    if steps := STEPS.get(kind):
        return (math.floor(share * steps) + 1) / steps
    match kind:
        case "next_sample":
            return (math.floor(share * (sampler_steps - 1)) + 1) / sampler_steps
        case "linear" | "weighted":
            return share
        case "sigmoid":
            return _logit_normal(share)
        case "shift":
            return _shifted(_logit_normal(share), 3.0)
        case "flux_shift":
            return _shifted(_logit_normal(share), math.exp(0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256)))
        case "lumina2_shift":
            return _shifted(_logit_normal(share), 6.0)
        case "lognorm_blend":
            if share >= 0.75:
                return (share - 0.75) / 0.25
            inner = min(max(share / 0.75, EDGE), 1 - EDGE)
            return min(max(1 - math.exp(_normal(inner) / 3) / math.e, 0.0), 1.0)
    raise ValueError(kind)


def tokens_of(draft: Draft) -> int:
    """Length of one picture, of the largest size that is trained."""
    try:
        sizes = get(draft, "datasets.0.resolution", None) or defaults_of(str(get(draft, "model.name_or_path", ""))).resolution
        return (max(sizes if isinstance(sizes, list | tuple) else [sizes]) // 16) ** 2
    except (JobError, TypeError, ValueError):
        return TOKENS


def _logit_normal(share: float) -> float:
    return 1 / (1 + math.exp(-_normal(share)))


def _shifted(sigma: float, shift: float) -> float:
    return shift * sigma / (1 + (shift - 1) * sigma)

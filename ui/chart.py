"""Curves as pictures: the losses of a run, and how often each noise level is practised. SVG in strings; colours come from the style sheet.

Gradio's plots have one colour for both themes, no dashes and no marks; these have. Every word goes through ``escape``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDE, HIGH = 1000, 220
"""The size that curves are drawn in; the page stretches it."""
Curve = Sequence[tuple[float, float]]


def losses(
    each: Curve, trend: Curve, held: Mapping[int, float], marks: Sequence[tuple[int, str]], total: int, best: int | None = None
) -> str:
    """The loss of each step and its trend, the loss on pictures that were held back, and what was changed on the way.

    ``marks`` are (step, words), ``best`` is the step where the held-back loss was lowest.
    """
    each, trend = ([(step, value) for step, value in curve if math.isfinite(value)] for curve in (each, trend))
    if not each and not held:
        return '<p class="hint">The first steps have not come yet.</p>'
    low, high = _span([value for _, value in each], [value for _, value in trend], list(held.values()))
    end = max([total, 1, *(int(step) for step, _ in each), *held])

    def place(step: float, value: float) -> tuple[float, float]:
        return WIDE * step / end, HIGH * (1 - (value - low) / (high - low))

    shapes = [
        *(f'<path class="changed" d="M{WIDE * step / end:.1f} 0V{HIGH}"><title>{escape(words)}</title></path>' for step, words in marks),
        _line("each", [place(*point) for point in each]),
        _line("trend", [place(*point) for point in trend]),
        _line("held", [place(*point) for point in sorted(held.items())]),
    ]
    for step, value in sorted(held.items()):
        across, down = place(step, value)
        kind = "point best" if step == best else "point"
        words = f"step {step:,}: {value:.4f} on pictures that were held back"
        shapes.append(f'<path class="{kind}" d="M{across:.1f} {down:.1f}h.01"><title>{escape(words)}</title></path>')
    heights = [(value, f"{value:g}") for value in _ticks(low, high, 4)]
    steps = [(value, f"{value:,.0f}") for value in _ticks(0, end, 6) if value == int(value)]
    labels = "".join(f'<i class="down" style="top:{100 * (1 - (value - low) / (high - low)):.2f}%">{text}</i>' for value, text in heights)
    labels += "".join(f'<i class="across" style="left:{100 * value / end:.2f}%">{text}</i>' for value, text in steps)
    return f'<div class="chart"><div class="plot">{_svg(shapes, "loss by step")}{labels}</div>{_legend(bool(held), [words for _, words in marks])}</div>'


def _legend(is_held: bool, marks: Sequence[str]) -> str:
    keys = [("each", "each step"), ("trend", "its trend"), *([("held", "on pictures that were held back")] if is_held else [])]
    keys += [("changed", words) for words in marks[-6:]]
    return f'<p class="keys">{"".join(f"<span class={kind}>{escape(words)}</span>" for kind, words in keys)}</p>'


def density(shares: Sequence[float], words: str) -> str:
    """How often each noise level comes: a bar for each of equal parts, from the picture to noise alone."""
    top = max(shares, default=0) or 1
    wide = WIDE / max(1, len(shares))
    bars = [
        f'<rect x="{wide * place:.1f}" y="{HIGH * (1 - share / top):.1f}" width="{wide:.1f}" height="{HIGH * share / top:.1f}"/>'
        for place, share in enumerate(shares)
    ]
    return (
        f'<figure class="density"><div class="plot">{_svg(bars, words)}</div>'
        f"<figcaption><span>the picture</span><b>{escape(words)}</b><span>noise alone</span></figcaption></figure>"
    )


def _svg(shapes: Sequence[str], words: str) -> str:
    return f'<svg viewBox="0 0 {WIDE} {HIGH}" preserveAspectRatio="none" role="img" aria-label="{escape(words)}">{"".join(shapes)}</svg>'


def _line(kind: str, points: Sequence[tuple[float, float]]) -> str:
    return f'<polyline class="{kind}" points="{" ".join(f"{across:.1f},{down:.1f}" for across, down in points)}"/>' if points else ""


def _span(each: Sequence[float], *whole: Sequence[float]) -> tuple[float, float]:
    """What is shown: all of the calm curves, and of the steps all but the wildest, with some air; never below 0."""
    ordered = sorted(each)
    core = [ordered[int(share * (len(ordered) - 1))] for share in (0.02, 0.98)] if ordered else []
    values = [*core, *(value for curve in whole for value in curve)] or [0.0, 1.0]
    low, high = min(values), max(values)
    air = 0.08 * (high - low) or 0.5 * abs(high) or 1.0
    return max(0.0, low - air), high + air


def _ticks(low: float, high: float, about: int) -> list[float]:
    """About so many round numbers between the two."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * size for size in (1, 2, 5, 10) if power * size >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]

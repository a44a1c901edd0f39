from __future__ import annotations

import re

from ui import chart


def points(piece: str, kind: str) -> list[tuple[float, float]]:
    found = re.search(rf'<polyline class="{kind}" points="([^"]*)"', piece)
    return [tuple(map(float, pair.split(","))) for pair in found[1].split()] if found else []


def test_curves_lie_where_their_numbers_are() -> None:
    piece = chart.losses([(1, 1.0), (100, 0.5)], [(1, 1.0), (100, 0.5)], {0: 1.0, 50: 0.75, 100: 0.5}, [], 100, 50)
    held = points(piece, "held")
    assert [across for across, _ in held] == [0, 500, 1000]
    assert held[0][1] < held[1][1] < held[2][1] and held[1][1] == round((held[0][1] + held[2][1]) / 2, 1)
    assert points(piece, "trend")[1] == held[2]
    assert piece.count('class="point best"') == 1 and "step 50: 0.7500" in piece


def test_a_few_wild_steps_do_not_press_the_curves_to_the_floor() -> None:
    calm = [(step, 0.4 if step % 2 else 0.5) for step in range(1, 200)]
    piece = chart.losses([*calm, (200, 900.0)], calm, {}, [], 200)
    heights = [down for _, down in points(piece, "trend")]
    assert max(heights) - min(heights) > chart.HIGH / 2
    assert min(down for _, down in points(piece, "each")) < 0  # it leaves the picture


def test_what_was_changed_is_marked_and_named() -> None:
    piece = chart.losses([(1, 1.0)], [(1, 1.0)], {}, [(20, "step 20: learning rate 0.1 → 0.2")], 40)
    assert '<path class="changed" d="M500.0 0' in piece and piece.count("learning rate 0.1") == 2
    assert "held back" not in piece


def test_there_is_a_picture_of_few_or_odd_numbers_too() -> None:
    assert "not come yet" in chart.losses([], [], {}, [], 100)
    assert "<svg" in chart.losses([], [], {0: 0.5}, [], 100)
    assert "<svg" in chart.losses([(1, 0.0)], [(1, 0.0)], {}, [], 1)
    assert "<svg" in chart.losses([(1, float("nan")), (2, 1.0)], [(2, 1.0)], {}, [], 2)
    assert "nan" not in chart.losses([(1, float("nan")), (2, 1.0)], [(2, 1.0)], {}, [], 2)

"""How a run is doing, from the loss on pictures that it is not trained on, and from what its samples are like. Arithmetic alone: no torch, no files.

The rule. Each measurement is smoothed by the median of itself and its two neighbours. The gain is how
far the lowest smoothed value lies below the one before the first step, as a share of that.

- overcooked: the newest value has risen from the lowest by more than a quarter of the gain, and by more than 0.5 % of the
  loss at the start; and the lowest is at least two measurements ago. The training loss may still fall.
- not learning: the gain is below 0.5 % of the loss at the start.
- learned: the last third of the measurements, at least two, brought less than a tenth of the gain.
- learning: all else.

Where samples are compared by a CLIP model, it is overcooked too, whatever the loss says, when they have become less like their prompts (CLIP-T) by
more than a tenth of the best value, at least two rounds ago, and since then more like the pictures (CLIP-I): it draws its pictures instead of what it is
asked for. The last round before that fall is the step that it is counted from.

Nothing is said before the fourth measurement after the first. The training loss decides nothing: it falls for what is learned
by heart too. It is told beside the verdict, as the means of the first and of the last tenth of what was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median

from ..events import Event, Measured, Step, Verdict, VerdictName, WentBack

VALIDATION_LOSS = "validation loss"
ENOUGH = 4
"""Measurements after the first, before anything is said."""
LITTLE = 0.005
"""Share of the loss at the start that counts as a change."""
RISE = 0.25
"""Share of the gain that may be lost again."""
FLAT = 0.1
"""Share of the gain that the last third must have brought, or it is learned."""
PICTURES, PROMPTS = "CLIP-I", "CLIP-T"
FALL = 0.1
"""Share of the likeness to prompts that may be lost."""


@dataclass
class Curves:
    """Losses of a run by step, folded from its events. Of what comes twice, the later one counts."""

    training: dict[int, float] = field(default_factory=dict)
    validation: dict[int, float] = field(default_factory=dict)
    likeness: dict[str, dict[int, float]] = field(default_factory=dict)

    def add(self, event: Event) -> Verdict | None:
        """What can be said after this event; None where it is no measurement, or too early."""
        match event:
            case Step():
                self.training[event.step] = event.loss
            case Measured() if event.name == VALIDATION_LOSS:
                self.validation[event.step] = event.value
                return judge(self.training, self.validation, self.likeness)
            case Measured() if event.name in (PICTURES, PROMPTS):
                self.likeness.setdefault(event.name, {})[event.step] = event.value
                # of a round of samples, that is the last
                return judge(self.training, self.validation, self.likeness) if event.name == PROMPTS else None
        return None

    @classmethod
    def of(cls, events: Iterable[Event]) -> Curves:
        curves = cls()
        for event in events:
            if isinstance(event, WentBack):
                curves = curves.before(event.step)
            curves.add(event)
        return curves

    def before(self, step: int) -> Curves:
        """What was known when so many steps were done: a run that goes on from there repeats the rest."""
        return Curves(
            _upto(self.training, step), _upto(self.validation, step), {name: _upto(curve, step) for name, curve in self.likeness.items()}
        )


def _upto(curve: Mapping[int, float], step: int) -> dict[int, float]:
    return {at: value for at, value in curve.items() if at <= step}


def judge(
    training: Mapping[int, float], validation: Mapping[int, float], likeness: Mapping[str, Mapping[int, float]] | None = None
) -> Verdict | None:
    """The verdict on losses and scores by step, with the numbers behind it."""
    steps = sorted(validation)
    if len(steps) <= ENOUGH:
        return None
    values = smoothed([validation[step] for step in steps])
    lowest = min(range(len(values)), key=values.__getitem__)
    first, now = values[0], values[-1]
    begun, lately = ends([training[step] for step in sorted(training) if step <= steps[-1]])
    said = Verdict(
        step=steps[-1], verdict=_name(values, lowest), best_step=steps[lowest],
        first=first, best=values[lowest], now=now, training_first=begun, training_now=lately,
    )  # fmt: skip
    return _with_likeness(said, likeness or {})


def _with_likeness(said: Verdict, likeness: Mapping[str, Mapping[int, float]]) -> Verdict:
    """The verdict, and what the samples say about it."""
    steps = sorted(set(likeness.get(PICTURES, {})) & set(likeness.get(PROMPTS, {})))
    if len(steps) <= ENOUGH:
        return said
    pictures, prompts = (smoothed([likeness[name][step] for step in steps]) for name in (PICTURES, PROMPTS))
    best = max(range(len(steps)), key=prompts.__getitem__)
    good = max(place for place in range(best, len(steps)) if prompts[place] >= (1 - FALL) * prompts[best])
    changed: dict[str, object] = {
        "step": max(said.step, steps[-1]),
        "likeness": {name: (curve[best], curve[-1]) for name, curve in ((PICTURES, pictures), (PROMPTS, prompts))},
    }
    if good < len(steps) - 1 and len(steps) - 1 - best >= 2 and pictures[-1] > pictures[best]:
        changed |= {"verdict": "overcooked", "likeness_step": steps[good], "best_step": min(said.best_step, steps[good])}
    return said.model_copy(update=changed)


def _name(values: Sequence[float], lowest: int) -> VerdictName:
    first, best, now = values[0], values[lowest], values[-1]
    gain = first - best
    if len(values) - 1 - lowest >= 2 and now - best > max(RISE * gain, LITTLE * first):
        return "overcooked"
    if gain < LITTLE * first:
        return "not learning"
    third = max(2, len(values) // 3)
    if min(values[:-third]) - min(values[-third:]) < FLAT * gain:
        return "learned"
    return "learning"


def smoothed(values: Sequence[float]) -> list[float]:
    """Each as the median of itself and its neighbours; the first stays, and the last is the median of the last three."""
    if len(values) < 3:
        return list(values)
    inner = [median(values[place - 1 : place + 2]) for place in range(1, len(values) - 1)]
    return [values[0], *inner, median([values[-1], values[-2], values[-3]])]


def ends(losses: Sequence[float]) -> tuple[float | None, float | None]:
    """The means of the first and of the last tenth; None where there are none."""
    if not losses:
        return None, None
    tenth = max(1, len(losses) // 10)
    return fmean(losses[:tenth]), fmean(losses[-tenth:])


def judged(events: Iterator[Event], curves: Curves) -> Iterator[Event]:
    """The events, and after a measurement what it says."""
    for event in events:
        yield event
        if verdict := curves.add(event):
            yield verdict

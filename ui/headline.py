"""The card of a run: one number, what is left, a sentence on how it goes with the numbers behind it, facts. No files, no clock, no Gradio."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engine.events import Asked, Failed, Verdict
from engine.jobs import Job, TrainJob

from .fields import label
from .watch import ENOUGH, History, duration, next_sample, seconds_left, speed

SENTENCES = {
    "learning": ("ok", "Learning: it still gets better on pictures that were held back."),
    "learned": ("ok", "Learned: on pictures that were held back it hardly gets better any more."),
    "overcooked": ("look", "Past its best: since step {best} it learns the pictures by heart."),
    "not learning": ("look", "Not learning yet: pictures that were held back are as new to it as at the start."),
}
"""Verdict → (tone, sentence) while it runs."""
AT_THE_END = {
    "learning": ("ok", "Ready. It was still getting better at the end; more steps would help."),
    "learned": ("ok", "Ready. It has learned what there was to learn. Pick the best on the contact sheet."),
    "overcooked": ("ok", "Ready. Step {best} did best on pictures that were held back; after it, the pictures were learned by heart."),
    "not learning": ("look", "It has hardly learned. Try a higher learning rate, or more steps."),
}
"""The same, when it is done."""
STRAYED = "Past its best: since step {step} samples are more like the pictures and less like their prompts."
STRAYED_AT_THE_END = "Ready. Step {best} is the one: after step {step}, samples are more like the pictures and less like their prompts."
"""The same, where it was the samples that told it."""

PARTS = 3
"""Of what has changed, so much is named in a question; the log has all of it."""
LIKENESS = ("CLIP-I", "DINO", "CLIP-T")
"""Measurements of samples: like the pictures, like the pictures by their subject, like the prompts."""


@dataclass(frozen=True)
class Headline:
    """The progress card."""

    state: str
    share: float
    left: str
    health: tuple[str, str]
    facts: list[tuple[str, str]]
    behind: str = ""
    """The numbers behind the sentence."""
    door: int | None = None
    """The step of a checkpoint that the sentence leads to."""
    likeness: str = ""
    """How like the newest samples are to the pictures and to their prompts, where that is measured."""
    remark: str = ""
    """The newest warning, where the sentence says something else."""


def headline(history: History, job: Job, status: str, ahead: str = "", saved: Iterable[int] = ()) -> Headline:
    """What the card says of a training with this status.

    ``ahead`` is the run that it waits for, ``saved`` are the steps of its checkpoints that are still there.
    """
    step = history.step
    total = history.total or (job.train.steps if isinstance(job, TrainJob) else 1)
    share = 1.0 if status == "completed" else min(1.0, step / max(1, total))
    place = f"step {history.asked.step if history.asked else step:,} of {total:,}"
    card = Headline(
        status,
        share,
        _left(history, status, place),
        _health(history, status, total, ahead),
        _facts(history, job, status),
        likeness=likeness(history),
    )
    judged = status in {"running", "stopped", "completed"} and (history.times or status != "running")
    if history.verdict is None or not judged:
        return card
    return _with_verdict(card, history, history.verdict, list(saved))


def nearest(step: int, saved: Iterable[int]) -> int | None:
    """The checkpoint next to a step; of two, the earlier one."""
    return min((one for one in saved if one), key=lambda one: (abs(one - step), one), default=None)


def _with_verdict(card: Headline, history: History, said: Verdict, saved: list[int]) -> Headline:
    over = card.state == "completed"
    tone, words = (AT_THE_END if over else SENTENCES)[said.verdict]
    if said.likeness_step is not None:
        words = STRAYED_AT_THE_END if over else STRAYED
    words = words.format(best=f"{said.best_step:,}", step=f"{said.likeness_step or 0:,}")
    if card.state == "stopped":
        tone, words = "ok", f"{card.health[1]} {words}"
    remark = f"{history.warnings[-1].message} {history.warnings[-1].hint}".strip() if history.warnings else ""
    has_door = said.verdict in {"learned", "overcooked"} or (over and said.verdict == "learning")
    return Headline(
        card.state, card.share, card.left, (tone, words), card.facts,
        behind=numbers(said), door=nearest(said.best_step, saved) if has_door else None, likeness=card.likeness, remark=remark,
    )  # fmt: skip


def numbers(said: Verdict) -> str:
    """The numbers behind a verdict, in a line."""
    words = f"Validation loss {said.first:.4f} at first, {said.best:.4f} at its best, step {said.best_step:,}, and {said.now:.4f} now"
    if said.training_first is None or said.training_now is None:
        return f"{words}."
    return f"{words}. Training loss {said.training_first:.4f}, now {said.training_now:.4f}."


def likeness(history: History) -> str:
    """The newest scores of likeness in a line; "" where there are none."""
    curves = {name: history.measured[name] for name in LIKENESS if history.measured.get(name)}
    if not curves:
        return ""
    step = max(max(curve) for curve in curves.values())
    scores = " · ".join(f"{name} {curve[step]:.3f}" for name, curve in curves.items() if step in curve)
    return f"Likeness of the samples at step {step:,}: {scores}. 1 is the same."


def question(asked: Asked) -> str:
    """What has changed since the run was saved, in a sentence."""
    said = [
        f"the data set {name} {f'has {now:,} pictures instead of {then:,}' if then != now else 'has other pictures or captions'}"
        for name, then, now in asked.data
    ]
    said += [f"{label(key).lower()} is {_short(now)} instead of {_short(then)}" for key, (then, now) in asked.settings.items()]
    more = f"{len(said) - PARTS} more" if len(said) > PARTS else ""
    *first, last = [*said[:PARTS], *([more] if more else [])]
    return f"Since it was saved, {', '.join(first)}{' and ' if first else ''}{last}."


def _short(value: object) -> str:
    words = "none" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return words if len(words) <= 40 else f"{words[:39]}…"


def _left(history: History, status: str, place: str) -> str:
    match status:
        case "queued":
            return "waiting in line"
        case "running" if history.asked:
            return f"waiting for your answer at {place}"
        case "running" if history.paused:
            return f"paused at {place}"
        case "running":
            return _going(history, place)
        case "completed":
            return f"finished at step {history.step:,}"
        case "stopped":
            return f"stopped at {place} · everything is saved"
        case "interrupted":
            return f"interrupted at {place}"
    return f"ended at {place}"


def _going(history: History, place: str) -> str:
    if history.progress and history.progress.total:
        done = history.progress
        return f"{history.phase or done.what} · {done.done:,} of {done.total:,}"
    if not history.times:
        return f"{history.phase or 'Getting ready'} …"
    left = seconds_left(history)
    return place if left is None else f"{place} · {duration(left)} left"


def _health(history: History, status: str, total: int, ahead: str) -> tuple[str, str]:
    match status:
        case "queued":
            return "ok", f"It starts when {ahead} is done." if ahead else "It starts in a moment."
        case "running" if history.asked:
            return "look", f"{question(history.asked)} Go on with it?"
        case "stopped" | "interrupted" if history.asked:
            return "ok", "What is saved is as it was. Continue asks again; set it back, and it goes on as before."
        case "running" if history.paused:
            return "ok", "Resting. The memory is free for other things, and the place is kept."
        case "running":
            return _while_it_runs(history, total)
        case "completed":
            return "ok", "Ready. Pick the best on the contact sheet."
        case "stopped":
            return "ok", "Nothing is lost. Continue whenever you like."
        case "interrupted":
            kept = max(history.saved, default=0)
            return "look", f"It was cut off. Continue goes on from {f'step {kept:,}' if kept else 'the beginning'}."
    failed = history.end
    return "look", f"{failed.message} {failed.hint}".strip() if isinstance(failed, Failed) else "It ended with an error; the log says more."


def _while_it_runs(history: History, total: int) -> tuple[str, str]:
    if history.warnings:
        last = history.warnings[-1]
        return "look", f"{last.message} {last.hint}".strip()
    if not history.times:
        return "ok", "Getting ready. The first time takes longest; nothing is stuck."
    if len(history.times) < ENOUGH:
        return "ok", "Warming up. The first steps are slower."
    if history.step >= total:
        return "ok", "Saving the last checkpoint."
    return "ok", "Learning. Watch the samples: they say more than any number."


def _facts(history: History, job: Job, status: str) -> list[tuple[str, str]]:
    following = next_sample(job, history) if status == "running" else None
    return [
        ("speed", speed(history.seconds) if history.seconds and history.step >= ENOUGH else "–"),
        ("memory", f"{history.memory / 2**30:.1f} GB" if history.memory else "–"),
        ("saved", f"step {max(history.saved):,}" if history.saved else "–"),
        ("next sample", f"step {following:,}" if following is not None else "–"),
    ]

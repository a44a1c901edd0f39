from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from engine.events import Event, Failed, Finished, Phase, Progress, Sampled, Saved, Step, Warned, dump_event
from engine.jobs import TrainJob
from engine.queue import follow
from ui import watch
from ui.watch import History


def told(*events: Event | Iterable[Event]) -> History:
    history = History()
    for event in events:
        history.add(event if isinstance(event, Iterable) and not hasattr(event, "kind") else [event])
    return history


def steps(first: int, last: int, begin: float = 0.0, each: float = 2.0, loss: float = 1.0) -> list[Event]:
    return [
        Step(step=k, total=100, loss=loss, lr=1e-4, seconds=each, time=begin + each * (k - first), memory=2**30)
        for k in range(first, last + 1)
    ]


def sampled(step: int, index: int = 0, path: str = "", **more: str) -> Sampled:
    return Sampled(step=step, index=index, prompt=more.pop("prompt", f"prompt {index}"), seed=1, path=Path(path or f"samples/{step}_{index}.jpg"), **more)


def job(**changes) -> TrainJob:
    data = {
        "name": "run",
        "trigger_word": "zwx",
        "model": {"name_or_path": "m"},
        "datasets": [{"path": "p"}],
        "train": {"steps": 100},
        "sample": {"sample_every": 40, "prompts": ["a [trigger]", "b"]},
    }
    return TrainJob.model_validate(data | changes)


def test_steps_that_come_again_after_a_resume_count_as_they_came_last():
    history = told(steps(1, 60, loss=1.0), steps(41, 50, begin=1000.0, loss=2.0))
    assert sorted(history.losses) == list(range(1, 51))
    assert history.losses[40] == 1.0 and history.losses[41] == 2.0
    assert history.step == 50
    assert watch.pace(history) == pytest.approx(2.0)


def test_pictures_that_come_again_take_the_place_of_the_first():
    history = told(sampled(40, path="old.jpg"), sampled(40, path="new.jpg"))
    assert watch.strip(job(), history, Path("/run")).pictures[0][1] == Path("/run/new.jpg")
    assert history.drawn == 2


def test_the_pause_of_a_killed_run_is_not_counted_as_its_pace():
    """It was killed right after a checkpoint, so that no step comes twice; it went on the next day."""
    history = told(steps(1, 50), Phase(name="Reading pictures"), steps(51, 60, begin=86_400.0))
    assert watch.pace(history) == pytest.approx(2.0)
    assert watch.seconds_left(history) == pytest.approx(80.0)


def test_a_run_that_goes_on_after_its_end_is_a_new_session():
    history = told(steps(1, 20), Warned(message="odd"), Finished(step=20, reason="stopped"))
    assert history.end is not None
    history.add([Phase(name="Opening the base model")])
    assert history.end is None and history.warnings == [] and history.times == []
    assert watch.headline(history, job(), "running").left == "Opening the base model …"


def test_the_time_left_is_by_the_clock_and_not_told_before_it_is_known():
    slow = [
        Step(step=k, total=100, loss=1, lr=1, seconds=0.1, time=3.0 * k) for k in range(1, 11)
    ]  # samples and saves take time too
    assert watch.seconds_left(told(slow[: watch.ENOUGH - 1])) is None
    assert watch.seconds_left(told(slow)) == pytest.approx(270.0)
    assert watch.seconds_left(told(steps(1, 100))) == 0
    assert watch.headline(told(slow), job(), "running").left == "step 10 of 100 · 4 min left"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "less than a minute"), (50, "1 min"), (89 * 60, "89 min"), (90 * 60, "1 h 30 min"), (7200, "2 h"), (11 * 3600 + 600, "11 h")],
)
def test_times_are_told_in_the_words_of_a_person(seconds, words):
    assert watch.duration(seconds) == words


def test_all_columns_of_the_film_strip_are_there_before_the_first_picture():
    strip = watch.strip(job(), History(), Path("/run"))
    assert strip.columns == [0, 40, 80, 100] and strip.prompts == ["a zwx", "b"]
    assert strip.pictures == [[None] * 4] * 2 and strip.ready == 0
    later = watch.strip(job(), told(sampled(0), sampled(0, 1), sampled(40)), Path("/run"))
    assert later.columns == strip.columns
    assert later.pictures[0] == [Path("/run/samples/0_0.jpg"), Path("/run/samples/40_0.jpg"), None, None]
    assert later.pictures[1] == [Path("/run/samples/0_1.jpg"), None, None, None] and later.ready == 2


def test_the_columns_follow_the_settings_and_what_was_asked_for_in_between():
    assert watch.planned(job(sample={"sample_every": None, "prompts": ["a"]}), History()) == []
    assert watch.planned(job(sample={"sample_every": 40, "skip_first_sample": True, "prompts": ["a"]}), History()) == [40, 80, 100]
    assert watch.planned(job(sample={"sample_every": 40}), History()) == []
    assert watch.planned(job(), told(sampled(55))) == [0, 40, 55, 80, 100]
    assert watch.planned(job(), told(sampled(55, column="other"))) == [0, 40, 80, 100]
    assert watch.next_sample(job(), told(steps(1, 40))) == 80
    assert watch.next_sample(job(), told(steps(1, 100))) is None


def test_a_very_long_strip_shows_the_first_and_the_newest_columns():
    long = job(train={"steps": 1000}, sample={"sample_every": 10, "prompts": ["a"]})
    strip = watch.strip(long, told([sampled(step) for step in range(0, 510, 10)]), Path("/run"), limit=10)
    assert strip.columns == [0, *range(430, 520, 10)] and strip.ready == 9
    begun = watch.strip(long, History(), Path("/run"), limit=10)
    assert begun.columns == list(range(0, 100, 10))


def test_the_prompt_under_a_picture_is_the_one_it_was_made_with():
    history = told(sampled(0, 0, prompt="as it was"), sampled(0, 3, prompt="asked for later"))
    assert watch.strip(job(), history, Path("/run")).prompts == ["as it was", "b", "", "asked for later"]


def test_a_failure_is_told_with_what_to_do():
    history = told(steps(1, 20), Failed(message="The disk is full.", hint="Make room."))
    head = watch.headline(history, job(), "failed")
    assert head.health == ("look", "The disk is full. Make room.") and head.left == "ended at step 20 of 100"
    assert "log" in watch.headline(told(steps(1, 2)), job(), "failed").health[1]
    assert history.lines[-1] == "Failed: The disk is full. Make room."


def test_a_warning_is_told_while_it_runs():
    head = watch.headline(told(steps(1, 20), Warned(message="adamw8bit is adamw here.", hint="It needs a card.")), job(), "running")
    assert head.health == ("look", "adamw8bit is adamw here. It needs a card.")


def test_an_interrupted_run_says_from_where_it_goes_on():
    history = told(steps(1, 60), Saved(step=50, path=Path("run_000000050.safetensors")))
    head = watch.headline(history, job(), "interrupted")
    assert "from step 50" in head.health[1] and head.left == "interrupted at step 60 of 100" and head.share == 0.6
    assert "from the beginning" in watch.headline(told(steps(1, 3)), job(), "interrupted").health[1]


def test_the_card_says_how_far_the_preparation_is():
    history = told(Phase(name="Encoding pictures"), Progress(done=3, total=1200))
    assert watch.headline(history, job(), "running").left == "Encoding pictures · 3 of 1,200"
    history.add(steps(1, 1))
    assert watch.headline(history, job(), "running").left == "step 1 of 100"


def test_facts_of_the_card():
    history = told(steps(1, 45), Saved(step=40, path=Path("a")))
    head = watch.headline(history, job(), "running")
    assert dict(head.facts) == {"speed": "2.00 s a step", "memory": "1.0 GB", "saved": "step 40", "next sample": "step 80"}
    assert set(dict(watch.headline(History(), job(), "queued").facts).values()) == {"–"}


def test_the_chart_is_thinned_and_keeps_its_last_step():
    rows = watch.smoothed(dict.fromkeys(range(1, 10001), 1.0), points=100)
    assert len(rows) <= 2 * 101 and rows[-1] == (10_000, pytest.approx(1.0), "trend")
    assert {kind for *_, kind in rows} == {"each step", "trend"}
    assert watch.smoothed({}) == []


def test_half_a_line_waits_for_its_end_and_a_damaged_one_is_left_out(tmp_path):
    """As a tab follows a log while it is written, and after a kill in the middle of a line."""
    path, history = tmp_path / "events.jsonl", History()
    first, second, third = (dump_event(event) for event in steps(1, 3))
    path.write_bytes(first + second[:20])
    events, offset = follow(path)
    history.add(events)
    assert history.step == 1
    path.write_bytes(first + second + third[:20])
    events, offset = follow(path, offset)
    history.add(events)
    assert history.step == 2
    path.write_bytes(first + second + third[:20] + b"\n" + third)
    events, offset = follow(path, offset)
    history.add(events)
    assert sorted(history.losses) == [1, 2, 3]
    assert follow(path, offset) == ([], offset)


def test_the_log_shows_the_newest_lines_and_not_each_step():
    history = told(steps(1, 100))
    assert len(history.lines) == 11 and "step 100 of 100" in history.lines[-1]
    history.add(Warned(message=str(k)) for k in range(1000))
    assert len(history.lines) == watch.LINES and history.lines[-1] == "Warning: 999"

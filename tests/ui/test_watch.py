from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from engine.events import (
    Changed,
    Event,
    Failed,
    Finished,
    Measured,
    Phase,
    Progress,
    Sampled,
    Saved,
    Step,
    Verdict,
    Warned,
    WentBack,
    dump_event,
)
from engine.jobs import TrainJob
from engine.queue import follow
from ui import pieces, watch
from ui.headline import headline
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
    return Sampled(
        step=step,
        index=index,
        prompt=more.pop("prompt", f"prompt {index}"),
        seed=1,
        path=Path(path or f"samples/{step}_{index}.jpg"),
        **more,
    )


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
    assert headline(history, job(), "running").left == "Opening the base model …"


def test_the_time_left_is_by_the_clock_and_not_told_before_it_is_known():
    slow = [Step(step=k, total=100, loss=1, lr=1, seconds=0.1, time=3.0 * k) for k in range(1, 11)]  # samples and saves take time too
    assert watch.seconds_left(told(slow[: watch.ENOUGH - 1])) is None
    assert watch.seconds_left(told(slow)) == pytest.approx(270.0)
    assert watch.seconds_left(told(steps(1, 100))) == 0
    assert headline(told(slow), job(), "running").left == "step 10 of 100 · 4 min left"


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
    head = headline(history, job(), "failed")
    assert head.health == ("look", "The disk is full. Make room.") and head.left == "ended at step 20 of 100"
    assert "log" in headline(told(steps(1, 2)), job(), "failed").health[1]
    assert history.lines[-1] == "Failed: The disk is full. Make room."


def test_a_warning_is_told_while_it_runs():
    head = headline(told(steps(1, 20), Warned(message="adamw8bit is adamw here.", hint="It needs a card.")), job(), "running")
    assert head.health == ("look", "adamw8bit is adamw here. It needs a card.")


def test_an_interrupted_run_says_from_where_it_goes_on():
    history = told(steps(1, 60), Saved(step=50, path=Path("run_000000050.safetensors")))
    head = headline(history, job(), "interrupted")
    assert "from step 50" in head.health[1] and head.left == "interrupted at step 60 of 100" and head.share == 0.6
    assert "from the beginning" in headline(told(steps(1, 3)), job(), "interrupted").health[1]


def test_the_card_says_how_far_the_preparation_is():
    history = told(Phase(name="Encoding pictures"), Progress(done=3, total=1200))
    assert headline(history, job(), "running").left == "Encoding pictures · 3 of 1,200"
    history.add(steps(1, 1))
    assert headline(history, job(), "running").left == "step 1 of 100"


def test_facts_of_the_card():
    history = told(steps(1, 45), Saved(step=40, path=Path("a")))
    head = headline(history, job(), "running")
    assert dict(head.facts) == {"speed": "2.00 s a step", "memory": "1.0 GB", "saved": "step 40", "next sample": "step 80"}
    assert set(dict(headline(History(), job(), "queued").facts).values()) == {"–"}


def test_the_chart_is_thinned_and_keeps_its_last_step():
    each, trend = watch.smoothed(dict.fromkeys(range(1, 10001), 1.0), points=100)
    assert len(each) == len(trend) <= 101 and trend[-1] == (10_000, pytest.approx(1.0)) and each[-1] == (10_000, 1.0)
    assert watch.smoothed({}) == ([], [])


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


def verdict(name: str, step: int = 80, best_step: int = 45) -> Verdict:
    return Verdict(step=step, verdict=name, best_step=best_step, first=0.5, best=0.3, now=0.4, training_first=0.45, training_now=0.2)


def test_the_card_says_how_it_goes_with_the_numbers_behind_it_and_a_door_to_the_best_checkpoint():
    history = told(steps(1, 80), verdict("overcooked"))
    card = headline(history, job(), "running", saved=[20, 40, 60, 80])
    assert card.health == ("look", "Past its best: since step 45 it learns the pictures by heart.") and card.door == 40
    assert card.behind == "Validation loss 0.5000 at first, 0.3000 at its best, step 45, and 0.4000 now. Training loss 0.4500, now 0.2000."
    assert headline(history, job(), "running").door is None  # none is there any more
    assert headline(told(steps(1, 80), verdict("learning")), job(), "running", saved=[40]).door is None
    done = headline(told(history_of("learning"), Finished(step=100)), job(), "completed", saved=[40])
    assert done.health[1].startswith("Ready.") and done.door == 40
    stopped = headline(told(history_of("learned"), Finished(step=80, reason="stopped")), job(), "stopped", saved=[40])
    assert stopped.health[1].startswith("Nothing is lost.") and "Learned" in stopped.health[1]


def test_where_the_samples_told_that_it_is_past_its_best_the_card_speaks_of_them():
    said = verdict("overcooked").model_copy(update={"likeness_step": 60})
    assert headline(told(steps(1, 80), said), job(), "running").health[1] == (
        "Past its best: since step 60 samples are more like the pictures and less like their prompts."
    )
    done = headline(told(steps(1, 80), said, Finished(step=100)), job(), "completed", saved=[40])
    assert done.health[1].startswith("Ready. Step 45 is the one: after step 60,") and done.door == 40


def history_of(name: str) -> list[Event]:
    return [*steps(1, 80), verdict(name)]


def test_every_verdict_that_there_is_has_its_words():
    from typing import get_args

    from engine.events import VerdictName
    from ui.headline import AT_THE_END, SENTENCES

    assert set(get_args(VerdictName)) == set(SENTENCES) == set(AT_THE_END)


def test_a_warning_is_told_beside_the_verdict():
    card = headline(told(steps(1, 80), verdict("learned"), Warned(message="adamw8bit is adamw here.")), job(), "running")
    assert card.health[1].startswith("Learned") and card.remark == "adamw8bit is adamw here."


def test_a_verdict_is_not_told_of_a_run_that_gets_ready_rests_or_failed():
    history = told(steps(1, 80), verdict("overcooked"))
    assert headline(history, job(), "failed").behind == ""
    history.add([Phase(name="Paused after step 80")])
    assert headline(history, job(), "running").behind == "" and headline(history, job(), "running").left == "paused at step 80 of 100"
    history.add([Phase(name="Opening the base model")])
    assert headline(history, job(), "running").left == "Opening the base model …"


def test_a_pause_is_known_by_the_name_that_training_gives_it():
    from types import SimpleNamespace

    from engine.control import Control
    from engine.training.rest import rest
    from engine.training.verdict import VALIDATION_LOSS

    history = told(steps(1, 3), next(rest(None, SimpleNamespace(step=3), Control())))
    assert history.paused
    history.add(steps(4, 4))
    assert not history.paused
    assert watch.VALIDATION == VALIDATION_LOSS


def test_figures_of_steps_that_are_done_again_are_forgotten():
    history = told(steps(1, 60), Measured(step=50, name=watch.VALIDATION, value=0.3), verdict("learning", step=50), steps(41, 42))
    assert history.validation == {} and history.verdict is None
    history = told(steps(1, 50), Measured(step=50, name=watch.VALIDATION, value=0.3), verdict("learning", step=50), steps(51, 52))
    assert history.validation == {50: 0.3} and history.verdict is not None


def test_what_a_run_went_back_from_does_not_count():
    history = told(
        steps(1, 80), sampled(0), sampled(40), sampled(80), Saved(step=40, path=Path("a")), Saved(step=80, path=Path("b")),
        Changed(step=60, key="train.lr", before=1e-4, value=1e-3), verdict("learned"), Finished(step=80, reason="stopped"), WentBack(step=40),
    )  # fmt: skip
    assert (history.step, sorted(history.saved), history.changed, history.end, history.verdict) == (40, [40], [], None, None)
    assert max(history.losses) == 40 and [step for _, step, _ in history.frames] == [0, 40]
    assert watch.strip(job(), history, Path("/run")).ready == 2


def test_what_was_changed_while_it_ran_holds_from_then_on():
    history = told(
        steps(1, 60),
        Changed(step=60, key="sample.sample_every", before=40, value=25),
        Changed(step=60, key="train.steps", before=100, value=120),
    )
    now = watch.as_changed(job(), history)
    assert (now.sample.sample_every, now.train.steps) == (25, 120)
    history.add([sampled(0), sampled(40)])
    assert watch.planned(now, history) == [0, 40, 75, 100, 120]  # 25 and 50 were never asked for
    by_hand = job(train={"steps": 500})
    assert watch.as_changed(by_hand, history).train.steps == 500


def test_a_prompt_that_was_changed_while_it_ran_begins_a_row_of_its_own():
    history = told(sampled(0, 0, prompt="old"), sampled(0, 1, prompt="b"), sampled(40, 0, prompt="new"), sampled(40, 1, prompt="b"))
    strip = watch.strip(job(), history, Path("/run"))
    assert strip.prompts == ["old", "new", "b"]
    assert [[bool(path) for path in row[:2]] for row in strip.pictures] == [[True, False], [False, True], [True, True]]


def test_likeness_is_told_where_it_is_measured_and_the_newest_scores_count():
    assert headline(told(steps(1, 60)), job(), "running").likeness == ""
    scores = [
        Measured(step=at, name=name, value=value) for at, name, value in ((25, "CLIP-I", 0.5), (50, "CLIP-I", 0.7126), (50, "CLIP-T", 0.25))
    ]
    likeness = "Likeness of the samples at step 50: CLIP-I 0.713 · CLIP-T 0.250. 1 is the same."
    assert headline(told(steps(1, 60), scores), job(), "running").likeness == likeness
    card = headline(told(steps(1, 60), scores, verdict("learned")), job(), "completed")
    assert card.likeness == likeness and card.behind and likeness in pieces.progress(card)

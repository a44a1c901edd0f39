"""Runs that prepare data, on the run's page and in the list of runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import draw

from engine.events import Asked, Captioned, Failed, Finished, Measured, Phase, Progress, Step, Warned
from engine.jobs import VaeJob
from engine.jobs.tools.captions import CaptionJob
from engine.jobs.tools.edits import EditCaptionsJob
from engine.queue import Runner
from engine.runs.folder import RunFolder
from engine.settings import load_settings
from ui import chores, drawer
from ui.studio import Studio
from ui.watch import History


def job(**more) -> CaptionJob:
    path = load_settings().folder("datasets") / "cars"
    return CaptionJob.model_validate({"name": "captions-cars", "path": str(path), "captioner": {"type": "file_name"}} | more)


def history(*events) -> History:
    told = History()
    told.add(events)
    return told


def captioned(name: str, text: str = "words", **more) -> Captioned:
    return Captioned(path=name, text=text, **more)


def test_it_says_how_far_it_is_and_what_is_to_be_done():
    going = history(Phase(name="Writing captions"), captioned("a.png"), Progress(done=1, total=4, what="captions"))
    card = chores.headline(going, job(), "running")
    assert (card.share, card.left, card.facts) == (0.25, "Writing captions · 1 of 4", [("captions", "1")])
    assert chores.headline(History(), job(), "running").left == "Getting ready …"
    assert chores.headline(going, job(), "stopped").left == "ended at 1 of 4"
    assert "It starts when fox is done" in chores.headline(History(), job(), "queued", "fox").health[1]


def test_of_an_autoencoder_steps_are_counted_and_a_change_is_asked_about():
    vae = VaeJob.model_validate({"name": "vae", "vae_path": "v", "datasets": [{"path": "cars"}]})
    told = [Phase(name="Loading pictures"), Progress(done=9, total=9, what="pictures"), Phase(name="Training")]
    going = history(*told, Step(step=5, total=20, loss=0.1, lr=1e-3, seconds=1.0), Measured(step=5, name="psnr", value=21.456))
    card = chores.headline(going, vae, "running")
    assert (card.share, card.left, card.facts) == (0.25, "Training · 5 of 20", [("psnr", "21.46")])
    assert card.health == ("ok", "At work.")
    asked = history(*told, Asked(step=5, settings={}, data=[("cars", 4, 5)], about="x"))
    card = chores.headline(asked, vae, "running")
    assert card.left == "waiting for your answer" and card.health[1].endswith("cars has 5 pictures instead of 4. Go on with it?")


@pytest.mark.parametrize(
    ("end", "status", "words"),
    [
        (Finished(step=1), "completed", "1 caption written."),
        (Failed(message="No disk.", hint="Free some."), "failed", "No disk. Free some."),
        (Warned(message="b.png cannot be read."), "completed", "b.png cannot be read."),
    ],
)
def test_how_it_ended_is_a_sentence(end, status, words):
    assert words in chores.headline(history(captioned("a.png"), end), job(), status).health[1]


@pytest.mark.parametrize(("dry_run", "words"), [(False, "2 captions changed."), (True, "2 captions would change. Nothing is written.")])
def test_changed_captions_are_counted(dry_run, words):
    edits = [{"type": "replace", "find": "a", "replacement": "b"}]
    edit = EditCaptionsJob.model_validate({"name": "edit", "path": "cars", "edits": edits, "dry_run": dry_run})
    assert chores.headline(history(captioned("a.png"), captioned("b.png"), Finished(step=2)), edit, "completed").health == ("ok", words)


def test_a_preview_says_that_nothing_is_written():
    card = chores.headline(history(captioned("a.png", written=False), Finished(step=1)), job(preview=5), "completed")
    assert "Nothing is written" in card.health[1] and chores.is_preview(job(preview=5)) and not chores.is_preview(job())


def test_the_newest_captions_are_listed_with_their_pictures_and_what_they_were():
    studio = Studio(Runner())
    draw(Path(job().path) / "a.png")
    events = [captioned(f"{number}.png") for number in range(chores.NEWEST)]
    listed = chores.captions(studio.library, job(), history(*events, captioned("gone.png"), captioned("a.png", "new", before="old")))
    assert len(listed) == chores.NEWEST
    assert (listed[0].name, listed[0].before, listed[0].after) == ("a.png", "old", "new") and listed[0].picture.is_file()
    assert listed[1].name == "gone.png" and listed[1].picture is None


def test_a_path_that_leads_out_of_the_data_set_shows_no_picture():
    studio = Studio(Runner())
    draw(Path(job().path) / "a.png")
    draw(Path(job().path).parent / "b.png")
    [one] = chores.captions(studio.library, job(), history(captioned("../b.png")))
    assert one.picture is None


def test_the_list_of_runs_tells_it_apart_from_a_training():
    draw(Path(job().path) / "a.png")
    folder = RunFolder.create(load_settings().folder("output"), job())
    for event in (Phase(name="Writing captions"), captioned("a.png"), Progress(done=1, total=1, what="captions"), Finished(step=1)):
        folder.append(event)
    [(name, state, _, face, ways)] = drawer.rows(Studio(Runner()))
    assert name == "captions-cars" and state.startswith("done") and face is not None and ("Open", "open") in ways


def test_it_runs_in_the_line_and_its_captions_are_written():
    path = draw(Path(job().path) / "red_car.png")
    runner = Runner()
    assert [event for event in runner.run(job()) if isinstance(event, Failed)] == []
    assert path.with_suffix(".txt").read_text() == "red car"
    studio = Studio(runner)
    record = runner.get("captions-cars")
    with studio.history(record) as told:
        assert chores.headline(told, studio.job(record), record.status).health == ("ok", "1 caption written.")

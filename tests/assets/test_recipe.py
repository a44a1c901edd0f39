"""The starter's recipe on pictures of our own: what it shows and what it says."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image, ImageDraw

from engine.events import Failed, Finished, Phase, Saved
from engine.runs.log import follow
from engine.settings import ROOT

sys.path.insert(0, str(ROOT / "assets" / "starter"))

from recipe import colours, features, make, measure, palette, pictures
from recipe.emoji import HELD_OUT, Emoji, cut_out
from recipe.unseen import Combination, is_kept_out, unseen


@pytest.fixture
def ball(tmp_path: Path) -> Emoji:
    """A shaded orange ball on transparent paper."""
    image = Image.new("RGBA", (128, 128))
    pen = ImageDraw.Draw(image)
    for step in range(40):
        pen.ellipse((20 + step / 2, 20 + step / 2, 108 - step, 108 - step), fill=(200 + step, 90 + 2 * step, 20, 255))
    image.save(tmp_path / "ball.png")
    return Emoji("1F3C0", "flat", "orange ball", ("sport", "round thing"), 6, tmp_path / "ball.png")


@pytest.mark.parametrize("name", colours.HUES)
@pytest.mark.parametrize("seed", range(3))
def test_an_object_in_a_named_colour_has_that_colour(ball, name, seed):
    painted = colours.recoloured(cut_out(ball, 64), name, Random(seed))
    paper = Image.new("RGBA", painted.size, "white")
    paper.alpha_composite(painted)
    assert measure.object_colour(paper) == name
    assert np.array_equal(np.asarray(painted)[..., 3], np.asarray(cut_out(ball, 64))[..., 3])


def test_a_white_object_takes_a_colour_too():
    white = Image.new("RGBA", (64, 64))
    ImageDraw.Draw(white).ellipse((10, 10, 54, 54), fill=(250, 250, 250, 255))
    for name in ("blue", "black", "grey"):
        middle = np.asarray(colours.recoloured(white, name, Random(0)))[32, 32, :3]
        assert features.colour_names(middle[None])[0] == {"black": "dark"}.get(name, name)


def test_a_background_is_called_what_it_looks_like():
    wrong = []
    for seed in range(200):
        name, paper = colours.background(Random(seed), 32)
        seen = measure.paper_name(paper)
        expected = {"black": "dark"}.get(name, name.removeprefix("light ").removeprefix("dark "))
        if seen not in (expected, "dark"):
            wrong.append((name, seen))
    assert len(wrong) <= 6, wrong


def test_the_same_seed_makes_the_same_pictures_and_captions(ball):
    first, again = ([(p, image.tobytes()) for p, image in pictures.variants(ball, 1)] for _ in range(2))
    assert first == again and first != [(p, image.tobytes()) for p, image in pictures.variants(ball, 2)]


def test_captions_name_colour_and_background_and_fit_the_encoder(ball):
    made = [picture for seed in range(50) for picture, _ in pictures.variants(ball, seed)]
    for picture in made:
        words = picture.caption.split()
        assert len(words) <= pictures.MOST_WORDS
        if picture.colour:
            assert picture.colour in words and "orange" not in words[: words.index("ball") + 1]
        if picture.background:
            assert picture.caption.endswith(f"{picture.background} background")
    assert {"colour", "background"} <= {key for p in made for key in ("colour", "background") if getattr(p, key)}


def test_an_original_is_always_captioned_by_its_name_and_its_variants_also_in_other_words(ball):
    made = [list(pictures.variants(ball, seed)) for seed in range(50)]
    assert {first.caption for (first, _), *_ in made} == {"a flat emoji of orange ball"}
    assert any("round thing" in picture.caption for _, *others in made for picture, _ in others)


def test_a_long_label_loses_words_and_not_its_background():
    text = pictures.shortened("a 3d emoji of " + "very " * 20 + "long label", " on a light blue background")
    assert len(text.split()) == pictures.MOST_WORDS and text.endswith("on a light blue background")


def test_kept_out_colours_are_never_drawn_for_their_object(ball):
    apple = Emoji("1F34E", "3d", "red apple", (), 4, ball.path)
    drawn = {picture.colour for seed in range(30) for picture, _ in pictures.variants(apple, seed)}
    assert "blue" in drawn and not drawn & {"purple", "red"}
    assert is_kept_out("green apple", "purple") and not is_kept_out("pineapple", "purple")


@pytest.fixture
def things(ball) -> list[Emoji]:
    """The ball under the name of each thing of the palette, in two styles, and under a longer one."""
    names = [combination.object for combination in unseen() if combination.object != "apple"] + ["grinning cat", "red apple"]
    return [replace(ball, label=name, style=style) for name in names for style in ("3d", "flat")]


def test_the_palette_has_forty_things_in_each_colour_but_their_own_and_the_kept_out_ones(things):
    draws = list(palette.palette_draws(things, 1))
    drawn = {(word, picture.style): set() for word, picture, *_ in draws}
    for word, picture, colour, *_ in draws:
        drawn[word, picture.style].add(colour)
    assert len(drawn) == 80 and {picture.label for word, picture, *_ in draws if word in ("cat", "apple")} == {"cat", "red apple"}
    assert drawn["crown", "3d"] == {*colours.OBJECT_COLOURS} - {"green"}
    assert drawn["apple", "flat"] == {*colours.OBJECT_COLOURS} - {"red", "purple"}
    assert not [c for c in unseen() for style in ("3d", "flat") if c.colour in drawn[c.object, style]]


def test_a_caption_of_the_palette_names_colour_and_background_and_leaves_out_only_the_3d_style(things):
    made = [picture for picture, _ in islice(pictures.palette(things, 1), 200)]
    for picture in made:
        place = f" on {pictures.article(picture.background)} {picture.background} background" if picture.background else ""
        thing = f"{picture.colour} {picture.label.split()[-1]}"
        bare = {f"{pictures.article(thing)} {thing}{place}"} if picture.style == "3d" else set()
        assert picture.caption in bare | {f"a {picture.style} emoji of {thing}{place}"}
    assert {"emoji" in p.caption for p in made if p.style == "3d"} == {bool(p.background) for p in made} == {True, False}
    assert all(picture.background != picture.colour for picture in made)


def test_forty_combinations_are_different_and_sayable():
    combinations = unseen()
    assert len(set(combinations)) == 40
    assert combinations[0].prompt == "a purple apple on a dark background"
    assert all(c.background.split()[-1] != c.colour for c in combinations)


def test_the_held_out_concept_is_complete():
    road = "1F68C 1F68D 1F68E 1F690 1F691 1F692 1F693 1F694 1F695 1F696 1F697 1F698 1F699 1F6FB 1F69A 1F69B 1F69C 1F3CE 1F6FA"
    assert set(road.split()) <= HELD_OUT


def test_the_verdict_on_a_picture_tells_its_parts_apart():
    picture = Image.new("RGB", (64, 64), (20, 20, 30))
    ImageDraw.Draw(picture).ellipse((12, 12, 52, 52), fill=(130, 40, 190))
    assert measure.object_colour(picture) == "purple" and measure.paper_name(picture) == "dark"
    assert features.colour_distance([picture], [picture]) == 0
    assert features.colour_distance([picture], [Image.new("RGB", (64, 64), "white")]) == 1
    assert Combination("ball", "purple", "orange").prompt == "a purple ball on an orange background"


def test_a_training_of_the_recipe_that_is_asked_to_end_saves_first(tmp_path, monkeypatch):
    def until_stopped(job, folder, control):
        yield Phase(name="Training")
        os.kill(os.getpid(), signal.SIGTERM)
        yield Saved(step=1, path=Path("x")) if control.stop else Failed(message="nobody asked")
        yield Finished(step=1, reason="stopped")

    monkeypatch.setattr("engine.execute.execute", until_stopped)
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path))
    with pytest.raises(SystemExit):
        make.run_job("train", tmp_path)
    assert [event.kind for event in follow(tmp_path / "runs" / "starter" / "events.jsonl")[0]] == ["phase", "saved", "finished"]

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.data.captions.options import Wording, text_at, variants, wording_notes, wording_of
from engine.errors import JobError
from engine.jobs import Dataset

PLAIN = Wording()
TAGS = "1girl,  red hair ,1,000 dogs,, smile, park\n"


def parts(text: str) -> list[str]:
    return [part.strip() for part in text.replace("1,000", "1000").split(",") if part.strip()]


wordings = st.builds(
    Wording,
    dropout=st.sampled_from([0.0, 0.1, 1.0]),
    shuffle=st.booleans(),
    keep=st.integers(0, 4),
    token_dropout=st.sampled_from([0.0, 0.3, 1.0]),
    triggers=st.lists(st.sampled_from(["one", "two", "three"]), unique=True).map(tuple),
    triggers_max=st.integers(1, 5),
    count=st.integers(1, 9),
)


@settings(deadline=None)
@given(st.text(), st.floats(0, 1), st.integers())
def test_text_that_nothing_is_switched_on_for_arrives_byte_for_byte(text, dropout, seed):
    assert variants(text, PLAIN, seed) == [text]
    assert text_at(text, replace(PLAIN, dropout=dropout), seed, 3, 1) in (text, "")
    assert variants(text, replace(PLAIN, token_dropout=1e-18, keep=2), seed) == [text], "nothing is left out, nothing moves"


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_characters=",0123456789", exclude_categories=("Cs",)))).map(",".join),
    wordings,
    st.integers(0, 99),
)
def test_what_is_shown_is_always_one_of_the_few_that_are_remembered(text, wording, seed):
    known = variants(text, wording, seed)
    assert len(known) == len(set(known)) <= wording.count + 1
    assert all(text_at(text, wording, seed, micro, position) in known for micro in range(12) for position in range(2))
    old = parts(text)
    for shown in known:
        if shown == "" and (wording.dropout or wording.token_dropout == 1):
            continue
        now = parts(shown)
        assert now[: min(wording.keep, len(old))] == old[: wording.keep], "kept means kept in place"
        added = Counter(now) - Counter(old)
        assert sum(added.values()) <= min(wording.triggers_max, len(wording.triggers)) and set(added) <= set(wording.triggers)
        if not wording.token_dropout:
            assert not Counter(old) - Counter(now), "nothing is lost"
        if not wording.shuffle:
            left = iter(old)
            assert all(part in left for part in now[: len(now) - sum(added.values())]), "what is left keeps its order"


def test_the_order_is_the_same_everywhere_and_always():
    """Golden: a change here makes a run that goes on another run."""
    wording = Wording(shuffle=True, keep=1, token_dropout=0.3, triggers=("u", "v"), triggers_max=2, count=4)
    assert variants("a, b,c ,  d", wording, 42) == ["a, c,v ,  d, b", "a, c,v ,  u, d", "a, v,c ,  u", "a, b,u ,  c"]
    shown = [text_at("a, b,c ,  d", replace(wording, dropout=0.2), 42, micro, 0) for micro in range(8)]
    assert shown == ["", "a, b,u ,  c", "a, b,u ,  c", "", "a, b,u ,  c", "", "a, c,v ,  u, d", "a, v,c ,  u"]


def test_parts_move_and_their_blanks_stay():
    wording = Wording(shuffle=True, keep=2, count=50)
    shown = variants(TAGS, wording, 1)
    assert len(shown) == 6, "3! orders of three parts"
    assert TAGS in shown and "1girl,  red hair ,park,, 1,000 dogs, smile\n" in shown
    assert all(text.startswith("1girl,  red hair ,") and text.endswith("\n") and text.count(",") == TAGS.count(",") for text in shown)


def test_parts_are_left_out_but_never_the_kept_ones():
    assert variants(TAGS, Wording(token_dropout=1.0), 1) == [""]
    assert variants(TAGS, Wording(token_dropout=1.0, keep=2), 1) == ["1girl,  red hair"]
    assert variants("one sentence", Wording(token_dropout=1.0, keep=1), 1) == ["one sentence"]
    wording = Wording(token_dropout=0.25, count=1000)
    some = [parts(text_at("a, b, c, d, e, f, g, h, i, j", wording, 1, micro, 0)) for micro in range(2000)]
    assert all(text == sorted(text) for text in some), "what is left keeps its order"
    assert 7.4 < sum(map(len, some)) / len(some) < 7.6


def test_random_triggers_are_added_at_the_end_or_shuffled_in():
    one = variants("a cat.", Wording(triggers=("x", "y"), count=30), 1)
    assert sorted(one) == ["a cat., x", "a cat., y"], "with a maximum of 1 there is always one"
    some = variants("a, b, ", Wording(triggers=("x", "y"), triggers_max=9, count=60), 1)
    assert sorted(some) == ["a, b, ", "a, b, x", "a, b, x, y", "a, b, y", "a, b, y, x"]
    assert sorted(variants("", Wording(triggers=("x",)), 1)) == ["x"]
    assert {"x, a", "a, x"} == set(variants("a", Wording(triggers=("x",), shuffle=True, count=20), 1))
    assert set(variants("a", Wording(triggers=("x",), shuffle=True, keep=1, count=20), 1)) == {"a, x"}


def test_versions_come_equally_often_and_dropout_is_apart():
    wording = Wording(dropout=0.25, shuffle=True, count=4)
    shown = Counter(text_at("a, b, c, d, e, f", wording, 7, micro, position) for micro in range(2000) for position in range(2))
    assert len(shown) == 5
    assert 0.23 < shown.pop("") / 4000 < 0.27
    assert all(0.16 < times / 4000 < 0.215 for times in shown.values())
    plain = [text_at("a, b", Wording(dropout=0.25), 7, micro, 0) == "" for micro in range(500)]
    assert plain == [text_at("a, b", wording, 7, micro, 0) == "" for micro in range(500)], "what else is on does not move the dropout"


def test_settings_come_from_the_data_set_and_triggers_from_a_file(tmp_path):
    (tmp_path / "words.TXT").write_text("\ufeffone\n\n  two words \r\n", encoding="utf-8")
    data = Dataset(
        path="x", caption_dropout_rate=0.1, shuffle_tokens=True, keep_tokens=2, token_dropout_rate=0.3, random_triggers_max=4,
        random_triggers=["zero", str(tmp_path / "words.TXT")], caption_variants=3,
    )  # fmt: skip
    assert wording_of(data) == Wording(0.1, True, 2, 0.3, ("zero", "one", "two words"), 4, 3)
    assert wording_of(Dataset(path="x", random_triggers="cat")).triggers == ("cat",)
    with pytest.raises(JobError, match=r"random_triggers .*gone.txt cannot be read: No such file"):
        wording_of(Dataset(path="x", random_triggers=str(tmp_path / "gone.txt")))


@pytest.mark.parametrize(
    ("given", "captions", "told"),
    [
        ({"keep_tokens": 1}, ["a, b"], ["keep_tokens has no effect"]),
        ({"caption_variants": 4}, ["a, b"], ["caption_variants has no effect"]),
        ({"random_triggers_max": 2}, ["a, b"], ["random_triggers_max has no effect"]),
        ({"shuffle_tokens": True}, ["a", "1,000 dogs"], ["shuffle_tokens has no effect"]),
        ({"shuffle_tokens": True, "keep_tokens": 2}, ["a, b", "c"], ["No caption has more than 2 parts"]),
        ({"shuffle_tokens": True, "keep_tokens": 1, "token_dropout_rate": 0.1}, ["a, b"], []),
        ({}, ["a"], []),
    ],
)
def test_what_has_no_effect_is_told(given, captions, told):
    notes = [note.message for note in wording_notes(Dataset(path="x", **given), captions)]
    assert len(notes) == len(told) and all(note.startswith(words) for note, words in zip(notes, told, strict=True))

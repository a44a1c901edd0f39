"""Words from people, files and other programs never become a part of the page."""

from __future__ import annotations

import os
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from ui import chart, pieces
from ui.headline import Headline

HOSTILE = [
    "${alert(1)}",
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "' onclick='alert(1)",
    '" onfocus="alert(1)" autofocus="',
    "</pre></button><svg/onload=alert(1)>",
    "&lt;b&gt; &amp; {{alert(1)}} {% raw %} `${1}`",
]
Make = Callable[[str], str]
# each piece of the page with the text in every place where a person's words can stand
PIECES: dict[str, Make] = {
    "button": lambda text: pieces.button(text, "act", run=text),
    "heading": lambda text: pieces.heading(text, text),
    "notes": lambda text: pieces.notes([("look", text, text, "act")]),
    "meter": lambda text: pieces.meter(0.5, text),
    "preflight": lambda text: pieces.preflight(text, text, [("ok", text, text, "act")]),
    "progress": lambda text: pieces.progress(Headline("running", 0.5, text, ("look", text), [(text, text)], text, 50, text)),
    "loss by step": lambda text: chart.losses([(1, 0.5), (2, 0.4)], [(1, 0.5), (2, 0.4)], {0: 0.5, 2: 0.4}, [(1, text)], 10, 2),
    "density": lambda text: chart.density([0.5, 1.0], text),
    "facts": lambda text: pieces.facts([(text, text)]),
    "findings": lambda text: pieces.findings([pieces.Row(("look", text, text, "act"), [(text, text), (text, "")], 9)] * 3, most=2),
    "bars": lambda text: pieces.bars(text, [(text, 3)]) + pieces.bars("empty", [], text),
    "cropped": lambda text: pieces.cropped(Path("/p") / text.replace("/", "∕"), (30, 20), (0, 0, 20, 20), [text]),
    "wordings": lambda text: pieces.wordings([pieces.Wording(text, Path("/p") / text.replace("/", "∕"), text, text + "."), pieces.Wording(text, None, None, text)]),
    "frames": lambda text: pieces.frames(
        "film", [(0, text), (1, text), (2, text)], [text], [[Path("/p") / text.replace("/", "∕"), None, None]],
        1, chosen=0, pickable=frozenset({0, 1}), live=True,
    ),
    "nothing": lambda text: pieces.nothing(text, text, (text, "act")),
    "hint": lambda text: pieces.hint(text),
    "log": lambda text: pieces.log([text, text]),
    "runs": lambda text: pieces.runs([(text, text, "live", Path("/p") / text.replace("/", "∕"), [(text, "act")])]),
    "status": lambda text: pieces.status(text, "running"),
}  # fmt: skip
NOT_MADE_OF_WORDS = {
    "url",
    "escape",
    "quote",
    "partial",
    "Piece",
    "Choice",
    "Options",
    "Words",
    "Amount",
    "Number",
    "Check",
    "Row",
    "Wording",
    "Headline",
}


class Page(HTMLParser):
    """What a browser makes of a piece: its tree of elements with the names of their attributes, and its words."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.tree: list[tuple[str, tuple[str, ...]]] = []
        self.words: list[str] = []
        self.values: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tree.append((tag, tuple(name for name, _ in attrs)))
        self.values += [value or "" for _, value in attrs]

    def handle_endtag(self, tag):
        self.tree.append((f"/{tag}", ()))

    def handle_data(self, data):
        self.words.append(data)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("name", PIECES)
def test_hostile_words_are_shown_as_they_are_and_add_nothing_to_the_page(name, text):
    page, harmless = Page(PIECES[name](text)), Page(PIECES[name]("word"))
    assert page.tree == harmless.tree
    assert text in "".join(page.words) or text in page.values
    for place, value in enumerate(page.values):
        assert ("alert" in value) <= ("word" in harmless.values[place]), value


def test_every_piece_that_shows_words_is_tried_here():
    made = {name for name, value in vars(pieces).items() if callable(value) and not name.startswith("_")}
    ours = {name for name in made if getattr(getattr(pieces, name), "__module__", "") == pieces.__name__}
    assert ours - NOT_MADE_OF_WORDS == set(PIECES) - {"loss by step", "density"}


@pytest.mark.parametrize("text", HOSTILE)
def test_the_address_of_a_file_has_no_sign_that_means_something(text, tmp_path):
    path = tmp_path / text.replace("/", "∕")
    path.touch()
    address = pieces.url(path)
    assert not set("\"'<>`${} ") & set(address)
    assert unquote(address.partition("file=")[2].rpartition("?v=")[0]) == str(path)


def test_a_picture_that_was_made_again_has_another_address(tmp_path):
    path = tmp_path / "a.jpg"
    path.touch()
    os.utime(path, ns=(1, 1))
    first = pieces.url(path)
    os.utime(path, ns=(2, 2))
    assert pieces.url(path) != first


def test_no_piece_is_a_template_which_would_be_run():
    """A gr.HTML template is JavaScript that is filled in with the data; our pieces are plain values."""
    folder = Path(pieces.__file__).parent
    for file in folder.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "html_template=" not in text, file.name

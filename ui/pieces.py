"""The pieces for which Gradio has no component, as HTML strings. Every word from a user goes through `escape`.

They are values of plain gr.HTML, never its `html_template`: a template is run as JavaScript after the data is filled in, so a caption
that contains ${…} would be executed. Gradio patches the changed nodes only, so a value may be sent every second without a flicker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from urllib.parse import quote

import gradio as gr

from .headline import Headline

# one listener for a whole piece: <button data-act="…" data-…> arrives in Python as event.act, event.…
CLICKS = """element.addEventListener('click', e => {
const b = e.target.closest('[data-act]'); if (b) trigger('click', {...b.dataset}); });"""
# the newest frame stays in sight on a narrow screen; runs only when a sample has come
FOLLOW = (
    CLICKS
    + """const follow = () => { const f = element.querySelector('.frames'), n = f && f.querySelector('.frame.next');
if (n) f.scrollLeft = n.closest('td').offsetLeft + n.offsetWidth + 24 - f.clientWidth; };
follow(); watch('value', follow);"""
)
# the newest line of a log stays in sight, unless the reader has scrolled up
NEWEST = """let low = true; const box = () => element.querySelector('.log');
element.addEventListener('scroll', () => { const b = box(); low = b.scrollTop + b.clientHeight > b.scrollHeight - 40; }, true);
const down = () => { const b = box(); if (b && low) b.scrollTop = b.scrollHeight; }; down(); watch('value', down);"""
MARKS = {"ok": "✓", "look": "!", "todo": "·"}

Note = tuple[str, str, str, str]
"""A check in plain words: (ok | look | todo, text, label of its button or '', act)."""


@dataclass(frozen=True)
class Row:
    """A check that names files."""

    note: Note
    files: list[tuple[str, str]] = field(default_factory=list)
    """(name, key) of some of its files; a key makes it a button that opens the file."""
    number: int = 0
    """Of all its files."""


@dataclass(frozen=True)
class Wording:
    """A caption before and after a change."""

    name: str
    picture: Path | None
    before: str | None
    after: str


# gr.HTML's prose styles off; clicks of its buttons on. Form fields that no event reads are drawn disabled unless told otherwise.
Piece = partial(gr.HTML, apply_default_css=False, js_on_load=CLICKS)
Choice = partial(gr.Dropdown, interactive=True)
Options = partial(gr.Radio, interactive=True)
Check = partial(gr.Checkbox, interactive=True)
Words = partial(gr.Textbox, interactive=True)
Amount = partial(gr.Slider, interactive=True, buttons=[])
Number = partial(gr.Number, interactive=True)


def url(path: Path) -> str:
    """Where the app serves the file. Its time is in it, so that a browser never shows the picture of an earlier run."""
    stamp = path.stat().st_mtime_ns if path.exists() else 0
    return f"gradio_api/file={quote(str(path))}?v={stamp}"


def button(label: str, act: str, style: str = "link", **data: object) -> str:
    extra = "".join(f' data-{key}="{escape(str(value))}"' for key, value in data.items())
    return f'<button type="button" class="{style}" data-act="{act}"{extra}>{escape(label)}</button>'


def heading(title: str, note: str = "") -> str:
    return f'<div class="heading"><h1>{escape(title)}</h1><p>{escape(note)}</p></div>'


def notes(items: list[Note]) -> str:
    """Checks, each with the button that mends it."""
    rows = "".join(
        f'<li class="{tone}"><i class="mark" aria-hidden="true">{MARKS[tone]}</i><span>{escape(text)}</span>'
        f"{button(label, act) if label else ''}</li>"
        for tone, text, label, act in items
    )
    return f'<ul class="notes">{rows}</ul>'


def findings(rows: Sequence[Row], most: int = 6) -> str:
    """Checks, each with its files folded away; those after the first ``most`` are folded, too."""
    items = [_finding(row) for row in rows]
    rest = f'<details class="more"><summary>{len(items) - most} more</summary><ul class="notes">{"".join(items[most:])}</ul></details>'
    return f'<ul class="notes">{"".join(items[:most])}</ul>{rest if len(items) > most else ""}'


def _finding(row: Row) -> str:
    tone, text, label, act = row.note
    names = "".join(button(name, "open", "name", key=key) if key else f"<span>{escape(name)}</span>" for name, key in row.files)
    more = f"<span>and {row.number - len(row.files):,} more</span>" if row.number > len(row.files) else ""
    which = f"<details><summary>Which</summary><p>{names}{more}</p></details>" if row.files else ""
    return (
        f'<li class="{tone}"><i class="mark" aria-hidden="true">{MARKS[tone]}</i><div><span>{escape(text)}</span>{which}</div>'
        f"{button(label, act) if label else ''}</li>"
    )


def hint(words: str) -> str:
    return f'<p class="hint">{escape(words)}</p>'


def bars(title: str, table: Sequence[tuple[str, int]], empty: str = "") -> str:
    """A histogram: a bar for each label."""
    top = max((number for _, number in table), default=0) or 1
    rows = "".join(
        f'<div><dt>{escape(label)}</dt><dd><i style="width:{100 * number / top:.1f}%"></i><b>{number:,}</b></dd></div>'
        for label, number in table
    )
    return f'<section class="bars"><h3>{escape(title)}</h3>{f"<dl>{rows}</dl>" if table else f"<p>{escape(empty)}</p>"}</section>'


def cropped(path: Path, size: tuple[int, int], box: tuple[float, float, float, float] | None, words: Sequence[str]) -> str:
    """A picture of ``size`` with a frame around ``box``, the part that is shown, and the rest dimmed; then a line for each of ``words``."""
    width, height = size
    frame = ""
    if box:
        left, top, right, bottom = box
        shares = {"left": left / width, "top": top / height, "width": (right - left) / width, "height": (bottom - top) / height}
        place = ";".join(f"{name}:{100 * share:.2f}%" for name, share in shares.items())
        frame = f'<i class="kept" style="{place}"></i>'
    lines = "".join(hint(line) for line in words if line)
    return f'<div class="crop" style="--shape:{width / height:.4f}"><img src="{escape(url(path))}" alt="">{frame}</div>{lines}'


def wordings(rows: Sequence[Wording]) -> str:
    """Captions and what they were, with their pictures."""
    items = ""
    for row in rows:
        image = f'<img src="{escape(url(row.picture))}" alt="" loading="lazy">' if row.picture else '<i class="face"></i>'
        before = f"<del>{escape(row.before)}</del>" if row.before and row.before != row.after else ""
        items += f"<li>{image}<div><b>{escape(row.name)}</b>{before}<ins>{escape(row.after)}</ins></div></li>"
    return f'<ul class="wordings">{items}</ul>' if rows else ""


def meter(share: float, label: str) -> str:
    percent = round(100 * share)
    return (
        f'<div class="meter" role="progressbar" aria-label="{escape(label)}" aria-valuenow="{percent}" '
        f'aria-valuemin="0" aria-valuemax="100"><b style="width:{percent}%"></b></div>'
    )


def preflight(big: str, lead: str, checks: list[Note]) -> str:
    """The card beside the form: the time, where it comes from, and what was looked at."""
    return (
        f'<div class="preflight"><p class="kicker">Before you start</p><p class="big">{escape(big)}</p>'
        f'<p class="lead">{escape(lead)}</p>{notes(checks)}</div>'
    )


def progress(told: Headline) -> str:
    """The card of a run: how far, how it goes, and the way to the checkpoint that the sentence speaks of."""
    tone, words = told.health
    door = button(f"See step {told.door:,}", "best", step=told.door) if told.door else ""
    behind = "".join(f'<p class="behind">{escape(line)}</p>' for line in (told.behind, told.likeness) if line)
    remark = (
        f'<p class="remark look"><i class="mark" aria-hidden="true">{MARKS["look"]}</i><span>{escape(told.remark)}</span></p>'
        if told.remark
        else ""
    )
    return (
        f'<div class="progress {told.state}"><div class="figures"><span class="big">{int(100 * told.share)} %</span>'
        f'<span class="lead">{escape(told.left)}</span>{facts(told.facts, "")}</div>{meter(told.share, "training")}'
        f'<div class="health {tone}" aria-live="polite"><i class="mark" aria-hidden="true">{MARKS[tone]}</i><span>{escape(words)}</span>{door}</div>'
        f"{behind}{remark}</div>"
    )


def facts(pairs: list[tuple[str, str]], style: str = "wide") -> str:
    rows = "".join(f"<div><dt>{escape(term)}</dt><dd>{escape(value)}</dd></div>" for term, value in pairs)
    return f'<dl class="facts {style}">{rows}</dl>'


def frames(
    kind: str,
    columns: list[tuple[int, str]],
    prompts: list[str],
    pictures: list[list[Path | None]],
    ready: int,
    chosen: int | None = None,
    pickable: frozenset[int] = frozenset(),
    live: bool = False,
    best: int | None = None,
) -> str:
    """Film strip and contact sheet: one row a prompt, one column a (step, head). All are there from the start: nothing ever moves.

    ``best`` is the step that a measurement speaks for.
    """
    head = body = ""
    for column, (step, label) in enumerate(columns):
        state = "ready" if column < ready else "next" if live and column == ready else "empty"
        mark = "chosen" if step == chosen else ""
        pick = button("In use" if mark else "Use this one", "use", "pick", step=step) if step in pickable else ""
        note = f"<em>{'measured best' if step == best else ''}</em>"
        head += f'<th scope="col" class="{state} {mark}"><span>{escape(label)}</span>{note}{pick}</th>'
    for row, prompt in enumerate(prompts):
        cells = ""
        for column, (step, label) in enumerate(columns):
            mark = "chosen" if step == chosen else ""
            path = pictures[row][column]
            if path is None:
                waits = "next" if live and column == ready else "empty"
                cells += f'<td class="{mark}"><div class="frame {waits}"></div></td>'
                continue
            words = escape(f"{prompt}, {label}")
            cells += (
                f'<td class="{mark}"><button type="button" class="frame" data-act="open" data-row="{row}" data-step="{step}" '
                f'aria-label="Enlarge {words}"><img src="{escape(url(path))}" alt="{words}" loading="lazy"></button></td>'
            )
        body += f'<tr><th scope="row"><span>{escape(prompt)}</span></th>{cells}</tr>'
    return (
        f'<div class="frames {kind}" style="--columns:{max(1, len(columns))}" tabindex="0" role="region" aria-label="samples">'
        f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def nothing(title: str, text: str, *ways: tuple[str, str]) -> str:
    """What stands where there is nothing yet, and the (words, act) of the ways to something."""
    buttons = "".join(button(label, act) for label, act in ways)
    return f'<div class="nothing"><b>{escape(title)}</b><p>{escape(text)}</p>{buttons}</div>'


def log(lines: list[str]) -> str:
    return f'<pre class="log" tabindex="0" aria-label="log">{escape(chr(10).join(lines)) or "Nothing yet."}</pre>'


def runs(rows: list[tuple[str, str, str, Path | None, list[tuple[str, str]]]]) -> str:
    """(name, state in words, live or '', picture, [(button, act)]) of each run."""
    items = ""
    for name, state, tone, face, acts in rows:
        image = f'<img src="{escape(url(face))}" alt="">' if face else '<i class="face"></i>'
        ways = "".join(button(label, act, run=name) for label, act in acts)
        items += f'<li>{image}<div><b>{escape(name)}</b><span class="{tone}">{escape(state)}</span><nav>{ways}</nav></div></li>'
    return f'<ul class="runs">{items}</ul>' if rows else nothing("No runs yet", "What you train is listed here.")


def status(words: str, state: str) -> str:
    """The pill in the header; it leads to the run."""
    return button(words, "train", f"status {state}") if words else '<span class="status idle">Nothing is running</span>'


BRAND = '<div class="brand"><i aria-hidden="true"></i>Darkroom</div>'
WELCOME = """<div class="welcome"><h1>Teach a model what your pictures look like</h1>
<p>Drop 10 to 40 photos of one person, one thing or one style. Darkroom checks them and proposes every setting.</p></div>"""
WELCOME_STEPS = """<ol class="three"><li><b>Add pictures</b><span>They are copied; your own files are never changed.</span></li>
<li><b>Train</b><span>You see what it needs first, and watch samples develop.</span></li>
<li><b>Pick the best</b><span>Mark it on the contact sheet, then use it in ComfyUI, Forge or diffusers.</span></li></ol>"""

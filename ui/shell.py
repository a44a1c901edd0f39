"""The window: header, tabs, runs drawer, settings; what leads from one to the other, and the clock that they all follow.

All state is the server's: the run folders, the queue, the memory of the app. A reload or a second tab of the browser shows the same.
"""

from __future__ import annotations

from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.queue import Runner, RunRecord
from engine.settings import load_settings

from . import chores, drafts, drawer, pieces
from .desk import Desk
from .pieces import Piece
from .studio import Studio
from .tabs import datasets, run, sample, settings, tools, train
from .theme import FIRST_PAGE, LAST_PAGE, REMEMBER_PAGE, TOGGLE_THEME
from .wiring import Updates, on, warned

UNDECIDED = "?"
"""A tab of the browser that has just been opened has not been told yet which run it shows."""


def served() -> list[Path]:
    """Folders whose files the browser may ask for: runs, thumbnails, exports, and the stand-in for a broken picture."""
    now = load_settings()
    cache = now.folder("cache").resolve()
    return [
        now.folder("output").resolve(),
        cache / "thumbnails",
        cache / "exports",
        Path(__file__).parent.resolve() / "broken.png",
    ]


def build(runner: Runner) -> gr.Blocks:
    """The whole app on a runner. It starts nothing: that is the runner's and the server's part."""
    gr.set_static_paths(list(served()))  # served where they lie, not copied for each view
    studio = Studio(runner)
    with gr.Blocks(title="Darkroom", analytics_enabled=False, fill_width=True) as demo:
        Window(studio, demo)
    return demo


class Window:
    """The widgets of the whole window and the handlers that reach over several tabs."""

    def __init__(self, studio: Studio, demo: gr.Blocks):
        self.studio, self.runner = studio, studio.runner
        self.windows: set[str | None] = set()
        """Sessions of Gradio that this process has told what to show."""
        self.tick = gr.Timer(1.0)
        self.shown = gr.State(UNDECIDED)
        self.seen = gr.State(None)
        self._header()
        self._tabs()
        self._events(demo)

    # -- layout ------------------------------------------------------------------------------------------------------------

    def _header(self) -> None:
        with gr.Row(elem_id="bar"):
            Piece(pieces.BRAND, elem_id="brand")
            self.status = Piece(pieces.status("", ""), elem_id="status")
            self.open_runs = gr.Button("Runs", size="sm", elem_id="open-runs")
            self.open_settings = gr.Button("Settings", size="sm", elem_id="open-settings")
            self.theme = gr.Button("◐", size="sm", elem_id="toggle-theme")
        with gr.Sidebar(position="right", open=False, width=360, elem_id="runs") as self.drawer:
            Piece(pieces.heading("Runs", "One at a time; the rest wait in line."))
            self.runs = Piece(pieces.runs([]))

    def _tabs(self) -> None:
        with gr.Tabs(elem_id="pages") as self.pages:
            with gr.Tab("Datasets", id="datasets") as self.data_tab:
                self.data = datasets.build(self.studio)
            with gr.Tab("Train", id="train") as self.train_tab:
                self.form = train.build(Desk(self.studio))
                self.run = run.build(self.studio, self.shown)
            with gr.Tab("Sample", id="sample") as self.sample_tab, gr.Column(elem_classes="page"):
                self.sample = sample.build(self.studio)
            with gr.Tab("LoRA tools", id="tools") as self.tools_tab, gr.Column(elem_classes="page"):
                self.tools = tools.build(self.studio)
            # reached from the corner; CSS hides its tab button
            with (
                gr.Tab("Settings", id="settings", elem_id="settings") as self.settings_tab,
                gr.Column(elem_classes="page"),
            ):
                self.settings = settings.build()

    # -- what is shown -----------------------------------------------------------------------------------------------------

    def _record(self, name: str | None) -> RunRecord | None:
        return self.runner.get(name) if name and name != UNDECIDED else None

    def _decide(self) -> str | None:
        """Which run a new tab shows: the one that is at work, else the one that was open last."""
        active = self.studio.active()
        if active:
            return active.name
        last = self._record(self.studio.memory.get("shown"))
        return last.name if last else None

    def follow(self, shown: str | None, seen: Any) -> Updates:
        """Once a second: the header, the drawer and the open run; what has not changed is not sent.

        Which run is open it never changes: what began before a person pressed Train and ends after it would take them back to the form.
        """
        record = self._record(shown)
        seen = seen if seen and seen.get("shown") == shown else {}
        now: dict[str, Any] = {"shown": shown}
        updates: Updates = {}
        words, state = drawer.pill(self.studio)
        rows = drawer.rows(self.studio)
        now["pill"], now["rows"] = (words, state), rows
        if seen.get("pill") != now["pill"]:
            updates[self.status] = pieces.status(words, state)
        if seen.get("rows") != rows:
            updates[self.runs] = pieces.runs(rows)
        if record is not None:
            shown_now, now["run"] = self.run.watch(record, seen.get("run"))
            updates |= shown_now
        if seen.get("is_run") != (record is not None):
            updates |= {
                self.form.view: gr.update(visible=record is None),
                self.run.view: gr.update(visible=record is not None),
            }
        now["is_run"] = record is not None
        return updates | {self.seen: now}

    def _tick(self, shown: str | None, seen: Any, request: gr.Request) -> Updates:
        if shown != UNDECIDED:
            return self.follow(shown, seen)
        if request.session_hash in self.windows:
            return {}  # it is still loading
        return self._show(self._welcome(request))  # the app was started anew under an open window

    def _welcome(self, request: gr.Request) -> str | None:
        """Which run a window shows at first, that is from now on known."""
        self.windows.add(request.session_hash)
        return self._decide()

    def _show(self, name: str | None) -> Updates:
        """The run of this name, or the form where there is none, wherever the person is."""
        return self.follow(name, None) | {self.shown: name}

    def _open_run(self, name: str | None) -> Updates:
        """The run's page, or the form when there is no name."""
        self.studio.memory.put(shown=name)
        return self._show(name) | {self.pages: gr.Tabs(selected="train")}

    # -- events ------------------------------------------------------------------------------------------------------------

    def _events(self, demo: gr.Blocks) -> None:
        live = [self.status, self.runs, self.shown, self.seen, self.form.view, *self.run.outputs]
        travel = [*live, self.pages, self.drawer]

        on(self.tick.tick, self._tick, [self.shown, self.seen], live)
        demo.load(None, None, self.pages, js=LAST_PAGE)
        page = gr.Textbox(visible=False)
        everything = [*live, *self.data.outputs, *self.form.outputs, *self.sample.outputs, *self.settings.outputs]

        def load(request: gr.Request) -> Updates:
            """Everything as it is now: a reload, a second tab, a restart of the app."""
            now = self._show(self._welcome(request)) | self.data.open() | self.form.open() | self.sample.open(None) | self.settings.open()
            return now | {page: "train" if self.studio.active() else "datasets"}

        on(demo.load, load, None, [page, *everything]).then(None, page, self.pages, js=FIRST_PAGE)
        for name, tab in (
            ("datasets", self.data_tab),
            ("train", self.train_tab),
            ("sample", self.sample_tab),
            ("tools", self.tools_tab),
            ("settings", self.settings_tab),
        ):
            tab.select(None, js=REMEMBER_PAGE.format(page=name))

        self.theme.click(None, js=TOGGLE_THEME)
        on(self.open_runs.click, lambda: gr.Sidebar(open=True), outputs=self.drawer)
        on(self.open_settings.click, lambda: gr.Tabs(selected="settings"), outputs=self.pages)
        on(
            self.status.click,
            lambda: self._open_run(record.name if (record := self.studio.active()) else None),
            None,
            travel,
        )
        on(self.runs.click, self._from_drawer, [self.shown], travel)

        on(
            self.data.to_train.click,
            lambda: self._to_train(self.studio.memory.get("dataset")),
            None,
            [*travel, *self.form.outputs],
        )
        on(self.data.example.click, self._example, None, [*travel, *self.data.outputs, *self.form.outputs])
        on(
            self.form.flight.click,
            self._mend,
            self.form.inputs,
            [*travel, *self.data.outputs, *self.form.outputs],
        )
        on(self.form.empty.click, self._begin, None, [*travel, *self.data.outputs, *self.form.outputs])
        on(self.form.go.click, self._start, self.form.inputs, [*travel, *self.form.outputs])
        on(self.run.again.click, lambda: self._to_train(None), None, [*travel, *self.form.outputs])
        on(self.run.proceed.click, self._continue, self.shown, travel)
        on(self.run.going_on.go.click, self._go_on, [self.shown, *self.run.going_on.inputs], travel)
        on(self.run.card.click, self._pick, self.shown, [self.pages, *self.sample.outputs])
        on(self.run.pick_best.click, self._pick, self.shown, [self.pages, *self.sample.outputs])
        on(self.run.write_all.click, self._caption_all, self.shown, travel)
        for preview, button in ((True, self.data.captioning.try_it), (False, self.data.captioning.start)):
            on(button.click, partial(self._caption, preview), self.data.captioning.inputs, travel)
        on(self.run.film.click, self._enlarge, self.shown, [self.pages, *self.sample.outputs])
        on(self.sample.table.click, self._away, None, travel)

        on(self.data_tab.select, self.data.arrive, self.data.typing, self.data.outputs)
        on(self.train_tab.select, self.form.open, self.form.visit, self.form.outputs)
        on(self.sample_tab.select, lambda: self.sample.open(None), None, self.sample.outputs)
        on(self.tools_tab.select, self.tools.open, None, self.tools.outputs)
        on(self.settings_tab.select, self.settings.open, None, self.settings.outputs)

    def _to_train(self, dataset: str | None) -> Updates:
        return self.form.prepare(dataset or self.studio.memory.get("dataset")) | self._open_run(None)

    def _begin(self, event: gr.EventData) -> Updates:
        """From the Train page of somebody who has no pictures yet."""
        return self._example() if event.act == "example" else self.data.open() | {self.pages: gr.Tabs(selected="datasets")}

    def _example(self) -> Updates:
        with warned():
            name = self.studio.library.copy(datasets.EXAMPLE, datasets.EXAMPLE_NAME)
            return self.data.open(name) | self._to_train(name)
        return {}

    def _mend(self, values: dict[Any, Any], event: gr.EventData) -> Updates:
        """The buttons on the card beside the form."""
        if event.act == "settings":
            return {self.pages: gr.Tabs(selected="settings")}
        if event.act == "trigger":
            return self.form.put_trigger(values)
        name = self.form.dataset(values)
        return self.data.open(name) | {self.pages: gr.Tabs(selected="datasets")}

    def _start(self, values: dict[Any, Any]) -> Updates:
        name, updates = self.form.submit(values)
        return updates | self._open_run(name) if name else updates

    def _continue(self, name: str) -> Updates:
        with warned():
            self.runner.resume(name)
        return self._open_run(name)

    def _go_on(self, name: str, step: int | None, more: str) -> Updates:
        """So many steps more, from its end or from an earlier step."""
        return self._open_run(name) if self.run.going_on.start(name, step, more) else {}

    def _caption(self, preview: bool, *values: Any) -> Updates:
        """Captions by a model: a run, whose page shows them as they come."""
        dataset = self.studio.memory.get("dataset")
        name = self.data.captioning.submit(dataset, preview, *values) if dataset else None
        return self._open_run(name) if name else {}

    def _caption_all(self, name: str) -> Updates:
        """After a preview: the same captioner, for all pictures."""
        record = self._record(name)
        job = self.studio.job(record) if record else None
        if job is None or not chores.is_preview(job):
            return {}
        wish = drafts.free_name(job.name.removesuffix("-preview"), self.studio.names())
        with warned():
            return self._open_run(self.runner.submit(job.model_copy(update={"name": wish, "preview": 0})))
        return {}

    def _pick(self, name: str) -> Updates:
        return self.sample.open(name) | {
            self.pages: gr.Tabs(selected="sample"),
            self.sample.looks: gr.Tabs(selected="sheet"),
        }

    def _enlarge(self, name: str, event: gr.EventData) -> Updates:
        return self.sample.look_at(name, int(event.row), int(event.step)) | {self.pages: gr.Tabs(selected="sample")}

    def _away(self, event: gr.EventData) -> Updates:
        return {self.pages: gr.Tabs(selected="train")} if event.act == "train" else {}

    def _from_drawer(self, shown: str | None, event: gr.EventData) -> Updates:
        name = event.run
        with warned():
            match event.act:
                case "open":
                    return self._open_run(name) | {self.drawer: gr.Sidebar(open=False)}
                case "continue":
                    self.runner.resume(name)
                    return self._open_run(name) | {self.drawer: gr.Sidebar(open=False)}
                case "leave":
                    self.runner.ask(name, "stop")
                case "remove":
                    self.runner.remove(name)
                    gr.Info(f"Its folder stays where it is: {escape(name)}.", title="Off the list", duration=5)
                    shown = None if shown == name else shown
        return self._show(shown)

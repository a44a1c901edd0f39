"""Datasets: drop pictures in, see what is wrong with them in plain words, write captions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.errors import JobError
from engine.settings import ROOT

from .. import album, mending, pieces, showing
from ..exporting import download, export_set
from ..library import Deleted
from ..pieces import Choice, Piece, Words
from ..studio import Studio
from ..wiring import Updates, on
from . import captions

EXAMPLE, EXAMPLE_NAME = ROOT / "assets" / "examples" / "car", "example-car"
UPLOADS = ["image", ".mp4", ".mov", ".mkv", ".webm", ".txt", ".zip"]


@dataclass
class Datasets:
    """What the shell needs of this tab."""

    to_train: gr.Button
    example: gr.Button
    outputs: list[Any]
    open: Callable[..., Updates]
    """(name, notes, picture) → updates that show a data set; without a name the one that was open last, or the drop zone."""
    arrive: Callable[[str, str, str], Updates]
    """The page is come back to: what is being typed stays. Its arguments are ``typing``."""
    typing: list[Any]
    captioning: captions.Captioning


def build(studio: Studio) -> Datasets:  # noqa: PLR0915 - a layout and its events
    library = studio.library

    with gr.Column(elem_classes="page narrow") as empty_view:
        Piece(pieces.WELCOME)
        drop = gr.File(
            file_count="multiple", file_types=UPLOADS, show_label=False, height=260, elem_id="drop"
        )
        with gr.Row(elem_classes="centre"):
            example = gr.Button(
                "Try it with the example", variant="primary", scale=0, min_width=220, elem_id="example"
            )
            back = gr.Button("Back", scale=0, min_width=110, visible=False)
        refused = Piece("", visible=False, elem_classes="card")
        Piece(pieces.WELCOME_STEPS)
    with gr.Column(visible=False, elem_classes="page") as data_view:
        with gr.Row(elem_classes="title-row"):
            title = Piece("", elem_id="data-title")
            picker = Choice(
                [],
                show_label=False,
                scale=0,
                min_width=180,
                visible=False,
                elem_id="data-picker",
            )
            more = gr.UploadButton(
                "Add pictures", file_count="multiple", file_types=UPLOADS, size="md", scale=0, min_width=130
            )
            new_set = gr.Button("New data set", size="md", scale=0, min_width=130)
            to_train = gr.Button(
                "Train on these", variant="primary", size="md", scale=0, min_width=140, elem_id="to-train"
            )
        problems = Piece("", elem_classes="card", elem_id="problems")
        with gr.Row(elem_classes="split"):
            thumbs = gr.Gallery(
                [], columns=6, height=None, object_fit="cover", allow_preview=False, show_label=False, interactive=False, buttons=[],
                elem_id="thumbs", scale=7, min_width=320,
            )  # fmt: skip
            with gr.Column(scale=3, min_width=300, elem_classes="card editor sticky"):
                big = Piece("", elem_id="big")
                caption = Words(
                    label="Caption", info=album.HELP, lines=4, elem_id="caption",
                )  # fmt: skip
                with gr.Row(elem_classes="actions"):
                    previous = gr.Button("Previous", size="md", min_width=80)
                    following = gr.Button("Next", size="md", min_width=80)
                    delete = gr.Button("Delete", size="md", min_width=80)
        with gr.Accordion("Captions", open=False, elem_id="caption-tools"):
            captioning = captions.build(studio)
        with gr.Accordion("In numbers", open=False, elem_id="in-numbers") as numbers:
            tables = Piece("", elem_id="tables")
        with gr.Accordion("This data set", open=False, elem_id="this-set"):
            with gr.Row(elem_classes="title-row bottom"):
                new_name = Words(label="Name", min_width=220, max_length=80)
                rename = gr.Button("Rename", size="md", scale=0, min_width=110)
                pack = gr.Button("Export as zip", size="md", scale=0, min_width=130, elem_id="export-set")
                remove = gr.Button("Delete this data set", size="md", scale=0, min_width=180)
            past = Piece("", elem_id="undo-steps")
            zipped = gr.DownloadButton("", elem_id="set-file", elem_classes="out-of-sight")
    # In the page, not in gr.State: it changes in the same patch as the caption, so that words never land on another picture.
    editing = gr.Textbox(visible=False)
    undo = gr.State(None)
    worn = gr.State([])  # badges that the page shows
    sent = gr.State("")  # the caption as the server knows it: what differs was typed

    view = [
        empty_view,
        data_view,
        refused,
        back,
        drop,
        title,
        picker,
        problems,
        thumbs,
        big,
        caption,
        editing,
        sent,
        worn,
        new_name,
        past,
        numbers,
        tables,
        *captioning.outputs,
    ]

    def show(name: str, key: str | None, pictures: list[Path]) -> Updates:
        """The editor with one picture of the set."""
        if not pictures:
            nothing = pieces.nothing("No pictures yet", "Add some: jpg, png or webp.")
            return {big: nothing, caption: gr.update(value="", interactive=False), editing: f"{name}/", sent: ""}
        index = next((k for k, path in enumerate(pictures) if library.key(path) == key), 0)
        path = pictures[index]
        text, place = library.said(path)
        return {
            big: album.large(studio, path),
            caption: gr.update(value=text, interactive=True, info=album.info(path, place)),
            editing: library.key(path),
            sent: text,
            thumbs: gr.update(selected_index=index if index < album.SHOWN else None),
        }

    def open_set(
        name: str | None = None, told: list[pieces.Note] | None = None, key: str | None = None
    ) -> Updates:
        with _told():  # a folder that is locked leaves the page as it is
            return opened(name, told, key)
        return {}

    def opened(name: str | None, told: list[pieces.Note] | None, key: str | None) -> Updates:
        names = library.names()
        name = name if name in names else studio.memory.get("dataset")
        if not names:
            return {
                empty_view: gr.update(visible=True),
                data_view: gr.update(visible=False),
                drop: None,
                back: gr.update(visible=False),
            }
        name = name if name in names else names[0]
        studio.memory.put(dataset=name)
        pictures = library.pictures(name)
        updates = {
            empty_view: gr.update(visible=False),
            data_view: gr.update(visible=True),
            refused: gr.update(visible=False),
            drop: None,
            title: pieces.heading(name, album.title(pictures)),
            picker: gr.update(choices=names, value=name, visible=len(names) > 1),
            problems: album.notes(studio, name, told or []),
            new_name: name,
            past: pieces.notes(steps) if (steps := mending.steps(library, name)) else "",
            numbers: gr.update(open=False),
            tables: "",
            **captioning.clear(),
        }
        shown = show(name, key, pictures)
        return (
            updates
            | shown
            | {thumbs: gr.update(value=album.gallery(studio, name, pictures), **_selected(shown.get(thumbs)))}
        )

    def typed(key: str, text: str, known: str) -> str:
        """Saves what a person wrote, however it came there; what the server itself has put there is not written to any picture."""
        if text != known and key and not key.endswith("/"):
            with _told():
                library.write_caption(key, text)
        return text

    def refresh(key: str, text: str, known: str, shown: list[str | None]) -> Updates:
        """When the caption is left: the list of what was found and the badges, if they are others now."""
        typed(key, text, known)
        name = open_name(key)
        with _told():
            pictures = library.pictures(name)
            now = album.gallery(studio, name, pictures)
            if [badge for _, badge in now] == shown:
                return {}
            index = next((k for k, path in enumerate(pictures) if library.key(path) == key), None)
            return {problems: album.notes(studio, name, []), thumbs: gr.update(value=now, selected_index=index), worn: [badge for _, badge in now]}
        return {}

    def arrive(key: str | None, text: str | None, known: str | None) -> Updates:
        key, text = key or "", text or ""  # nothing has been opened yet
        typed(key, text, known or "")
        name, _, file = key.partition("/")
        updates = open_set(name or None, key=key)
        if file and updates.get(editing) == key and updates[sent].strip() == text.strip():
            # the answer to a visit may come when the next letters are typed already
            updates = {widget: value for widget, value in updates.items() if widget not in (caption, new_name)}
        return updates

    def open_name(key: str) -> str:
        return key.partition("/")[0] or studio.memory.get("dataset") or ""

    def bring(name: str | None, files: list[str] | None) -> Updates:
        uploads = [Path(file) for file in files or []]
        fresh = name is None
        with _told():
            name = name or library.create(album.wish(uploads))
            try:
                added = library.add(name, uploads)
            finally:
                for upload in uploads:
                    upload.unlink(missing_ok=True)
            if fresh and not library.pictures(name):
                library.folder(name).rmdir()
                return {refused: gr.update(value=pieces.notes(album.words(added)), visible=True), drop: None}
            return open_set(name, album.words(added))
        return {drop: None}

    def select(key: str, text: str, known: str, event: gr.SelectData) -> Updates:
        typed(key, text, known)
        with _told():
            pictures = library.pictures(open_name(key))
            return show(open_name(key), library.key(pictures[min(event.index, len(pictures) - 1)]), pictures)
        return {}

    def step(by: int) -> Callable[[str, str, str], Updates]:
        def go(key: str, text: str, known: str) -> Updates:
            typed(key, text, known)
            with _told():
                pictures = library.pictures(open_name(key))
                index = next((k for k, path in enumerate(pictures) if library.key(path) == key), -by)
                return show(
                    open_name(key),
                    library.key(pictures[(index + by) % len(pictures)]) if pictures else None,
                    pictures,
                )
            return {}

        return go

    def discard(key: str) -> Updates:
        name, _, file = key.partition("/")
        if not file:
            return {}
        with _told():
            pictures = library.pictures(name)
            index = next((k for k, path in enumerate(pictures) if library.key(path) == key), 0)
            gone = library.delete([key])
            near = library.key(pictures[index + 1]) if index + 1 < len(pictures) else None
            return open_set(name, [("ok", f"{file} is deleted", "Put it back", "undo")], near) | {undo: gone}
        return open_set(name)

    def act(key: str, last: Deleted | None, event: gr.EventData) -> Updates:
        """The buttons in the list of what was found."""
        name = open_name(key)
        wanted, _, kind = event.act.partition("-")
        with _told():
            if wanted == "undo" and last:
                library.undo(last)
                place = last.files[0][0]
                return open_set(place.relative_to(library.root).parts[0], None, library.key(place)) | {
                    undo: None
                }
            if wanted == "back":
                return open_set(name, mending.taken_back(library, name), key)
            if wanted == "fix":
                return open_set(name, mending.mended(library, name, kind), key)
            if wanted == "open":
                return show(name, str(event.key), library.pictures(name))
            files = [
                path
                for found in library.findings(name)
                if found.kind == kind and found.level != "ok"
                for path in found.files
            ]
            if wanted == "show" and files:
                return show(name, library.key(files[0]), library.pictures(name))
            if wanted == "out" and files:
                gone = library.take_out(files)
                return open_set(name, [("ok", f"{len(files)} taken out", "Put back", "undo")]) | {undo: gone}
        return open_set(name)

    def change_name(key: str, wish: str) -> Updates:
        name = open_name(key)
        with _told():
            album.refuse_if_used(studio, name)
            return open_set(library.rename(name, wish))
        return {new_name: name}

    def remove_set(key: str) -> Updates:
        name = open_name(key)
        with _told():
            album.refuse_if_used(studio, name)
            gone = library.remove(name)
            studio.memory.put(dataset=None)
            told: list[pieces.Note] = [("ok", f"{name} is deleted", "Put it back", "undo")]
            updates = open_set(None, told) | {undo: gone}
            return (
                updates
                if library.names()
                else updates | {refused: gr.update(value=pieces.notes(told), visible=True)}
            )
        return {}

    def change_set(name: str, key: str, text: str, known: str) -> Updates:
        typed(key, text, known)
        return open_set(name)

    def start_new() -> Updates:
        visible = {empty_view: True, data_view: False, back: True, refused: False}
        return {drop: None} | {widget: gr.update(visible=yes) for widget, yes in visible.items()}

    on(drop.upload, lambda files: bring(None, files), drop, view, show_progress="minimal", show_progress_on=[drop])
    on(more.upload, lambda name, files: bring(name, files), [picker, more], view, show_progress="minimal", show_progress_on=[thumbs])
    on(picker.input, change_set, [picker, editing, caption, sent], view)
    on(new_set.click, start_new, None, [empty_view, data_view, drop, back, refused])
    on(back.click, lambda: open_set(), None, view)
    on(thumbs.select, select, [editing, caption, sent], view)
    on(previous.click, step(-1), [editing, caption, sent], view)
    on(following.click, step(1), [editing, caption, sent], view)
    on(delete.click, discard, editing, [*view, undo])
    def count_all(key: str) -> Updates:
        with _told():
            return {tables: showing.tables(library, open_name(key), showing.base_now(studio.memory))}
        return {}

    def export(key: str) -> str | None:
        with _told():
            return str(export_set(studio, open_name(key)))
        return None

    on(numbers.expand, count_all, editing, [tables], show_progress="minimal", show_progress_on=[tables])
    on(pack.click, export, editing, zipped, show_progress="minimal", show_progress_on=[pack]).success(None, zipped, None, js=download("set-file"))
    captioning.bind(editing, view, lambda key, told: open_set(open_name(key), told, key), open_name)
    on([problems.click, refused.click, past.click, captioning.result.click], act, [editing, undo], [*view, undo])
    on(rename.click, change_name, [editing, new_name], view)
    on(remove.click, remove_set, editing, [*view, undo])
    on(caption.blur, refresh, [editing, caption, sent, worn], [problems, thumbs, worn])
    # .input means keys alone: what is pasted or deleted comes as .change. "once", the default, would lose the last letters.
    on(caption.change, typed, [editing, caption, sent], sent, trigger_mode="always_last")
    return Datasets(to_train, example, view, open_set, arrive, [editing, caption, sent], captioning)


@contextmanager
def _told() -> Iterator[None]:
    """A fault that the person can mend becomes a message in the window."""
    try:
        yield
    except (JobError, OSError) as error:
        gr.Warning(escape(str(error)), title="That did not work")


def _selected(update: Any) -> dict[str, Any]:
    return {"selected_index": update["selected_index"]} if update else {}

"""Datasets: drop pictures in, see what is wrong with them in plain words, write captions.

One picture is in editor.py, captions changed many at once in captions.py, the data set as a whole in this_set.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from engine.settings import ROOT

from .. import album, mending, pieces
from ..library import Deleted
from ..pieces import Choice, Note, Piece
from ..studio import Studio
from ..wiring import Updates, on, warned
from . import captions, editor, this_set, welcome

EXAMPLE, EXAMPLE_NAME = ROOT / "assets" / "examples" / "car", "example-car"


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


def build(studio: Studio) -> Datasets:
    library = studio.library

    first = welcome.build()
    with gr.Column(visible=False, elem_classes="page") as page:
        with gr.Row(elem_classes="title-row"):
            title = Piece("", elem_id="data-title")
            picker = Choice([], label="Data set", show_label=False, scale=0, min_width=180, visible=False, elem_id="data-picker")
            more = gr.UploadButton("Add pictures", file_count="multiple", file_types=welcome.UPLOADS, size="md", scale=0, min_width=130)
            new_set = gr.Button("New data set", size="md", scale=0, min_width=130)
            to_train = gr.Button("Train on these", variant="primary", size="md", scale=0, min_width=140, elem_id="to-train")
        problems = Piece("", elem_classes="card", elem_id="problems")
        with gr.Row(elem_classes="split"):
            thumbs = gr.Gallery(
                [], columns=6, height=None, object_fit="cover", allow_preview=False, show_label=False, interactive=False, buttons=[],
                elem_id="thumbs", scale=7, min_width=320,
            )  # fmt: skip
            one = editor.build(studio, thumbs)
        with gr.Accordion("Captions", open=False, elem_id="caption-tools"):
            captioning = captions.build(studio)
        whole = this_set.build(studio, one.editing)
    one.editing.render()
    undo = gr.State(None)
    worn = gr.State([])  # badges that the page shows
    view = [*first.outputs, page, title, picker, problems, thumbs, worn, *one.outputs, *whole.outputs, *captioning.outputs]

    def open_set(name: str | None = None, notes: list[Note] | None = None, key: str | None = None) -> Updates:
        with warned():  # a folder that is locked leaves the page as it is
            return opened(name, notes, key)
        return {}

    def opened(name: str | None, notes: list[Note] | None, key: str | None) -> Updates:
        names = library.names()
        if not names:
            return first.shown() | {page: gr.update(visible=False)}
        name = next(one for one in (name, studio.memory.get("dataset"), names[0]) if one in names)
        studio.memory.put(dataset=name)
        pictures = library.pictures(name)
        updates = first.hidden() | {
            page: gr.update(visible=True),
            title: pieces.heading(name, album.title(pictures)),
            picker: gr.update(choices=names, value=name, visible=len(names) > 1),
            problems: album.notes(studio, name, notes or []),
        }
        shown = one.show(name, key, pictures)
        chosen = {"selected_index": shown[thumbs]["selected_index"]} if thumbs in shown else {}
        badges = {thumbs: gr.update(value=album.gallery(studio, name, pictures), **chosen)}
        return updates | shown | badges | whole.show(name) | captioning.clear()

    def refresh(key: str, text: str, known: str, shown: list[str | None]) -> Updates:
        """When the caption is left: the list of what was found and the badges, if they are others now."""
        one.save(key, text, known)
        name = album.name_of(studio, key)
        with warned():
            pictures = library.pictures(name)
            now = album.gallery(studio, name, pictures)
            if [badge for _, badge in now] == shown:
                return {}
            index = next((k for k, path in enumerate(pictures) if library.key(path) == key), None)
            return {
                problems: album.notes(studio, name, []),
                thumbs: gr.update(value=now, selected_index=index),
                worn: [badge for _, badge in now],
            }
        return {}

    def arrive(key: str | None, text: str | None, known: str | None) -> Updates:
        key, text = key or "", text or ""  # nothing has been opened yet
        one.save(key, text, known or "")
        name, _, file = key.partition("/")
        updates = open_set(name or None, key=key)
        if file and updates.get(one.editing) == key and updates[one.sent].strip() == text.strip():
            # the answer to a visit may come when the next letters are typed already
            updates = {widget: value for widget, value in updates.items() if widget not in (one.caption, whole.new_name)}
        return updates

    def bring(name: str | None, files: list[str] | None) -> Updates:
        """What was dropped or chosen, into this data set or a new one."""
        uploads = [Path(file) for file in files or []]
        fresh = name is None
        with warned():
            name = name or library.create(album.wish(uploads))
            try:
                added = library.add(name, uploads)
            finally:
                for upload in uploads:
                    upload.unlink(missing_ok=True)
            if fresh and not library.pictures(name):
                library.folder(name).rmdir()
                return first.shown(bool(library.names()), album.words(added))
            return open_set(name, album.words(added))
        return {first.drop: None}

    def discard(key: str) -> Updates:
        name, _, file = key.partition("/")
        if not file:
            return {}
        with warned():
            pictures = library.pictures(name)
            index = next((k for k, path in enumerate(pictures) if library.key(path) == key), 0)
            gone = library.delete([key])
            near = library.key(pictures[index + 1]) if index + 1 < len(pictures) else None
            return open_set(name, [("ok", f"{file} is deleted", "Put it back", "undo")], near) | {undo: gone}
        return open_set(name)

    def act(key: str, last: Deleted | None, event: gr.EventData) -> Updates:
        """The buttons in the list of what was found."""
        name = album.name_of(studio, key)
        wanted, _, kind = event.act.partition("-")
        with warned():
            match wanted:
                case "undo" if last:
                    library.undo(last)
                    place = last.files[0][0]
                    return open_set(place.relative_to(library.root).parts[0], None, library.key(place)) | {undo: None}
                case "back":
                    return open_set(name, mending.taken_back(library, name), key)
                case "fix":
                    return open_set(name, mending.mended(library, name, kind), key)
                case "open":
                    return one.show(name, str(event.key), library.pictures(name))
            files = mending.files(library, name, kind)
            if wanted == "show" and files:
                return one.show(name, library.key(files[0]), library.pictures(name))
            if wanted == "out" and files:
                gone = library.take_out(files)
                return open_set(name, [("ok", f"{len(files)} taken out", "Put back", "undo")]) | {undo: gone}
        return open_set(name)

    def change_name(key: str, wish: str) -> Updates:
        name = album.name_of(studio, key)
        with warned():
            album.refuse_if_used(studio, name)
            return open_set(library.rename(name, wish))
        return {whole.new_name: name}

    def remove_set(key: str) -> Updates:
        name = album.name_of(studio, key)
        with warned():
            album.refuse_if_used(studio, name)
            gone = library.remove(name)
            studio.memory.put(dataset=None)
            notes: list[Note] = [("ok", f"{name} is deleted", "Put it back", "undo")]
            return open_set(None, notes) | (first.shown(notes=notes) if not library.names() else {}) | {undo: gone}
        return {}

    def change_set(name: str, key: str, text: str, known: str) -> Updates:
        one.save(key, text, known)
        return open_set(name)

    on(first.drop.upload, lambda files: bring(None, files), first.drop, view, show_progress="minimal", show_progress_on=[first.drop])
    on(more.upload, lambda name, files: bring(name, files), [picker, more], view, show_progress="minimal", show_progress_on=[thumbs])
    on(new_set.click, lambda: first.shown(back=True) | {page: gr.update(visible=False)}, None, [*first.outputs, page])
    on(first.back.click, lambda: open_set(), None, view)
    on(picker.input, change_set, [picker, *one.typing], view)
    on(one.delete.click, discard, one.editing, [*view, undo])
    on(one.caption.blur, refresh, [*one.typing, worn], [problems, thumbs, worn])
    on(whole.rename.click, change_name, [one.editing, whole.new_name], view)
    on(whole.remove.click, remove_set, one.editing, [*view, undo])
    on([problems.click, first.refused.click, whole.past.click, captioning.result.click], act, [one.editing, undo], [*view, undo])
    captioning.bind(
        one.editing, view, lambda key, notes: open_set(album.name_of(studio, key), notes, key), lambda key: album.name_of(studio, key)
    )
    return Datasets(to_train, first.example, view, open_set, arrive, one.typing, captioning)

"""Datasets, one picture: large, with its caption, which is saved as it is typed and never on another picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from .. import album, pieces
from ..pieces import Piece, Words
from ..studio import Studio
from ..wiring import Updates, on, warned

Shown = Callable[[str, str | None, list[Path]], Updates]


@dataclass
class Editor:
    """What the page of the data sets needs of it."""

    editing: gr.Textbox
    """The key of the picture, data set/file; without a file where the data set has none. It is to be rendered where it takes no room."""
    caption: gr.Textbox
    sent: gr.State
    """The caption as the server knows it: what differs was typed."""
    delete: gr.Button
    outputs: list[Any]
    show: Shown
    """(data set, key, its pictures) → updates that show the picture of the key, else the first one."""
    save: Callable[[str, str, str], str]
    """(key, text, text that is known) → the text; saves what a person wrote, however it came there."""

    @property
    def typing(self) -> list[Any]:
        return [self.editing, self.caption, self.sent]


def build(studio: Studio, thumbs: gr.Gallery) -> Editor:
    """``thumbs`` has the pictures to choose from, in their order."""
    library = studio.library
    with gr.Column(scale=3, min_width=300, elem_classes="card editor sticky"):
        big = Piece("", elem_id="big")
        caption = Words(label="Caption", info=album.HELP, lines=4, elem_id="caption")
        with gr.Row(elem_classes="actions"):
            previous = gr.Button("Previous", size="md", min_width=80)
            following = gr.Button("Next", size="md", min_width=80)
            delete = gr.Button("Delete", size="md", min_width=80)
    # In the page, not in gr.State: it changes in the same patch as the caption, so that words never land on another picture.
    editing = gr.Textbox(visible=False, render=False)
    sent = gr.State("")

    def show(name: str, key: str | None, pictures: list[Path]) -> Updates:
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

    def save(key: str, text: str, known: str) -> str:
        # what the server itself has put there is not written to any picture
        if text != known and key and not key.endswith("/"):
            with warned():
                library.write_caption(key, text)
        return text

    def select(key: str, text: str, known: str, event: gr.SelectData) -> Updates:
        save(key, text, known)
        with warned():
            name = album.name_of(studio, key)
            pictures = library.pictures(name)
            return show(name, library.key(pictures[min(event.index, len(pictures) - 1)]), pictures)
        return {}

    def step(by: int) -> Callable[[str, str, str], Updates]:
        def go(key: str, text: str, known: str) -> Updates:
            save(key, text, known)
            with warned():
                name = album.name_of(studio, key)
                pictures = library.pictures(name)
                index = next((k for k, path in enumerate(pictures) if library.key(path) == key), -by)
                return show(name, library.key(pictures[(index + by) % len(pictures)]) if pictures else None, pictures)
            return {}

        return go

    outputs = [big, caption, editing, sent]
    typing = [editing, caption, sent]
    on(thumbs.select, select, typing, [*outputs, thumbs])
    on(previous.click, step(-1), typing, [*outputs, thumbs])
    on(following.click, step(1), typing, [*outputs, thumbs])
    # .input means keys alone: what is pasted or deleted comes as .change. "once", the default, would lose the last letters.
    on(caption.change, save, typing, sent, trigger_mode="always_last")
    return Editor(editing, caption, sent, delete, outputs, show, save)

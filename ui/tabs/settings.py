"""Settings: where things are kept, the hub's token, what the Starter is. Nothing here is sent anywhere by itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
import huggingface_hub
from pydantic import ValidationError

from engine.families.catalog import STARTER, defaults_of
from engine.settings import Settings, home, load_settings, save_settings

from .. import pieces
from ..pieces import Piece, Words
from ..wiring import Updates, on

FOLDERS = {
    "output": "Runs are saved in",
    "datasets": "Data sets made here are kept in",
    "cache": "Cache; it can be deleted at any time",
    "models": "Base models, looked into before the hub is asked",
}


@dataclass
class SettingsPage:
    outputs: list[Any]
    open: Callable[[], Updates]


def build() -> SettingsPage:
    now = load_settings()
    with gr.Row(elem_classes="split"):
        with gr.Column(scale=1, min_width=320, elem_classes="card form"):
            Piece(pieces.heading("Settings", "Kept on this computer. Nothing is sent anywhere."))
            folders = {
                name: Words(_shown(now, name), label=words, placeholder="none" if name == "models" else "", elem_id=f"folder-{name}")
                for name, words in FOLDERS.items()
            }
            told = Piece("")
            keep = gr.Button("Save", size="md", elem_id="save-settings")
        with gr.Column(scale=1, min_width=320):
            with gr.Column(elem_classes="card form"):
                Piece(pieces.heading("Hugging Face token", "Only for gated models such as FLUX.1 dev."))
                state = Piece("", elem_id="token-state")
                token = Words(
                    label="Token",
                    info="Kept by the hub's own client, and never shown again.",
                    type="password",
                    placeholder="hf_…",
                    elem_id="token",
                    max_length=200,
                )
                with gr.Row(elem_classes="actions"):
                    log_in = gr.Button("Set", size="md", scale=0, min_width=110)
                    log_out = gr.Button("Remove", size="md", scale=0, min_width=110)
            with gr.Column(elem_classes="card form"):
                wants = defaults_of(STARTER.name_or_path)
                Piece(pieces.heading("About the Starter", wants.note or STARTER.note))
                Piece(
                    pieces.facts(
                        [
                            ("made of", "the FLUX architecture, very small"),
                            ("pictures", f"{wants.width} × {wants.height} pixels"),
                            ("licence", STARTER.licence),
                            ("good for", "learning how it goes, on any computer"),
                        ]
                    )
                )
    outputs = [*folders.values(), told, state, token, log_out]

    def open_page() -> Updates:
        return _token_state() | {field: _shown(load_settings(), name) for name, field in folders.items()}

    def _token_state() -> Updates:
        there = huggingface_hub.get_token() is not None
        words = "A token is set." if there else "No token is set."
        return {
            state: pieces.notes([("ok" if there else "todo", words, "", "")]),
            token: "",
            log_out: gr.update(interactive=there),
        }

    def save(*values: str) -> Updates:
        given = {name: Path(text.strip()).expanduser() for name, text in zip(FOLDERS, values, strict=True) if text.strip()}
        try:
            settings = Settings(**(load_settings().model_dump(exclude=set(FOLDERS)) | given))
            for name in ("output", "datasets", "cache"):
                settings.folder(name)
            if settings.models and not (home() / settings.models).is_dir():
                return {told: pieces.notes([("look", f"There is no folder {settings.models}", "", "")])}
            save_settings(settings)
        except (OSError, ValidationError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a folder"
            return {told: pieces.notes([("look", f"That cannot be used: {reason}", "", "")])}
        return {told: pieces.notes([("ok", "Saved. Start Darkroom again to use the new folders.", "", "")])}

    def set_token(text: str) -> Updates:
        try:
            huggingface_hub.login(token=text.strip(), add_to_git_credential=False, skip_if_logged_in=False)
        except ValueError:
            gr.Warning(
                "The hub does not know this token. Copy it once more from your account's page.",
                title="It was not set",
            )
        except Exception as error:  # of the network, in many kinds
            gr.Warning(
                f"The token could not be checked: {escape(type(error).__name__)}. Is there a network?",
                title="It was not set",
            )
        return _token_state()

    def remove_token() -> Updates:
        huggingface_hub.logout()
        return _token_state()

    on(keep.click, save, list(folders.values()), outputs)
    on(log_in.click, set_token, token, outputs)
    on(log_out.click, remove_token, None, outputs)
    return SettingsPage(outputs, open_page)


def _shown(settings: Settings, name: str) -> str:
    value = getattr(settings, name)
    return str(value) if value is not None else ""

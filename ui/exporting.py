"""A LoRA as a file for another program, ready to be downloaded."""

from __future__ import annotations

import hashlib
import re
import shutil
import zipfile
from html import escape
from pathlib import Path
from typing import Literal

import gradio as gr

from engine.data.files.zips import export_zip
from engine.events import Warned
from engine.runs.atomic import replace_file
from engine.runs.folder import EXPERTS

from .studio import Studio

Form = Literal["comfyui", "kohya", "diffusers"]
FORMS: list[tuple[str, str]] = [("ComfyUI", "comfyui"), ("Forge", "kohya"), ("diffusers", "diffusers")]


def export(studio: Studio, source: Path, form: Form, name: str) -> Path:
    """The file in the cache, made once for each content and form; a zip with both where a model has two experts.

    JobError if it is no LoRA that can be written so.
    """
    files = experts_of(source)
    facts = "|".join(f"{one}|{one.stat().st_mtime_ns}|{one.stat().st_size}" for one in files.values())
    folder = studio.cache / "exports" / hashlib.sha256(f"{facts}|{form}".encode()).hexdigest()[:16]
    ending = "" if form == "comfyui" else f"_{form}"
    folder.mkdir(parents=True, exist_ok=True)
    made = [_written(one, folder / f"{name}{expert}{ending}.safetensors", form) for expert, one in files.items()]
    if len(made) == 1:
        return made[0]
    whole = folder / f"{name}{ending}.zip"
    if not whole.is_file():
        replace_file(whole, lambda new: _zip(new, made))
    return whole


def export_set(studio: Studio, name: str) -> Path:
    """A data set as a zip that can be downloaded. Only the newest one is kept."""
    folder = studio.cache / "exports" / "sets"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return export_zip(studio.library.folder(name), folder / f"{name}.zip")


def experts_of(source: Path) -> dict[str, Path]:
    """The file, or the files of both experts of a model that has two, by the end of their names."""
    found = re.fullmatch(rf"(.*?)({EXPERTS})", source.stem)
    if not found:
        return {"": source}
    mates = {expert: source.with_stem(found[1] + expert) for expert in ("_high_noise", "_low_noise")}
    return {expert: path for expert, path in mates.items() if path == source or path.is_file()}


def _written(source: Path, target: Path, form: Form) -> Path:
    from engine.tools.export import export_lora  # loads torch: not before it is asked for

    notes: list[Warned] = []
    made = target if target.is_file() else export_lora(source, target, form, notes=notes)
    for note in notes:
        gr.Warning(escape(f"{note.message} {note.hint}"), title="Not all of it arrives there")
    return made


def _zip(new: Path, files: list[Path]) -> None:
    with zipfile.ZipFile(new, "w") as whole:  # stored: weights do not get smaller
        for file in files:
            whole.write(file, file.name)


def download(button: str) -> str:
    """JavaScript that presses a hidden DownloadButton once it has its file: one click of the person's is enough."""
    return f"""file => {{ if (file) setTimeout(() => {{
const button = document.getElementById('{button}'); (button.querySelector('a') || button.closest('a') || button).click(); }}, 250); }}"""

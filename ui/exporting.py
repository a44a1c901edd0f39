"""A LoRA as a file for another program, ready to be downloaded."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from .studio import Studio

Form = Literal["comfyui", "kohya", "diffusers"]
FORMS: list[tuple[str, str]] = [("ComfyUI", "comfyui"), ("Forge", "kohya"), ("diffusers", "diffusers")]


def export(studio: Studio, source: Path, form: Form, name: str) -> Path:
    """The file in the cache, made once for each content and form. JobError if it is no LoRA that can be written so."""
    from engine.tools.export import export_lora  # loads torch: not before it is asked for

    facts = source.stat()
    key = hashlib.sha256(f"{source}|{facts.st_mtime_ns}|{facts.st_size}|{form}".encode()).hexdigest()[:16]
    target = (
        studio.cache
        / "exports"
        / key
        / (f"{name}.safetensors" if form == "comfyui" else f"{name}_{form}.safetensors")
    )
    if not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        export_lora(source, target, form)
    return target


def download(button: str) -> str:
    """JavaScript that presses a hidden DownloadButton once it has its file: one click of the person's is enough."""
    return f"""file => {{ if (file) setTimeout(() => {{
const button = document.getElementById('{button}'); (button.querySelector('a') || button.closest('a') || button).click(); }}, 250); }}"""

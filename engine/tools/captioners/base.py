"""The table of captioners, and how the one of a job is found. No torch."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Describe = Callable[[Sequence[Path]], list[str]]
"""Pictures → a caption of each."""

FUNCTIONS: dict[str, str] = {
    "file_name": "engine.tools.captioners.words:name_files",
    "template": "engine.tools.captioners.words:fill_template",
    "florence2": "engine.tools.captioners.florence2:open_florence2",
    "qwen_vl": "engine.tools.captioners.qwen_vl:open_qwen_vl",
    "blip": "engine.tools.captioners.blip:open_blip",
    "tagger": "engine.tools.captioners.tagger:open_tagger",
}
"""Type of a captioner → module:function(settings) -> Describe."""


@dataclass(frozen=True)
class CaptionerInfo:
    """A captioner that the app offers."""

    title: str
    type: str
    """The type of the job's captioner section."""
    model_name_or_path: str = ""
    """Its model; empty if it needs none."""
    class_name: str = ""
    """The class of transformers that reads it."""
    licence: str = ""
    size_gb: float = 0.0
    """What is downloaded."""
    prompt: str = ""
    """What it is asked, in a sentence."""


CAPTIONERS: tuple[CaptionerInfo, ...] = (
    CaptionerInfo("File name", "file_name", prompt="The words of the file's name."),
    CaptionerInfo("Template", "template", prompt="A text with [name] and [folder]."),
    CaptionerInfo(
        "Florence-2 base", "florence2", "florence-community/Florence-2-base", "Florence2ForConditionalGeneration", "MIT", 0.5,
        "One of three tasks: a caption, a detailed one, a paragraph.",
    ),
    CaptionerInfo(
        "Florence-2 large", "florence2", "florence-community/Florence-2-large", "Florence2ForConditionalGeneration", "MIT", 1.6,
        "One of three tasks: a caption, a detailed one, a paragraph.",
    ),
    CaptionerInfo(
        "Qwen3-VL 2B", "qwen_vl", "Qwen/Qwen3-VL-2B-Instruct", "Qwen3VLForConditionalGeneration", "Apache-2.0", 4.3, "Any instruction.",
    ),
    CaptionerInfo(
        "Qwen3-VL 4B", "qwen_vl", "Qwen/Qwen3-VL-4B-Instruct", "Qwen3VLForConditionalGeneration", "Apache-2.0", 8.9, "Any instruction.",
    ),
    CaptionerInfo(
        "Qwen3-VL 8B", "qwen_vl", "Qwen/Qwen3-VL-8B-Instruct", "Qwen3VLForConditionalGeneration", "Apache-2.0", 17.5, "Any instruction.",
    ),
    CaptionerInfo(
        "Qwen2.5-VL 3B", "qwen_vl", "Qwen/Qwen2.5-VL-3B-Instruct", "Qwen2_5_VLForConditionalGeneration", "Qwen Research", 7.5,
        "Any instruction.",
    ),
    CaptionerInfo(
        "Qwen2.5-VL 7B", "qwen_vl", "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2_5_VLForConditionalGeneration", "Apache-2.0", 16.6,
        "Any instruction.",
    ),
    CaptionerInfo(
        "BLIP base", "blip", "Salesforce/blip-image-captioning-base", "BlipForConditionalGeneration", "BSD-3-Clause", 1.0,
        "The words that the caption begins with.",
    ),
    CaptionerInfo(
        "BLIP large", "blip", "Salesforce/blip-image-captioning-large", "BlipForConditionalGeneration", "BSD-3-Clause", 1.9,
        "The words that the caption begins with.",
    ),
    CaptionerInfo(
        "WD tagger v3", "tagger", "p1atdev/wd-swinv2-tagger-v3-hf", "Swinv2ForImageClassification", "Apache-2.0", 0.4,
        "None: every tag that is sure enough.",
    ),
)  # fmt: skip
"""Those of timm and ONNX, as SmilingWolf's own WD taggers, cannot be read: the last one is such a model converted for transformers."""


def load_captioner(settings: Any) -> Describe:
    """The captioner of a job's section, with its model loaded."""
    module, _, name = FUNCTIONS[settings.type].partition(":")
    return getattr(importlib.import_module(module), name)(settings)

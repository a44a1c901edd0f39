"""Qwen2.5-VL and Qwen3-VL: a conversation with a picture and an instruction in it."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from PIL import Image

from ...data.files.pictures import decode
from ...errors import JobError
from ...jobs.tools.captions import QwenVl
from ...runtime.device import pick_device, pick_dtype
from ..pretrained import config_of, fetch, placed, read_images, read_model, read_tokenizer
from .base import Describe


class Qwen2_5_VLProcessor(transformers.Qwen2_5_VLProcessor):
    """Without the part for videos, which cannot be imported where there is no torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None):
        super().__init__(image_processor, tokenizer, chat_template=chat_template)


class Qwen3VLProcessor(transformers.Qwen3VLProcessor):
    """Without the part for videos, which cannot be imported where there is no torchvision."""

    def __init__(self, image_processor=None, tokenizer=None, chat_template=None):
        super().__init__(image_processor, tokenizer, chat_template=chat_template)


KINDS: dict[str, tuple[Any, Any]] = {
    "qwen2_5_vl": (transformers.Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor),
    "qwen3_vl": (transformers.Qwen3VLForConditionalGeneration, Qwen3VLProcessor),
    "qwen3_vl_moe": (transformers.Qwen3VLMoeForConditionalGeneration, Qwen3VLProcessor),
}
"""model_type of the configuration → model and processor."""


def open_qwen_vl(settings: QwenVl) -> Describe:
    folder = fetch(settings.model_name_or_path, "captioner.model_name_or_path", "use the captioner template")
    kind = config_of(folder).get("model_type")
    if kind not in KINDS:
        raise JobError(f"{settings.model_name_or_path} is a model of type {kind}.", f"qwen_vl reads {', '.join(KINDS)}.")
    device = pick_device()
    model = read_model(KINDS[kind][0], folder, device, pick_dtype(settings.dtype, device))
    tokenizer = read_tokenizer(folder, padding_side="left")  # the answers of a batch begin at the same place
    processor = KINDS[kind][1](read_images(folder), tokenizer, chat_template_of(folder) or tokenizer.chat_template)
    asked = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": settings.caption_prompt}]}]
    prompt = processor.apply_chat_template(asked, add_generation_prompt=True, tokenize=False)

    def describe(paths: Sequence[Path]) -> list[str]:
        pictures = [shrunk(decode(path), settings.max_res) for path in paths]
        inputs = placed(processor(images=pictures, text=[prompt] * len(pictures), return_tensors="pt", padding=True), model)
        with torch.inference_mode():
            tokens = model.generate(**inputs, max_new_tokens=settings.max_new_tokens, do_sample=False)
        answers = tokens[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in tokenizer.batch_decode(answers, skip_special_tokens=True)]

    return describe


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """The picture with the area of a square of ``side`` pixels at most."""
    factor = side / math.sqrt(picture.width * picture.height)
    if factor >= 1:
        return picture
    return picture.resize((max(1, round(picture.width * factor)), max(1, round(picture.height * factor))), Image.Resampling.LANCZOS)


def chat_template_of(folder: Path) -> str | None:
    """How a conversation is written, where the model has it in a file of its own."""
    if (file := folder / "chat_template.jinja").is_file():
        return file.read_text("utf-8")
    if (file := folder / "chat_template.json").is_file():
        return json.loads(file.read_text("utf-8")).get("chat_template")
    return None

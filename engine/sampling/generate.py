"""The generate job: every prompt with the base model and with each LoRA, from the same seeds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..control import Control, Stopped
from ..errors import JobError
from ..events import Event, Finished, Phase, Sampled
from ..jobs import GenerateJob, LoraFile
from ..network.files import load_lora
from ..runs.folder import RunFolder
from ..runtime.device import Peak, pick_device, pick_dtype
from ..runtime.loading import load_parts, open_family
from ..runtime.texts import Texts
from ..settings import resolve
from .draw import draw, save_picture, texts_of
from .requests import requests_of


def generate(job: GenerateJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """One Sampled a picture. A stop leaves the pictures that are done."""
    try:
        yield from _generate(job, folder, control)
    except Stopped:
        yield Finished(reason="stopped")


def _generate(job: GenerateJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    if not job.sample.prompts and not job.sample.samples:
        raise JobError("There is no prompt.", "Write at least one in sample.prompts.")
    if not job.loras and not job.with_base:
        raise JobError("There is nothing to draw with.", "Add a LoRA, or set with_base to true.")
    device = pick_device()
    dtype = pick_dtype(job.model.dtype, device)
    peak = Peak(device)
    yield Phase(name="Opening the base model")
    family = open_family(job.model, dtype)
    requests = requests_of(job.sample, family.defaults, None, family.pixel_multiple)
    control.check()
    yield Phase(name="Encoding prompts", peak=peak.take())
    texts = Texts(family, device, dtype, dtype)
    yield from texts.remember([text for request in requests for text in texts_of(family, request)], control)
    control.check()
    yield Phase(name="Loading the model", peak=peak.take())
    load_parts(family, (family.denoiser_part, *family.vae_parts), device, dtype)
    columns: list[LoraFile | None] = [*([None] if job.with_base else []), *job.loras]
    yield Phase(name="Drawing", peak=peak.take())
    index = 0
    for lora in columns:
        if lora:
            load_lora(family, resolve(lora.path))
        for request in requests:
            control.check()
            if lora:
                family.pipe.set_adapters("lora", lora.strength * request.strength)
            label = (lora.label or Path(lora.path).stem) if lora else "base"
            path = folder.sample_path(0, index, request.prompt, "webp" if family.is_video else job.sample.format)
            image = draw(family, texts.together, request, device, dtype)
            save_picture(image, path, request, model=job.model.name_or_path, lora=label)
            yield Sampled(
                step=0,
                index=index,
                prompt=request.prompt,
                path=path.relative_to(folder.path),
                seed=request.seed,
                column=label,
            )
            index += 1
        if lora:
            family.pipe.unload_lora_weights()
    yield Finished(reason="completed")

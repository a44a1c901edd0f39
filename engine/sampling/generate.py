"""The generate job: every prompt with the base model and with each LoRA, from the same seeds."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path

from ..control import Control, Stopped
from ..data.files.pictures import digest
from ..errors import JobError
from ..events import Event, Finished, Phase, Sampled
from ..families.base import ModelFamily, Request
from ..jobs import GenerateJob, LoraFile
from ..network.companions import Companions
from ..network.prompts import TextChanges
from ..runs.folder import RunFolder
from ..runtime.compiling import compile_blocks
from ..runtime.device import Peak, pick_device, pick_dtype
from ..runtime.loading import load_parts, open_family
from ..runtime.texts import Texts
from ..settings import resolve
from .column import Column
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
    columns: list[LoraFile | None] = [*([None] if job.with_base else []), *job.loras]
    texts = yield from _encoded(family, columns, requests, lambda **more: Texts(family, device, dtype, dtype, **more), control)
    control.check()
    yield Phase(name="Loading the model", peak=peak.take())
    yield from load_parts(family, (*family.model_parts(), *family.vae_parts), device, dtype)
    yield from Companions(family, job.model, training=False).told()
    if job.model.compile:
        for denoiser in family.denoisers:
            yield from compile_blocks(denoiser, device)
    yield Phase(name="Drawing", peak=peak.take())
    index = 0
    for column, lora in enumerate(columns):
        loaded = Column(family, resolve(lora.path), device) if lora else None
        for request in requests:
            control.check()
            if lora and loaded:
                loaded.act(lora.strength * request.strength)
            label = (lora.label or Path(lora.path).stem) if lora else "base"
            path = folder.sample_path(0, index, request.prompt, "webp" if family.is_video else job.sample.format)
            image = draw(family, texts[column, request.strength].together, request, device, dtype)
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
        if loaded:
            loaded.remove()
    yield Finished(reason="completed")


def _encoded(
    family: ModelFamily,
    columns: Sequence[LoraFile | None],
    requests: Sequence[Request],
    make: Callable[..., Texts],
    control: Control,
) -> Generator[Event, None, dict[tuple[int, float], Texts]]:
    """The prompts as each column reads them, by its number and the strength of a request: a LoRA may change the text encoders."""
    base = make()
    texts: dict[tuple[int, float], Texts] = {}
    for column, lora in enumerate(columns):
        changes = TextChanges(family, resolve(lora.path)) if lora else None
        for strength in sorted({request.strength for request in requests}):
            own = base
            if lora and changes and (whole := lora.strength * strength):
                own = make(around=partial(changes.acting, family, whole), variant=f"{' '.join(map(digest, changes.files))} {whole}")
            texts[column, strength] = own
            read = [text for request in requests if request.strength == strength for text in texts_of(family, request)]
            yield from own.remember(read, control)
            control.check()
    return texts

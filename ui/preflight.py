"""What is told before the start: how long, how much disk, and what to look at first. Nothing is guessed that was not measured here."""

from __future__ import annotations

import shutil
from pathlib import Path

from huggingface_hub import get_token, try_to_load_from_cache

from engine.data.words import count
from engine.errors import JobError
from engine.families.catalog import BaseInfo, defaults_of, locate
from engine.jobs import Job, TrainJob

from . import form, pieces
from .drafts import base_in
from .form import Draft
from .machine import card, device_words
from .pieces import Note
from .studio import Studio
from .watch import duration, pace


def describe(studio: Studio, draft: Draft, job: TrainJob | None, problems: list[str]) -> str:
    """The card beside the form."""
    seconds, like_run = measured(studio, job)
    base = base_in(draft)
    checks: list[Note] = [("look", sentence, "", "") for sentence in problems[:3]]
    checks += about_pictures(studio, draft)
    if base is not None:
        checks += about_base(base) + about_references(base, draft)
    need, free = disk_needed(draft, base), shutil.disk_usage(studio.runner.root).free / 2**30
    checks.append(
        (
            "ok" if free > need + 1 else "look",
            f"About {_size(need)} of disk needed, {_size(free)} free",
            "",
            "",
        )
    )
    if busy := studio.active():
        doing = "running" if busy.status == "running" else "waiting"
        checks.append(("todo", f"{busy.name} is {doing}; this one starts after it", "", ""))
    checks.append(("ok", "Close this tab whenever you like: the run goes on", "", ""))
    if seconds is None:
        return pieces.preflight("Not measured yet", f"The first steps {device_words()} tell how long it takes.", checks)
    return pieces.preflight(f"≈ {duration(seconds)}", f"{device_words()}, as {like_run} went", checks)


def measured(studio: Studio, job: TrainJob | None) -> tuple[float | None, str]:
    """Seconds that the job will take, by the newest run that was like it; and the name of that run."""
    for record in studio.trainings() if job else []:
        if job and like(studio.job(record), job):
            with studio.history(record) as history:
                each = pace(history)
            if each:
                return each * job.train.steps, record.name
    return None, ""


def like(one: Job | None, other: Job | None) -> bool:
    """Whether the time of a step of one job tells that of the other."""
    if not isinstance(one, TrainJob) or not isinstance(other, TrainJob):
        return False

    def key(job: TrainJob) -> tuple[object, ...]:
        sizes = job.datasets[0].resolution or defaults_of(job.model.name_or_path, job.model.arch).resolution
        train = job.train
        return (
            job.model.name_or_path,
            job.network.type,
            str(sizes),
            train.batch_size,
            train.gradient_accumulation,
            train.gradient_checkpointing,
        )

    return key(one) == key(other)


def about_pictures(studio: Studio, draft: Draft) -> list[Note]:
    """What is to be said of the data set; a data set from elsewhere is looked at when the run begins."""
    path = form.get(draft, "datasets.0.path", None)
    name = studio.library.name_of(path)
    if name is None:
        return [] if path else [("look", "There are no pictures yet", "Add pictures", "datasets")]
    pictures = studio.library.pictures(name)
    notes: list[Note] = [
        ("look", found.message.removesuffix("."), "Open", "datasets")
        for found in studio.library.findings(name, _side(draft))
        if found.level != "ok"
    ]
    captions = [studio.library.caption(picture) for picture in pictures]
    if not notes:
        notes.append(("ok", f"{count(len(pictures), 'picture')}, {'each ' if len(pictures) > 1 else ''}with a caption", "", ""))
    trigger = str(form.get(draft, "trigger_word", None) or "").lower()
    without = [text for text in captions if text and "[trigger]" not in text and trigger not in text.lower()]
    if trigger and without:
        who = "The captions" if len(without) == len(captions) else f"{len(without)} captions"
        notes.append(("look", f"{who} do not say the trigger words", "Put them in front", "trigger"))
    return notes


def _side(draft: Draft) -> int | None:
    """The smallest resolution of the training: what is smaller than that has too few pixels."""
    own = form.get(draft, "datasets.0.resolution", None)
    base = base_in(draft)
    sizes = [own] if isinstance(own, int) else own or (base.defaults.resolution if base else [])
    return min((size for size in sizes if isinstance(size, int)), default=None)


def refuse_what_cannot_work(studio: Studio, draft: Draft) -> None:
    """JobError for faults of the pictures that would end the run before its first step."""
    if (base := base_in(draft)) and (wanted := about_references(base, draft)):
        raise JobError(f"{wanted[0][1]}.", "It is asked for below the base models.")
    path = form.get(draft, "datasets.0.path", None)
    name = studio.library.name_of(path)
    if name is None:
        return
    if not studio.library.pictures(name):
        raise JobError(f"{name} has no pictures.", "Add some first.")
    captioned = form.get(draft, "datasets.0.default_caption", None) is not None
    for found in studio.library.findings(name):
        if found.level == "problem" and not (found.kind == "caption" and captioned):
            raise JobError(found.message, "Open the data set and mend it there.")


def about_base(base: BaseInfo) -> list[Note]:
    notes: list[Note] = []
    if base.id == "starter":
        notes.append(("todo", "The Starter is a practice model for small icons; photos want FLUX or SDXL", "", ""))
    if on_this_computer(base):
        words = "is part of Darkroom" if base.name_or_path.startswith("assets/") else "is on this computer"
        notes.append(("ok", f"The base model {words}", "", ""))
    elif base.gated and not get_token():
        notes.append(
            (
                "look",
                f"{base.title}: accept its licence on its page, then set a token",
                "Set the token",
                "settings",
            )
        )
    else:
        notes.append(("todo", f"{base.title} is fetched first: {base.size_gb:.0f} GB", "", ""))
    wanted = _memory_of(base)
    found = card()
    if wanted and found is None:
        notes.append(("look", f"It wants a graphics card with {wanted} GB; none was found here", "", ""))
    elif wanted and found and found.gigabytes < wanted - 1:
        notes.append(
            (
                "look",
                f"It wants a card with {wanted} GB; your {found.name} has {found.gigabytes:.0f} GB",
                "",
                "",
            )
        )
    return notes


def about_references(base: BaseInfo, draft: Draft) -> list[Note]:
    """Whether the pictures come with what they were made from, where the base model learns from that."""
    if base.needs != "reference picture" or any(form.get(draft, f"datasets.0.{key}", None) for key in ("control_path", "controls")):
        return []
    return [("look", f"{base.title} learns from what each picture was made from: give the folder with the reference pictures", "", "")]


def _memory_of(base: BaseInfo) -> int | None:
    """GB of the card that the base model's preset is made for: presets are named <family>_<network>_<vram>gb."""
    parts = Path(base.preset).stem.split("_")
    return next((int(part[:-2]) for part in parts if part.endswith("gb") and part[:-2].isdigit()), None)


def on_this_computer(base: BaseInfo) -> bool:
    """Whether the base model needs no download, as far as can be seen without opening it."""
    if locate(base.name_or_path):
        return True
    index = try_to_load_from_cache(base.name_or_path, "model_index.json") if base.name_or_path.count("/") == 1 else None
    parts = ("transformer", "unet")
    return isinstance(index, str) and any(file for part in parts for file in (Path(index).parent / part).glob("*.safetensors"))


def disk_needed(draft: Draft, base: BaseInfo | None) -> float:
    """GB for the download, the checkpoints and their exact states: an estimate from above, by the rank."""
    size = base.size_gb if base else 10.0
    download = size if base and not on_this_computer(base) else 0.0
    if form.get(draft, "network.type", "lora") == "full":
        weights, state = size, 6 * size
    else:
        rank = form.get(draft, "network.rank", 16)
        weights = size * 0.01 * (rank if isinstance(rank, int | float) else 16) / 16
        state = 8 * weights  # three times in fp32, and room to write the next one
    kept = form.get(draft, "save.max_step_saves_to_keep", 8)
    states = form.get(draft, "save.max_states_to_keep", 1)
    many, few = (value if isinstance(value, int) else 8 for value in (kept, states))
    return download + (many + 1) * weights + (few + 1) * state + 0.05


def _size(gigabytes: float) -> str:
    return f"{gigabytes:.1f} GB" if gigabytes < 10 else f"{gigabytes:,.0f} GB"

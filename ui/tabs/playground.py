"""Sample, Playground: try a prompt with a checkpoint, a file, or the base model alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from engine.errors import JobError
from engine.families.catalog import BASES, FAMILIES, base_of, defaults_of
from engine.jobs import GenerateJob, LoraFile, ModelSection, SampleItem, SampleSettings, TrainJob

from .. import pieces
from ..pieces import Amount, Choice, Number, Options, Piece, Words
from ..sheet import progress
from ..studio import Studio
from ..wiring import Updates, on

NONE, IN_USE = "No LoRA", " · in use"
FORMATS = {"Square": 1.0, "Portrait": 3 / 4, "Wide": 16 / 9}


@dataclass
class Playground:
    lora: gr.Dropdown
    make: gr.Button
    outputs: list[Any]
    inputs: list[Any]
    open: Callable[[str, str, str], Updates]
    """(LoRA, prompt, format) → updates for a person who comes to this page."""


def build(studio: Studio) -> Playground:
    runner = studio.runner
    begin = defaults_of(BASES[0].name_or_path)
    with gr.Row(elem_classes="split"):
        with gr.Column(scale=3, min_width=300, elem_classes="card form"):
            prompt = Words(label="Prompt", lines=3, elem_id="prompt")
            lora = Choice(loras(studio), value="", label="LoRA", elem_id="play-lora")
            own = gr.File(
                file_types=[".safetensors"],
                label="A .safetensors file",
                show_label=False,
                height=84,
                elem_classes="small-drop",
                elem_id="play-file",
            )
            base = Choice(
                [(one.title, one.name_or_path) for one in BASES],
                value=BASES[0].name_or_path,
                label="Base model",
                elem_id="play-base",
            )
            shown = gr.File(
                file_count="multiple", file_types=["image"], label="Reference pictures, or the first frame", height=110, visible=False,
                elem_classes="small-drop", elem_id="play-references",
            )  # fmt: skip
            strength = Amount(
                0,
                2,
                1.0,
                step=0.05,
                label="Strength",
                info="1 is as trained. Lower mixes in more of the base.",
            )
            shape = Options(list(FORMATS), value="Square", label="Format", elem_classes="segments")
            with gr.Accordion("More", open=False):
                with gr.Row():
                    pixels: dict[str, Any] = {"precision": 0, "minimum": 16, "maximum": 8192, "min_width": 90}
                    width, height = (
                        Number(begin.width, label="Width", **pixels),
                        Number(begin.height, label="Height", **pixels),
                    )
                steps = Number(
                    begin.sample_steps,
                    label="Steps",
                    precision=0,
                    minimum=1,
                    maximum=1000,
                    info="More is finer and slower.",
                )
                guidance = Number(
                    begin.guidance_scale,
                    label="Guidance",
                    minimum=0,
                    maximum=100,
                    info="How closely the prompt is followed.",
                )
                seed = Number(42, label="Seed", precision=0, minimum=0, info="The same seed gives the same picture.")
                count = Amount(1, 4, 1, step=1, label="Pictures", info="Each takes the next seed.")
            make = gr.Button("Make a picture", variant="primary", size="lg", elem_id="make")
            halt = gr.Button("Stop", size="md", visible=False)
        with gr.Column(scale=7, min_width=320):
            told = Piece("", elem_id="play-told")
            results = gr.Gallery(
                [], columns=2, height=None, object_fit="contain", show_label=False, interactive=False, buttons=["download"], elem_id="results", visible=False,
            )  # fmt: skip
            facts = Piece(
                pieces.nothing("Nothing drawn yet", "Write a prompt, pick a checkpoint, and make a picture."),
                elem_id="play-facts",
            )
    sizes = [width, height, steps, guidance]
    outputs = [prompt, lora, base, shown, *sizes, told, results, facts, halt]

    def wishes(name: str, form: str) -> Updates:
        """What the base model asks for, in this format."""
        wanted = defaults_of(name)
        area, ratio = wanted.width * wanted.height, FORMATS[form]
        across = max(16, round((area * ratio) ** 0.5 / 16) * 16)
        return {
            shown: gr.update(visible=_takes_pictures(name)),
            width: across,
            height: max(16, round(area / across / 16) * 16),
            steps: wanted.sample_steps,
            guidance: wanted.guidance_scale,
        }

    def of_lora(path: str, form: str, words: str) -> Updates:
        """The base model that the checkpoint was trained on, and a prompt of its run."""
        job = _job_of(studio, path)
        if job is None:
            return {base: gr.update(interactive=True)}
        name = job.model.name_or_path
        known = [(one.title, one.name_or_path) for one in BASES]
        proposal = next(iter(job.sample.prompts), "").replace("[trigger]", job.trigger_word or "")
        return {
            base: gr.update(choices=known if base_of(name) else [*known, (name, name)], value=name, interactive=False),
            prompt: words or proposal,
        } | wishes(name, form)

    async def draw(*given: Any) -> AsyncIterator[Updates]:
        try:
            name = runner.submit(_job(studio, *given))
        except (JobError, ValueError, OSError) as error:
            gr.Warning(escape(str(error)), title="Nothing was drawn")
            return
        studio.memory.put(drawing=name)
        async for updates in follow(name):
            yield updates

    async def follow(name: str | None) -> AsyncIterator[Updates]:
        """A closed tab ends this, never the drawing."""
        going, seen = True, -1
        while going and name:
            going, words, pictures = progress(studio, name)
            updates: Updates = {
                told: pieces.notes([("todo" if going else "look", words, "", "")]) if words else "",
                halt: gr.update(visible=going),
            }
            yield updates | (_results(name, pictures) if len(pictures) != seen else {})
            seen = len(pictures)
            await asyncio.sleep(0.4 if going else 0)

    def _results(name: str, pictures: list[tuple[Path, int, str]]) -> Updates:
        if not pictures:
            return {}
        record = runner.get(name)
        job = studio.job(record) if record else None
        images = [(str(path), f"seed {number}") for path, number, _ in pictures]
        columns = 1 if len(images) == 1 else 2
        return {
            results: gr.update(value=images, visible=True, columns=columns, selected_index=None),
            facts: pieces.facts(_facts(job, pictures), ""),
        }

    def open_page(path: str, words: str, form: str) -> Updates:
        """The checkpoints that there are; for who has written nothing yet, the one in use with a prompt of its run."""
        choices = loras(studio)
        updates: Updates = {lora: gr.update(choices=choices)}
        if not words and not path and len(choices) > 1:
            best = next((one for words_, one in choices if words_.endswith(IN_USE)), choices[1][1])
            updates = {lora: gr.update(choices=choices, value=best)} | of_lora(best, form, "")
        name = studio.memory.get("drawing")
        record = runner.get(name) if name else None
        if record:
            _, _, pictures = progress(studio, record.name)
            updates |= _results(record.name, [one for one in pictures if one[0].exists()])
        return updates

    on(lora.change, of_lora, [lora, shape, prompt], outputs)
    on([base.input, shape.input], wishes, [base, shape], outputs)
    on(
        own.change,
        lambda file: {base: gr.update(interactive=True)} | ({lora: ""} if file else {}),
        own,
        outputs,
    )
    on(
        make.click,
        draw,
        [prompt, lora, own, base, shown, strength, width, height, steps, guidance, seed, count],
        outputs,
    )
    on(halt.click, lambda: runner.ask(studio.memory.get("drawing"), "stop"), None, None)
    return Playground(lora, make, outputs, [lora, prompt, shape], open_page)


def loras(studio: Studio) -> list[tuple[str, str]]:
    """(words, path) of every checkpoint, the newest first; the marked ones say so."""
    found = [(NONE, "")]
    for record in studio.trainings():
        chosen = studio.chosen(record)
        for one in reversed(studio.checkpoints(record)):
            found.append(
                (
                    f"{record.name} · step {one.step:,}{IN_USE if one.step == chosen else ''}",
                    str(one.path),
                )
            )
    return found


def _job_of(studio: Studio, path: str) -> TrainJob | None:
    record = next((one for one in studio.trainings() if path and Path(path).parent == one.folder), None)
    job = studio.job(record) if record else None
    return job if isinstance(job, TrainJob) else None


def _job(
    studio: Studio, prompt: str, lora: str, own: str | None, base: str, shown: list[str] | None, strength: float,
    width: float, height: float, steps: float, guidance: float, seed: float, count: float,
) -> GenerateJob:  # fmt: skip
    if not prompt.strip():
        raise JobError("There is no prompt.", "Say what to draw.")
    path = own or lora
    trained = _job_of(studio, path)
    trigger = (trained.trigger_word if trained else None) or ""
    given = {
        "width": width,
        "height": height,
        "sample_steps": steps,
        "guidance_scale": guidance,
        "seed": seed,
    }
    wanted: dict[str, Any] = {name: value for name, value in given.items() if value is not None}  # an emptied field
    pictures = (shown or []) if _takes_pictures(base) else []
    first, second, third = [*pictures, None, None, None][:3]
    item = SampleItem(prompt=prompt.strip().replace("[trigger]", trigger), ctrl_img_1=first, ctrl_img_2=second, ctrl_img_3=third)
    return GenerateJob(
        name=f"drawing-{time.time_ns() // 1_000_000}",
        model=trained.model.for_drawing() if trained else ModelSection(name_or_path=base),
        loras=[LoraFile(path=path, strength=strength, label=Path(path).stem)] if path else [],
        with_base=not path,
        sample=SampleSettings(samples=[item] * int(count), format="png", **wanted),
    )


def _takes_pictures(name: str) -> bool:
    """Whether the base model draws from reference pictures, or from a first frame."""
    base = base_of(name)
    return base is not None and (base.needs is not None or FAMILIES[base.family].task == "edit")


def _facts(job: Any, pictures: list[tuple[Path, int, str]]) -> list[tuple[str, str]]:
    if not isinstance(job, GenerateJob):
        return []
    sample, lora = job.sample, job.loras[0] if job.loras else None
    wanted = defaults_of(job.model.name_or_path, job.model.arch)
    title = base_of(job.model.name_or_path)
    return [
        ("prompt", pictures[0][2]),
        ("LoRA", f"{lora.label}, strength {lora.strength:g}" if lora else "none"),
        ("base", title.title if title else job.model.name_or_path),
        ("size", f"{sample.width or wanted.width} × {sample.height or wanted.height}"),
        ("steps", str(sample.sample_steps or wanted.sample_steps)),
        (
            "guidance",
            f"{wanted.guidance_scale if sample.guidance_scale is None else sample.guidance_scale:g}",
        ),
        ("seed", ", ".join(str(number) for _, number, _ in pictures)),
    ]

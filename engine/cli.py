"""The command line. What takes long to import is imported inside the commands, so that --help answers at once."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .cli_data import data
from .cli_runs import GoOn, ask_run, list_runs, push_run, resume_run
from .cli_said import load, load_extensions, table
from .errors import JobError

app = typer.Typer(
    help="Darkroom: teach an image model your own pictures.\n\n"
    "Without a command, launch.sh opens the app. `launch.sh test` runs the tests.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
lora = typer.Typer(help="Look into LoRA files and give them to other programs.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(lora, name="lora")
app.add_typer(data, name="data")
app.command("runs")(list_runs)
app.command("resume")(resume_run)
app.command("ask")(ask_run)
app.command("push")(push_run)

JobFile = Annotated[Path, typer.Argument(help="A job: YAML, as in presets/train. AI Toolkit's files are read too.", metavar="JOB")]


class Form(StrEnum):
    diffusers = "diffusers"
    comfyui = "comfyui"
    kohya = "kohya"


@app.callback()
def every_command() -> None:
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace", line_buffering=True)  # a console that lacks a letter stops no run


@app.command()
def run(
    jobs: Annotated[list[Path], typer.Argument(help="Jobs: YAML, as in presets/train. Done one after another.", metavar="JOB...")],
    name: Annotated[str | None, typer.Option("--name", "-n", help="Name of the run, instead of the job's.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Begin anew: what an earlier run of that name left is deleted.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for runs, instead of the one in the settings.")] = None,
    step: Annotated[
        int | None, typer.Option("--from", help="Go back to that step of the run first, and on with the settings of this job.", min=1)
    ] = None,
    recover: Annotated[bool, typer.Option("--recover", "-r", help="Go on with the next job when one fails.")] = False,
    go_on: GoOn = False,
) -> None:
    """Do jobs: train, generate, whatever their kind says.

    A run that was stopped or cut off goes on where it was when the same job is run again. Where its data has changed since, it says how
    and asks first; where nobody can answer, it does not go on unless --go-on says so.
    Ctrl-C saves and ends, a second one ends at once.
    Exit code: 0 done or stopped, 1 failed, 2 a job that cannot be done as it stands.
    """
    if len(jobs) > 1 and (name or step):
        raise JobError(f"{'--name' if name else '--from'} is for one job.", "Give it with a single file.")
    if step and restart:
        raise JobError("--from keeps what --restart deletes.", "Give one of the two.")
    from .running import run_jobs

    load_extensions()
    loaded = [load(path, name) for path in jobs]  # a mistake in the last one is told before the first begins
    raise typer.Exit(run_jobs(loaded, output, restart, recover, step, go_on))


@app.command()
def check(job: JobFile) -> None:
    """Look for mistakes in a job, its data and its base model. Nothing is trained, loaded or downloaded."""
    from .check import check_job

    load_extensions()
    problems = 0
    for finding in check_job(load(job)):
        problems += not finding.ok
        print(f"{'ok      ' if finding.ok else 'problem '} {finding.message}")
    if problems:
        raise typer.Exit(2)


@app.command()
def plan(job: JobFile) -> None:
    """Reckon how much memory a training takes, and the card that it fits on. Nothing is loaded or downloaded."""
    from .jobs import TrainJob
    from .plan import plan as reckon
    from .training.before import check_before

    load_extensions()
    loaded = load(job)
    if not isinstance(loaded, TrainJob):
        raise JobError(f"{job} is a {loaded.kind} job.", "Only training is reckoned.")
    for _ in check_before(loaded):  # what cannot be needs no reckoning
        pass
    made = reckon(loaded)
    print(f"{made.parameters / 1e6:,.0f} million parameters; {made.trained / 1e6:,.2f} million are trained.")
    rows = [(stage.name, f"{stage.gb:5.1f} GB", ", ".join(f"{what} {size:.1f}" for what, size in stage.parts)) for stage in made.stages]
    table(rows)
    fits = f"It fits a card with {made.card} GB" if made.card else "It fits no single card"
    print(f"Most at once: {made.peak.gb:.1f} GB ({made.peak.name.lower()}). {fits}, by an estimate that may be off by a fifth.")


@app.command()
def families() -> None:
    """List the model families and the base models that the app offers."""
    from .families.catalog import BASES, FAMILIES

    load_extensions()
    print("Families")
    table([("  arch", "title", "makes"), *((f"  {info.name}", info.title, info.task) for info in FAMILIES.values())])
    print("\nBase models")
    rows = [("  title", "size", "licence", "model.name_or_path")]
    for base in BASES:
        licence = f"{base.licence}{', must be accepted on its page' if base.gated else ''}"
        rows.append(
            (
                f"  {base.title}",
                f"{base.size_gb:.1f} GB" if base.size_gb >= 0.1 else f"{base.size_gb * 1000:.0f} MB",
                licence,
                base.name_or_path,
            )
        )
    table(rows)


@app.command()
def doctor() -> None:
    """Check versions, graphics card, memory, disk and libraries. Exit code 1 if something is wrong."""
    from .doctor import examine

    problems = 0
    for finding in examine():
        problems += not finding.ok
        print(f"{'ok      ' if finding.ok else 'problem '} {finding.message}")
    print(f"\n{'All is well.' if not problems else f'{problems} to look at.'}")
    if problems:
        raise typer.Exit(1)


@app.command(hidden=True)
def docs() -> None:
    """Write what of docs is made from the program itself: jobs.md, models.md, the picture of noise levels."""
    from .reference import write_reference

    for path in write_reference():
        print(path)


@lora.command("inspect")
def inspect_file(file: Annotated[Path, typer.Argument(help="A LoRA, .safetensors.", metavar="FILE")]) -> None:
    """Show rank, family, training facts and how much each block of the model is changed."""
    from .tools import inspect_lora

    report = inspect_lora(file)
    rows = [
        ("size", f"{report.size / 1e6:.1f} MB"),
        ("names", report.form),
        ("family", report.family or "not known"),
        ("base", report.base),
        ("kind", report.kind),
        ("rank", _numbers(report.ranks)),
        ("alpha", _numbers(report.alphas)),
        ("precision", report.dtype),
        ("layers", report.layers),
        ("trigger", report.trigger),
        ("steps", report.steps),
    ]
    print(report.name)
    table([(f"  {title}", str(value)) for title, value in rows if value is not None])
    print("\nChange of each block")
    most = max((norm for _, norm in report.blocks), default=0) or 1
    table([(f"  {block}", f"{norm:.3f}", "#" * round(30 * norm / most)) for block, norm in report.blocks])


@lora.command("export")
def export_file(
    file: Annotated[Path, typer.Argument(help="A LoRA, .safetensors.", metavar="FILE")],
    form: Annotated[Form, typer.Option("--for", help="Whose names the new file has. Forge reads ComfyUI's.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The new file. Left out: beside the old one.")] = None,
) -> None:
    """Write a LoRA as another program reads it. The original stays as it is."""
    from .events import Warned
    from .tools import export_lora

    notes: list[Warned] = []
    print(export_lora(file, output or file.with_name(f"{file.stem}_{form.value}.safetensors"), form.value, notes=notes))
    for note in notes:
        print(note.message, note.hint, file=sys.stderr)


def _numbers(values: list) -> str:
    return ", ".join(f"{value:g}" for value in values)

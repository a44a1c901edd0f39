"""The command line. What takes long to import is imported inside the commands, so that --help answers at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .errors import JobError

if TYPE_CHECKING:
    from .data.report import Change, Report
    from .data.report.fixes import Left
    from .jobs import Dataset, Job, ModelSection

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
data = typer.Typer(help="Look at data sets, mend them, look after the caches.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(data, name="data")

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
    recover: Annotated[bool, typer.Option("--recover", "-r", help="Go on with the next job when one fails.")] = False,
) -> None:
    """Do jobs: train, generate, whatever their kind says.

    A run that was stopped or cut off goes on where it was when the same job is run again.
    Ctrl-C saves and ends, a second one ends at once.
    Exit code: 0 done or stopped, 1 failed, 2 a job that cannot be done as it stands.
    """
    if name and len(jobs) > 1:
        raise JobError("--name is for one job.", "Give it with a single file.")
    from .running import run_jobs

    _load_extensions()
    loaded = [_load(path, name) for path in jobs]  # a mistake in the last one is told before the first begins
    raise typer.Exit(run_jobs(loaded, output, restart, recover))


@app.command()
def check(job: JobFile) -> None:
    """Look for mistakes in a job, its data and its base model. Nothing is trained, loaded or downloaded."""
    from .check import check_job

    _load_extensions()
    problems = 0
    for finding in check_job(_load(job)):
        problems += not finding.ok
        print(f"{'ok      ' if finding.ok else 'problem '} {finding.message}")
    if problems:
        raise typer.Exit(2)


@app.command()
def plan(job: JobFile) -> None:
    """Reckon how much memory a training takes, and the card that it fits on. Nothing is loaded or downloaded."""
    from .jobs import TrainJob
    from .plan import plan as reckon

    _load_extensions()
    loaded = _load(job)
    if not isinstance(loaded, TrainJob):
        raise JobError(f"{job} is a {loaded.kind} job.", "Only training is reckoned.")
    made = reckon(loaded)
    print(f"{made.parameters / 1e6:,.0f} million parameters; {made.trained / 1e6:,.2f} million are trained.")
    rows = [(stage.name, f"{stage.gb:5.1f} GB", ", ".join(f"{what} {size:.1f}" for what, size in stage.parts)) for stage in made.stages]
    _table(rows)
    fits = f"It fits a card with {made.card} GB" if made.card else "It fits no single card"
    print(f"Most at once: {made.peak.gb:.1f} GB ({made.peak.name.lower()}). {fits}, by an estimate that may be off by a fifth.")


@app.command()
def families() -> None:
    """List the model families and the base models that the app offers."""
    from .families.catalog import BASES, FAMILIES

    _load_extensions()
    print("Families")
    _table([("  arch", "title", "makes"), *((f"  {info.name}", info.title, info.task) for info in FAMILIES.values())])
    print("\nBase models")
    rows = [("  title", "size", "licence", "model.name_or_path")]
    for base in BASES:
        licence = f"{base.licence}{', must be accepted on its page' if base.gated else ''}"
        rows.append((f"  {base.title}", f"{base.size_gb:.1f} GB" if base.size_gb >= 0.1 else f"{base.size_gb * 1000:.0f} MB", licence, base.name_or_path))
    _table(rows)


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


@data.command("preview")
def preview_data(
    source: Annotated[Path, typer.Argument(help="A folder of pictures, or a job that trains.", metavar="FOLDER|JOB")],
    resolution: Annotated[int | None, typer.Option("--resolution", help="Instead of the job's, or of what the model is made for.", min=16, max=4096)] = None,
    base: Annotated[str | None, typer.Option("--base", help="Base model, by its id or path. Left out: the job's.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the contact sheets. Left out: one in the cache.")] = None,
    most: Annotated[int, typer.Option("--most", help="So many pictures are listed and drawn.", min=0)] = 200,
) -> None:
    """Show the size at which each picture is trained, and what of it is cut off. Nothing is trained or loaded."""
    from .data.batches import Batches
    from .data.buckets import place, pools_of
    from .data.preview import bucket_counts, contact_sheets, preview, told
    from .data.setup import open_setup
    from .data.words import count, printable

    _load_extensions()
    setup = open_setup(source, resolution, base)
    folder = setup.place_for(out)
    for note in setup.notes:
        print(f"{note.message} {note.hint}".rstrip())
    shown = preview(setup.datasets, setup.items, setup.resolution, setup.multiple)
    rows = [(printable(one.item.path.name), f"{one.item.width} × {one.item.height}", told(one)) for one in shown[:most]]
    if rows:
        _table(rows)
    if len(shown) > most:
        print(f"and {count(len(shown) - most, 'more', 'more')}; --most shows them.")
    counts = bucket_counts(shown)
    print(f"\n{count(len(shown), 'picture')} in {count(len(counts), 'size')}")
    _table([(f"  {width} × {height}", count(number, "picture")) for (width, height), number in list(counts.items())[: max(most, 1)]])
    placed = place(setup.datasets, setup.items, setup.resolution, setup.multiple)
    batches = Batches(placed, setup.batch_size, setup.seed, pools_of(setup.datasets)[1])
    print(f"\n{count(batches.steps_per_epoch, 'batch', 'batches')} of {setup.batch_size} in a round; {count(batches.filled, 'showing')} only to fill them up.")
    for path in contact_sheets(shown[:most], folder):
        print(path)


@data.command("report")
def report_data(
    target: Annotated[str, typer.Argument(help="A folder with pictures, or a job.", metavar="FOLDER|JOB")],
    base: Annotated[str | None, typer.Option("--base", help="Base model to train: its id or name. Tells the size, and how long captions may be.")] = None,
    trigger: Annotated[str | None, typer.Option("--trigger", help="Trigger words that captions should say.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object a data set in a list.")] = False,
) -> None:
    """Look at data sets: what cannot be read, comes twice, is too small, has no caption. Nothing is changed.

    Exit code 2 if training would stop at something.
    """
    import json

    from .data.report import report
    from .jobs import ModelSection

    reports = [
        report(dataset, dataset.trigger_word or words, ModelSection(name_or_path=base) if base else model)
        for dataset, words, model in _data_of(target, trigger)
    ]
    if as_json:
        print(json.dumps([one.data() for one in reports], ensure_ascii=False, indent=1))
    else:
        for one in reports:
            _print_report(one)
    if any(one.problems for one in reports):
        raise typer.Exit(2)


@data.command("fix")
def fix_data(
    folder: Annotated[str, typer.Argument(help="A folder with pictures.", metavar="FOLDER")],
    kinds: Annotated[list[str], typer.Option("--kind", "-k", help="What to mend, as the report calls it. May be given several times.")],
    to: Annotated[Path | None, typer.Option("--to", help="New folder for a mended copy. Needed for folders that the app did not make.")] = None,
    trigger: Annotated[str | None, typer.Option("--trigger", help="Trigger words, for --kind trigger.")] = None,
    template: Annotated[str, typer.Option("--template", help="Caption of pictures without one; {name} is what the file is called, {folder} its folder.")] = "{name}",
    caption_ext: Annotated[str, typer.Option("--caption-ext", help="Ending of the caption files.")] = ".txt",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Mend what the report found. A folder that the app did not make stays as it is: give --to for a copy.

    What is mended in a data set of the app can be taken back with data undo.
    """
    from .data.report import mend, mend_copy, plan_fix
    from .data.report.fixes import Options
    from .data.report.mending import described
    from .jobs import Dataset

    dataset, options = Dataset(path=folder, caption_ext=caption_ext), Options(caption_ext, template)
    if dry_run:
        for kind in kinds:
            changes, left = plan_fix(dataset, kind, options, trigger)
            _print_changes(changes, left)
        return
    if to is not None:
        made = [mend_copy(dataset, to, kinds, options, trigger)]
    else:
        made = [mend(dataset, kind, options, trigger) for kind in kinds]
    for one in made:
        _print_changes(one.changes, one.left)
        print(f"{described(one)} {one.folder}")


@data.command("undo")
def undo_data(folder: Annotated[str, typer.Argument(help="A data set of the app.", metavar="FOLDER")]) -> None:
    """Take back what was mended last in a data set."""
    from .data.report import undo
    from .settings import resolve

    step = undo(resolve(folder))
    print(f"Taken back: {step.what}, {step.files} {'file' if step.files == 1 else 'files'}.")


@data.command("import")
def import_data(
    archive: Annotated[Path, typer.Argument(help="A zip with pictures and captions.", metavar="ZIP")],
    name: Annotated[str | None, typer.Option("--name", "-n", help="Name of the data set, instead of the zip's.")] = None,
) -> None:
    """Make a data set of the app from a zip."""
    from .data.zips import import_zip

    taken = import_zip(archive, name)
    for file, reason in taken.refused:
        print(f"left out: {file} {reason}.")
    print(f"{taken.files:,} files in {taken.folder}")


@data.command("export")
def export_data(
    folder: Annotated[str, typer.Argument(help="A folder with pictures.", metavar="FOLDER")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The zip. Left out: <folder>.zip in the current folder.")] = None,
) -> None:
    """Write a data set as a zip. The folder stays as it is."""
    from .data.zips import export_zip

    print(export_zip(Path(folder), output))


@data.command("cache")
def show_cache(
    clean: Annotated[bool, typer.Option("--clean", help="Delete what was used longest ago, down to --to or to cache_limit_gb.")] = False,
    to: Annotated[float | None, typer.Option("--to", help="GB that may stay, with --clean. 0: nothing but what is in use.", min=0)] = None,
) -> None:
    """Show what the caches hold, and make room. What a running job uses is not deleted; all else is made again when it is needed."""
    from .data.room import GB, clean_up, pieces
    from .settings import load_settings

    settings = load_settings()
    found = pieces()
    sizes = {kind: [piece for piece in found if piece.kind == kind] for kind in sorted({piece.kind for piece in found})}
    print(settings.folder("cache"))
    rows = [(f"  {kind}", f"{sum(one.size for one in some) / GB:8.2f} GB", f"{len(some):,}", f"used {_days(max(one.used for one in some))}") for kind, some in sizes.items()]
    _table([*rows, ("  all", f"{sum(one.size for one in found) / GB:8.2f} GB", f"{len(found):,}", "")])
    limit = settings.cache_limit_gb if to is None else to
    print(f"cache_limit_gb: {'no limit' if settings.cache_limit_gb is None else f'{settings.cache_limit_gb:g}'}")
    if not clean:
        return
    if limit is None:
        raise JobError("There is no limit to clean down to.", "Give --to.")
    print(f"Deleting what was used longest ago, until {limit:g} GB are left.")
    done = clean_up(limit * GB)
    busy = f" {done.busy / GB:.2f} GB are in use and stay." if done.busy else ""
    print(f"{done.deleted:,} deleted, {done.freed / GB:.2f} GB freed, {done.size / GB:.2f} GB left.{busy}")


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
    _table([(f"  {title}", str(value)) for title, value in rows if value is not None])
    print("\nChange of each block")
    most = max((norm for _, norm in report.blocks), default=0) or 1
    _table([(f"  {block}", f"{norm:.3f}", "#" * round(30 * norm / most)) for block, norm in report.blocks])


@lora.command("export")
def export_file(
    file: Annotated[Path, typer.Argument(help="A LoRA, .safetensors.", metavar="FILE")],
    form: Annotated[Form, typer.Option("--for", help="Whose names the new file has. Forge reads ComfyUI's.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The new file. Left out: beside the old one.")] = None,
) -> None:
    """Write a LoRA as another program reads it. The original stays as it is."""
    from .tools import export_lora

    print(export_lora(file, output or file.with_name(f"{file.stem}_{form.value}.safetensors"), form.value))


def _data_of(target: str, trigger: str | None) -> list[tuple[Dataset, str | None, ModelSection | None]]:
    """The data sets of a folder or a job, each with the trigger words and the base model."""
    from .jobs import Dataset, TrainJob
    from .settings import resolve

    place = resolve(target)
    if place.suffix.lower() not in {".yaml", ".yml", ".json"} or place.is_dir():
        return [(Dataset(path=target), trigger, None)]
    _load_extensions()
    job = _load(Path(target))
    if not isinstance(job, TrainJob):
        raise JobError(f"{target} is a {job.kind} job.", "Only data sets of a training are looked at.")
    return [(dataset, trigger or job.trigger_word, job.model) for dataset in job.datasets]


def _print_report(one: Report) -> None:
    from .data.words import printable

    counts = one.counts
    print(f"{printable(one.folder)}: {counts.pictures:,} pictures, {counts.captions:,} captions")
    for finding in one.findings:
        mend = f"  (data fix --kind {finding.kind})" if finding.fix else ""
        print(f"{finding.level:8} {printable(finding.message)}{mend}")
    for title in ("megapixels", "shapes", "sizes", "buckets", "lengths", "words"):
        if table := getattr(counts, title)[:12]:
            most = max(number for _, number in table)
            print(f"\n{'length of captions' if title == 'lengths' else title}")
            _table([(f"  {label}", f"{number:>7,}", "#" * max(1, round(30 * number / most)) if number else "") for label, number in table])


def _print_changes(changes: Sequence[Change], left: Sequence[Left]) -> None:
    from .data.words import printable

    for change in changes:
        print(printable(change.sentence))
    for one in left:
        print(f"left: {printable(one.file)}, {one.reason}")
    if not changes and not left:
        print("There is nothing to mend.")


def _days(used: float) -> str:
    import time

    days = int((time.time() - used) // 86400)
    return "today" if days < 1 else "yesterday" if days == 1 else f"{days} days ago"


def _load(path: Path, name: str | None = None) -> Job:
    from .events import describe
    from .jobs import load_job_with_notes
    from .settings import resolve

    job, notes = load_job_with_notes(resolve(path), name)
    for note in notes:
        print(describe(note), file=sys.stderr)
    return job


def _load_extensions() -> None:
    from .events import describe
    from .extensions import load_extensions

    for warning in load_extensions():
        print(describe(warning), file=sys.stderr)


def _numbers(values: list) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

"""Data sets and caches on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_said import load, load_extensions, table
from .errors import JobError

if TYPE_CHECKING:
    from .data.report import Change, Report
    from .data.report.fixes import Left
    from .jobs import Dataset, ModelSection

data = typer.Typer(help="Look at data sets, mend them, look after the caches.", no_args_is_help=True, rich_markup_mode=None)


@data.command("preview")
def preview_data(
    source: Annotated[Path, typer.Argument(help="A folder of pictures, or a job that trains.", metavar="FOLDER|JOB")],
    resolution: Annotated[
        int | None, typer.Option("--resolution", help="Instead of the job's, or of what the model is made for.", min=16, max=4096)
    ] = None,
    base: Annotated[str | None, typer.Option("--base", help="Base model, by its id or path. Left out: the job's.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the contact sheets. Left out: one in the cache.")
    ] = None,
    most: Annotated[int, typer.Option("--most", help="So many pictures are listed and drawn.", min=0)] = 200,
) -> None:
    """Show the size at which each picture is trained, and what of it is cut off. Nothing is trained or loaded."""
    from .data.batches import Batches
    from .data.preview import bucket_counts, contact_sheets, preview, told
    from .data.setup import open_setup
    from .data.sizes.buckets import place, pools_of
    from .data.sizes.references import with_own_sizes
    from .data.words import count, printable

    load_extensions()
    setup = open_setup(source, resolution, base)
    folder = setup.place_for(output)
    for note in setup.notes:
        print(f"{note.message} {note.hint}".rstrip())
    shown = preview(setup.datasets, setup.items, setup.resolution, setup.multiple, setup.reference_size)
    rows = [(printable(one.item.path.name), f"{one.item.width} × {one.item.height}", told(one)) for one in shown[:most]]
    if rows:
        table(rows)
    if len(shown) > most:
        print(f"and {count(len(shown) - most, 'more', 'more')}; --most shows them.")
    counts = bucket_counts(shown)
    print(f"\n{count(len(shown), 'picture')} in {count(len(counts), 'size')}")
    table([(f"  {width} × {height}", count(number, "picture")) for (width, height), number in list(counts.items())[: max(most, 1)]])
    placed = with_own_sizes(setup.reference_size, setup.items, place(setup.datasets, setup.items, setup.resolution, setup.multiple))
    batches = Batches(placed, setup.batch_size, setup.seed, pools_of(setup.datasets)[1])
    print(
        f"\n{count(batches.steps_per_epoch, 'batch', 'batches')} of {setup.batch_size} in a round; {count(batches.filled, 'showing')} only to fill them up."
    )
    for path in contact_sheets(shown[:most], folder):
        print(path)


@data.command("report")
def report_data(
    target: Annotated[str, typer.Argument(help="A folder with pictures, or a job.", metavar="FOLDER|JOB")],
    base: Annotated[
        str | None, typer.Option("--base", help="Base model to train: its id or name. Tells the size, and how long captions may be.")
    ] = None,
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
    to: Annotated[
        Path | None, typer.Option("--to", help="New folder for a mended copy. Needed for folders that the app did not make.")
    ] = None,
    trigger: Annotated[str | None, typer.Option("--trigger", help="Trigger words, for --kind trigger.")] = None,
    template: Annotated[
        str, typer.Option("--template", help="Caption of pictures without one; {name} is what the file is called, {folder} its folder.")
    ] = "{name}",
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
    """Take back what was changed last in a data set: by a fix, or by a run that wrote captions."""
    from .data.report import undo
    from .data.words import count
    from .settings import resolve

    step = undo(resolve(folder))
    print(f"Taken back in {count(step.files - len(step.kept), 'file')}: {step.what}.")
    for one in step.kept:
        print(one.message)


@data.command("import")
def import_data(
    archive: Annotated[Path, typer.Argument(help="A zip with pictures and captions.", metavar="ZIP")],
    name: Annotated[str | None, typer.Option("--name", "-n", help="Name of the data set, instead of the zip's.")] = None,
) -> None:
    """Make a data set of the app from a zip."""
    from .data.files.zips import import_zip

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
    from .data.files.zips import export_zip

    print(export_zip(Path(folder), output))


@data.command("cache")
def show_cache(
    clean: Annotated[bool, typer.Option("--clean", help="Delete what was used longest ago, down to --to or to cache_limit_gb.")] = False,
    to: Annotated[float | None, typer.Option("--to", help="GB that may stay, with --clean. 0: nothing but what is in use.", min=0)] = None,
) -> None:
    """Show what the caches hold, and make room. What a running job uses is not deleted; all else is made again when it is needed."""
    from .data.caches.room import GB, clean_up, pieces
    from .settings import load_settings

    settings = load_settings()
    found = pieces()
    sizes = {kind: [piece for piece in found if piece.kind == kind] for kind in sorted({piece.kind for piece in found})}
    print(settings.folder("cache"))
    rows = [
        (f"  {kind}", f"{sum(one.size for one in some) / GB:8.2f} GB", f"{len(some):,}", f"used {_days(max(one.used for one in some))}")
        for kind, some in sizes.items()
    ]
    table([*rows, ("  all", f"{sum(one.size for one in found) / GB:8.2f} GB", f"{len(found):,}", "")])
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


def _data_of(target: str, trigger: str | None) -> list[tuple[Dataset, str | None, ModelSection | None]]:
    """The data sets of a folder or a job, each with the trigger words and the base model."""
    from .jobs import Dataset, TrainJob
    from .settings import resolve

    place = resolve(target)
    if place.suffix.lower() not in {".yaml", ".yml", ".json"} or place.is_dir():
        return [(Dataset(path=target), trigger, None)]
    load_extensions()
    job = load(Path(target))
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
        if bars := getattr(counts, title)[:12]:
            most = max(number for _, number in bars)
            print(f"\n{'length of captions' if title == 'lengths' else title}")
            table([(f"  {label}", f"{number:>7,}", "#" * max(1, round(30 * number / most)) if number else "") for label, number in bars])


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

"""Fixes, made: in a data set of the app with undo, or in a copy of any folder. A folder elsewhere is never changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import JobError
from ...jobs import Dataset, ModelSection
from ...runs.atomic import put, staging
from ...settings import load_settings, resolve
from ..files.undo import exchange
from ..words import count, printable
from .finding import DONE, FIXES
from .fixes import Change, Left, Options, changes_of
from .making import report


@dataclass(frozen=True)
class Mended:
    """What was done."""

    folder: Path
    changes: list[Change] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    number: int | None = None
    """Of the step that can be taken back; None in a copy, or where nothing was done."""


def is_own(folder: Path) -> bool:
    """Whether a folder is a data set of the app, whose files are copies: only these are changed where they are."""
    place = folder.resolve()
    return place.parent == load_settings().folder("datasets").resolve() and not place.name.startswith(".")


def plan_fix(
    dataset: Dataset,
    kind: str,
    options: Options | None = None,
    trigger: str | None = None,
    model: ModelSection | None = None,
    files: Sequence[Path] | None = None,
) -> tuple[list[Change], list[Left]]:
    """What would be done about the findings of a kind, all of them or those about ``files``; and what would be left, and why."""  # fmt: skip
    if (fix := FIXES.get(kind)) is None:
        raise JobError(f"There is nothing that mends {kind!r}.", f"What can be mended: {', '.join(FIXES)}.")
    if kind == "trigger" and not trigger:
        raise JobError("The trigger words are not known.", "Give them.")
    folder = resolve(dataset.path)
    found = report(dataset, trigger, model, likeness=kind in ("duplicate", "near")).findings
    about = [path for one in found if one.kind == kind and one.level != "ok" for path in one.files]
    chosen = about if files is None else [path for path in about if path in set(files)]
    steps = list(changes_of(fix, chosen, folder, options or Options(dataset.caption_ext)))
    return [one for one in steps if isinstance(one, Change)], [one for one in steps if isinstance(one, Left)]


def mend(
    dataset: Dataset,
    kind: str,
    options: Options | None = None,
    trigger: str | None = None,
    model: ModelSection | None = None,
    files: Sequence[Path] | None = None,
) -> Mended:
    """Mends a data set of the app where it is; ``undo`` takes it back. JobError for any other folder."""  # fmt: skip
    folder = resolve(dataset.path)
    if not is_own(folder):
        raise JobError(
            f"{printable(folder)} is not a data set of the app, so nothing in it is changed.",
            "Make a mended copy of it; on the command line: --to FOLDER.",
        )
    changes, left = plan_fix(dataset, kind, options, trigger, model, files)
    with staging(folder) as stage:
        made, new = _made(changes, stage, left)
        gone = list(dict.fromkeys(place for change in made for place in change.gone))
        number = exchange(folder, DONE[FIXES[kind]], gone, new) if made else None
    return Mended(folder, made, left, number)


def mend_copy(
    dataset: Dataset,
    to: Path,
    kinds: Sequence[str],
    options: Options | None = None,
    trigger: str | None = None,
    model: ModelSection | None = None,
) -> Mended:
    """A copy of the folder at ``to``, mended; the folder itself stays as it is. No links: what is edited in one is not in the other."""  # fmt: skip
    folder, to = resolve(dataset.path), Path(os.path.abspath(to.expanduser()))
    if to.resolve().is_relative_to(folder.resolve()):
        raise JobError(f"{printable(to)} lies in the folder that is to stay as it is.", "Choose another place.")
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise JobError(f"{printable(to)} is there already.", "Choose a new folder.")
    done: list[Change] = []
    left: list[Left] = []
    with staging(to.parent) as stage:
        copy = stage / to.name
        _copy(folder, copy)
        source = folder
        for kind in kinds:
            changes, kept = plan_fix(dataset.model_copy(update={"path": str(source)}), kind, options, trigger, model)
            left += kept
            with staging(stage) as new_files:
                made, new = _made(changes, new_files, left)
                for place in (place for change in made for place in change.gone):
                    (copy / place).unlink(missing_ok=True)
                for place, file in new.items():
                    (copy / place).parent.mkdir(parents=True, exist_ok=True)
                    os.replace(file, copy / place)
            done += made
            source = copy
        put(copy, to)
    return Mended(to, done, left)


def _made(changes: Sequence[Change], stage: Path, left: list[Left]) -> tuple[list[Change], dict[Path, Path]]:
    """The changes whose new files could be written, and where these wait; the others are added to ``left``."""
    made, new = [], {}
    for number, change in enumerate(changes):
        if change.new is not None and change.write is not None:
            target = stage / f"{number}{change.new.suffix}"
            try:
                change.write(target)
            except (JobError, OSError, ValueError) as error:
                left.append(Left(change.new, error.message if isinstance(error, JobError) else f"it cannot be written: {error}"))
                continue
            new[change.new] = target
        made.append(change)
    return made, new


def _copy(source: Path, target: Path) -> None:
    """The files of a folder, without the hidden ones; links to folders are left out, as they are not looked into."""
    for parent, folders, files in os.walk(source):
        folders[:] = [name for name in folders if not name.startswith(".")]
        place = target / Path(parent).relative_to(source)
        place.mkdir(parents=True, exist_ok=True)
        for name in files:
            old, new = Path(parent, name), place / name
            if name.startswith(".") or not old.is_file():
                continue
            try:
                shutil.copy2(old, new)
            except PermissionError:
                continue  # it is locked, which is one of the findings


def described(mended: Mended) -> str:
    """In a sentence: how much was done."""
    rest = f", {count(len(mended.left), 'file')} left as {'it is' if len(mended.left) == 1 else 'they are'}" if mended.left else ""
    return f"{count(len(mended.changes), 'change')} made{rest}."

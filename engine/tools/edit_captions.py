"""The edit_captions job: the same change in all captions of a folder, and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import regex

from ..control import Control
from ..data.captions.text import read_text
from ..data.files.undo import Step, find_step
from ..data.words import count, name_of, printable
from ..errors import JobError
from ..events import Captioned, Event, Finished, Phase, Progress, Warned
from ..jobs.tools.edits import Append, Edit, EditCaptionsJob, Prepend, Replace, Trim
from ..runs.folder import RunFolder, slug
from ..settings import load_settings, resolve
from .targets import caption_place, captions_folder, captions_step, first_of_twins, pictures_in

SECONDS = 2.0
"""Of computing that a regular expression may take for a caption: some never end."""
LONGEST = 100_000
"""Letters; what is longer is no caption, and is left alone."""


def edit_captions(job: EditCaptionsJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    """Apply ``job.edits``, or take back what the run ``job.undo`` wrote."""
    yield from _take_back(job, control) if job.undo else _edit(job, folder, control)


def _edit(job: EditCaptionsJob, folder: RunFolder, control: Control) -> Iterator[Event]:
    source = resolve(job.path).resolve()
    target = source if job.dry_run else captions_folder(job)
    paths = first_of_twins(pictures_in(source))
    step = None if job.dry_run else captions_step(job, folder, target, "Captions changed")
    yield Phase(name="Looking for changes" if job.dry_run else "Changing captions")
    done = changed = without = 0
    for done, path in enumerate(paths, 1):
        place = caption_place(path, source, target, job.caption_ext)
        text = (_begun(step, place) if step and target == source else None) or read_text(path, job.caption_ext)[0]
        if text is None:
            without += 1
        else:
            try:
                new = edited(text, job.edits)
            except TimeoutError:
                raise JobError(
                    f"The regular expression takes too long for the caption of {name_of(path)}.",
                    "Write it simpler; what was changed can be undone.",
                ) from None
            if len(text) > LONGEST:
                yield Warned(message=f"The caption of {name_of(path)} has more than {LONGEST:,} letters, and is left alone.")
            elif new != text or (target != source and not place.exists()):
                changed += new != text
                if step:
                    step.write(place.relative_to(target), new.encode())
                yield Captioned(path=printable(path.relative_to(source)), text=new, before=text, written=step is not None)
        if done % 100 == 0 or done == len(paths):
            yield Progress(done=done, total=len(paths), what="captions")
        if control.stop:
            break
    if without:
        yield Warned(message=f"{count(without, 'picture has', 'pictures have')} no caption.")
    if not changed:
        yield Warned(message="No caption changes.")
    yield Finished(step=done, reason="stopped" if done < len(paths) else "completed")


def _begun(step: Step, place: Path) -> str | None:
    """What a caption was before this run, where the run was here before it was stopped: no edit is made twice."""
    inner = place.relative_to(step.folder)
    if inner not in step.changes or (before := step.original(inner)) is None:
        return None
    return before.decode("utf-8-sig", "replace").strip()


def _take_back(job: EditCaptionsJob, control: Control) -> Iterator[Event]:
    named = str(job.undo)
    places = [resolve(named), load_settings().folder("output") / slug(named)]
    step = next((found for found in map(find_step, places) if found and found.changes), None)
    if step is None:
        raise JobError(
            f"The run {named} changed no captions, or they were taken back before.", "Give the name or the folder of a run that did."
        )
    yield Phase(name="Taking changes back")
    inside, done = resolve(job.path).resolve(), 0
    total = sum((step.folder / place).is_relative_to(inside) for place in step.changes)
    if total < len(step.changes):
        yield Warned(message=f"The run changed captions outside {printable(inside)} too, which stay as they are.")
    for told in step.undo(inside):
        if isinstance(told, Warned):
            yield told
            continue
        done += 1
        yield Captioned(path=printable(told.relative_to(inside)), text=read_text(told, told.suffix)[0] or "")
        yield Progress(done=done, total=total, what="captions")
        if control.stop:
            break
    yield Finished(step=done, reason="stopped" if control.stop and done < total else "completed")


def edited(text: str, edits: Sequence[Edit]) -> str:
    """The caption after all edits; TimeoutError where a regular expression does not come to an end."""
    if len(text) > LONGEST:
        return text
    for edit in edits:
        match edit:
            case Append():
                text = text if text.endswith(edit.text.strip() or edit.text) else text + edit.text
            case Prepend():
                text = text if text.startswith(edit.text.strip() or edit.text) else edit.text + text
            case Replace():
                text = _replaced(text, edit)
            case Trim():
                text = _trimmed(text)
    return text


def _replaced(text: str, edit: Replace) -> str:
    flags = regex.IGNORECASE if edit.ignore_case else 0
    if edit.regular_expression:
        new = regex.sub(edit.find, edit.replacement, text, flags=flags, timeout=SECONDS)
    else:
        new = regex.sub(regex.escape(edit.find), lambda _: edit.replacement, text, flags=flags)
    return new if len(new) <= LONGEST else text


def _trimmed(text: str) -> str:
    text = re.sub(r"[ \t]+", " ", text)
    text = re.sub(r"\s*,(?:\s*,)*\s*", ", ", text)
    return text.strip().removeprefix(",").removesuffix(",").strip()

"""The job that lies on the desk: begun with proposals, changed answer by answer, remembered until it is started. It knows no widget."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.data.words import count
from engine.errors import JobError
from engine.families.catalog import BASES, base_of
from engine.jobs import TrainJob
from engine.settings import resolve

from . import drafts, form, preflight
from .form import Draft
from .studio import Studio

PROPOSED = ("name", "trigger_word", "sample.prompts")
"""Answers that follow from the data set as long as nobody has given others."""


@dataclass(frozen=True)
class Choices:
    """What can be chosen on the Simple view, each with its words."""

    pictures: list[tuple[str, str]]
    bases: list[tuple[str, str]]
    """Those that are shown at once, and the one that is chosen."""
    others: list[tuple[str, str]]
    lengths: list[tuple[str, int]]


@dataclass(frozen=True)
class Desk:
    """The one job that is put together; it is kept in the memory of the app."""

    studio: Studio

    def kept(self) -> Draft:
        """The job as it was left; begun anew if its pictures are gone, or if there were none."""
        draft = self.studio.memory.get("draft") or {}
        path = form.get(draft, "datasets.0.path", None)
        if not path or not resolve(path).is_dir():
            return self.fresh(self.studio.memory.get("dataset"))
        if name := self.dataset(draft):
            form.put(draft, "datasets.0.path", self.studio.library.named(name))  # a person may write it otherwise
        return draft

    def keep(self, draft: Draft) -> Draft:
        self.studio.memory.put(draft=draft)
        return draft

    def fresh(self, dataset: str | None, base_path: str | None = None) -> Draft:
        """A new job for a data set, with every answer proposed."""
        library = self.studio.library
        names = library.names()
        dataset = dataset if dataset in names else names[0] if names else None
        base = base_of(base_path or "") or BASES[0]
        folder = library.folder(dataset) if dataset else None
        captions = list(library.captions(dataset).values()) if dataset else []
        return drafts.begin(base, drafts.free_name(dataset or "my-lora", self.studio.names()), folder, captions)

    def begin(self, dataset: str | None) -> Draft:
        """A new job for a data set, on the base model of the last one."""
        return self.keep(self.fresh(dataset, form.get(self.studio.memory.get("draft") or {}, "model.name_or_path", None)))

    def with_base(self, draft: Draft, base_path: str | None) -> Draft:
        """The draft for another base model: with its numbers where they are known, else with the ones that there are.

        JobError for words that are neither a model of the list, nor a place on this computer or the hub.
        """
        wanted = (base_path or "").strip()
        if not wanted:
            return draft
        titled = [base for base in BASES if wanted.lower() in base.title.lower()]
        if base := base_of(wanted) or (titled[0] if len(titled) == 1 else None):
            draft = drafts.with_base(draft, base)
        elif "/" in wanted or resolve(wanted).exists():
            form.put(draft, "model.name_or_path", wanted)
        else:
            raise JobError(
                f"{wanted!r} is no base model that is known here.",
                "Choose one of the list, or give a hub id such as owner/model, or a folder.",
            )
        return self.keep(draft)

    def usual(self, draft: Draft) -> Draft:
        """What would be proposed for its base model, with the person's answers; no more than those for a model that is not known."""
        base = drafts.base_in(draft)
        usual = drafts.with_base(draft, base) if base else {}
        for path in ("model.name_or_path", "datasets.0.path"):
            form.put(usual, path, form.get(draft, path, None))
        return usual

    def with_pictures(self, draft: Draft, path: str) -> Draft:
        """The draft for another data set: what was proposed for the former one is proposed anew, what was written stays."""
        base = form.get(draft, "model.name_or_path", None)
        old, new = (self._proposal(place, base) for place in (form.get(draft, "datasets.0.path", None), path))
        for key in PROPOSED:
            if form.get(draft, key, None) in (form.get(old, key, None), None):
                form.put(draft, key, form.get(new, key, None))
        form.put(draft, "datasets.0.path", path)
        return self.keep(draft)

    def with_trigger_in_captions(self, draft: Draft) -> None:
        name, trigger = self.dataset(draft), form.get(draft, "trigger_word", None)
        if name and trigger:
            self.studio.library.put_trigger_first(name, str(trigger))

    def dataset(self, draft: Draft) -> str | None:
        """The name of its data set, if that is one of ours."""
        return self.studio.library.name_of(form.get(draft, "datasets.0.path", None))

    def wants_references(self, draft: Draft) -> bool:
        """Whether the base model learns from pictures and what they were made from, or the draft has such pictures."""
        base = drafts.base_in(draft)
        return bool(form.get(draft, "datasets.0.control_path", None)) or (base is not None and base.needs == "reference picture")

    def choices(self, draft: Draft) -> Choices:
        library = self.studio.library
        pictures = [(f"{name} · {count(len(library.pictures(name)), 'picture')}", library.named(name)) for name in library.names()]
        bases = [(f"{base.title}\n{_facts(base)}", base.name_or_path) for base in BASES if base.featured]
        others = [(f"{base.title} · {base.note}", base.name_or_path) for base in BASES]
        path, own = form.get(draft, "datasets.0.path", None), form.get(draft, "model.name_or_path", None)
        if path and path not in dict(pictures).values():
            pictures.append((Path(str(path)).name, path))
        if own and own not in dict(bases).values():
            known = base_of(own)
            bases.append((f"{known.title}\n{_facts(known)}" if known else f"{own}\nOf your own choice", own))
        return Choices(pictures, bases, others, drafts.lengths(drafts.base_in(draft) or BASES[0]))

    def card(self, draft: Draft, problems: list[str]) -> str:
        """What is told before the start."""
        return preflight.describe(self.studio, draft, drafts.settled(draft)[0], problems)

    def start(self, draft: Draft) -> str:
        """Puts the job into the line; the name of its run. JobError for what would end it before its first step."""
        job, problems = drafts.settled(draft)
        if not isinstance(job, TrainJob):
            raise JobError(" ".join(problems.values()))
        preflight.refuse_what_cannot_work(self.studio, draft)
        return self.studio.runner.submit(job)

    def _proposal(self, path: object, base_path: str | None) -> Draft:
        name = self.studio.library.name_of(path)
        return self.fresh(name, base_path) if name else {}


def _facts(base: drafts.BaseInfo) -> str:
    size = "" if base.size_gb < 1 else f" · {base.size_gb:.0f} GB"
    gate = ", after a sign-up" if base.gated else ""
    return f"{base.note}\n{base.licence}{size}{gate}"

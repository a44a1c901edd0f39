"""Runs on the command line: which there are, how one goes on, and what is asked of one while it is on."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .cli_said import load_extensions, table
from .errors import JobError

Name = Annotated[str, typer.Argument(help="Name of the run, as in the list of runs.", metavar="NAME")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Folder of the runs, instead of the one in the settings.")]

GoOn = Annotated[
    bool, typer.Option("--go-on", help="Go on without a question where settings or data have changed since the run was saved.")
]


class Ask(StrEnum):
    stop = "stop"
    save = "save"
    sample = "sample"
    pause = "pause"
    go = "go"
    change = "change"


def list_runs(
    name: Annotated[str | None, typer.Argument(help="Of one run: the steps that it can go on from.", metavar="[NAME]")] = None,
    output: Output = None,
) -> None:
    """List the runs, the newest first; or the steps that one can go on from."""
    from .runs.folder import RunFolder
    from .runs.log import progress

    load_extensions()
    runner = _runner(output)
    if name is not None:
        found = [(f"  {point.step}", "exactly" if point.exact else "its weights alone") for point in runner.points(name)]
        table(found or [("Nothing of it is saved.", "")])
        return
    records = [record for record in runner.runs() if record.kind != "generate"]
    rows = [(record.name, record.kind, record.status, progress(RunFolder(record.folder).events)) for record in records]
    table([("name", "kind", "status", "step"), *rows] if rows else [("There are no runs yet.",)])


def resume_run(
    name: Name,
    step: Annotated[int | None, typer.Option("--from", help="Go back to that step first. runs NAME lists them.", min=1)] = None,
    more: Annotated[int | None, typer.Option("--more", help="Train so many steps more than are done, finished or not.", min=1)] = None,
    output: Output = None,
    go_on: GoOn = False,
) -> None:
    """Go on with a run that was stopped or cut off; or with a finished one, from an earlier step or for more steps.

    Where its settings or its data have changed since it was saved, it says how and asks first; where nobody can answer, it does not go on
    unless --go-on says so, and the exit code is 1.
    """
    from .running import watch

    load_extensions()
    runner = _runner(output)
    code, _ = watch(lambda control: runner.go_on(name, step, more, control), go_on)
    if record := runner.get(name):
        print(f"The run is in {record.folder}")
    raise typer.Exit(code)


def ask_run(
    name: Name,
    what: Annotated[
        Ask,
        typer.Argument(
            help="stop and save, save, sample; pause, which frees the graphics card; go, which ends a pause and is the yes to a question; change settings."
        ),
    ],
    values: Annotated[
        list[str] | None, typer.Argument(help="To change: KEY=VALUE. A prompt for each sample.prompts=...", metavar="[KEY=VALUE...]")
    ] = None,
    output: Output = None,
) -> None:
    """Ask something of a run that is on, in the app or in another window. It is done at the end of the step."""
    load_extensions()
    runner = _runner(output)
    record = runner.get(name)
    if record is None or (record.status != "running" and (what != "stop" or record.status != "queued")):
        raise JobError(f"{name} is not running." if record else f"There is no run named {name}.", "runs lists all of them.")
    if (what == Ask.change) != bool(values):
        raise JobError("change needs settings, as in train.lr=5e-5; the others take none.", "ask --help shows them.")
    if values:
        runner.change(name, _settings(values))
    else:
        runner.ask(name, what.value)
    print(f"Asked {name}: {what.value}{' ' + ' '.join(values) if values else ''}")


def push_run(
    name: Name,
    repo: Annotated[str | None, typer.Option("--to", help="owner/name on the hub. Left out: save.hf_repo_id of its job.")] = None,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Who may see it. Left out: save.hf_private of its job.")
    ] = None,
    output: Output = None,
) -> None:
    """Upload the weights of a run to the Hugging Face hub, with a page that shows its samples."""
    from .runs.folder import RunFolder
    from .runtime.push import push

    load_extensions()
    runner = _runner(output)
    if (record := runner.get(name)) is None:
        raise JobError(f"There is no run named {name}.", "runs lists all of them.")
    print(push(RunFolder(record.folder), repo, private))


def _runner(output: Path | None) -> Any:
    from .queue.runner import Runner

    return Runner(output.expanduser().resolve() if output else None)


def _settings(values: list[str]) -> dict[str, Any]:
    """KEY=VALUE as settings; values are YAML, and those of sample.prompts plain text, one each."""
    from .jobs import read_yaml

    settings: dict[str, Any] = {}
    for one in values:
        key, given, value = one.partition("=")
        if not given:
            raise JobError(f"{one} is no KEY=VALUE.", "Write, for example, train.lr=5e-5.")
        if key == "sample.prompts":
            settings.setdefault(key, []).append(value)
        else:
            settings[key] = read_yaml(value, key)
    return settings

"""A run on the Hugging Face hub: its weights, and a page with its samples. No torch here. Tried with huggingface_hub 2.4."""

from __future__ import annotations

import httpx
from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from ..errors import JobError
from ..jobs import TrainJob
from ..runs.card import newest_samples, write_card
from ..runs.changes import current_job
from ..runs.folder import RunFolder

_AGAIN = "Nothing of the run is lost; upload it later: python -m engine push"


def push(folder: RunFolder, repo: str | None = None, private: bool | None = None) -> str:
    """Uploads the weights, README.md and the samples in it; the address of the page. Neither state, log nor settings leave this computer."""
    job = current_job(folder)
    if not isinstance(job, TrainJob):
        raise JobError(f"{folder.name} is a {job.kind} job.", "Only what was trained is uploaded.")
    name = repo or job.save.hf_repo_id
    if not name:
        raise JobError("save.hf_repo_id is missing.", f"Say where to upload: python -m engine push {folder.name} --to owner/name.")
    check_repo(name)
    check_token()
    files = [path for one in folder.checkpoints() for path in folder.files_of(one)]
    if not files:
        raise JobError(f"{folder.name} has no weights yet.", "Train it first.")
    write_card(folder, job)
    wanted = ["README.md", *(one.path.as_posix() for one in newest_samples(folder))]
    wanted += [f"{path.name}/**" if path.is_dir() else path.name for path in files]
    again = f"{_AGAIN} {folder.name}."
    try:
        api = HfApi()
        url = api.create_repo(name, private=job.save.hf_private if private is None else private, exist_ok=True)
        api.upload_folder(
            repo_id=url.repo_id, folder_path=folder.path, allow_patterns=wanted, commit_message=f"{job.name}, {job.train.steps} steps"
        )
    except (LocalTokenNotFoundError, OfflineModeIsEnabled) as error:
        raise JobError(f"{folder.name} was not uploaded: {_first_line(error)}.", again) from error
    except (RepositoryNotFoundError, HfHubHTTPError) as error:
        status = getattr(error.response, "status_code", None)
        why = "your token may not write there" if status in (401, 403, 404) else f"the hub said {_first_line(error)}"
        raise JobError(
            f"{folder.name} was not uploaded to {name}: {why}.",
            f"Make a token that may write on {constants.ENDPOINT}/settings/tokens. {again}" if status in (401, 403, 404) else again,
        ) from error
    except (httpx.HTTPError, OSError) as error:
        raise JobError(f"{folder.name} was not uploaded to {name}: the hub cannot be reached.", again) from error
    return str(url)


def check_repo(name: str) -> None:
    """Raises JobError where the hub knows no such names."""
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise JobError(
            f"{name!r} is no name of a repository on the hub.", "Write owner/name, of letters, digits, dots and dashes."
        ) from error


def check_token() -> None:
    """Raises JobError where nothing could be uploaded: better before a training than after it."""
    if constants.HF_HUB_OFFLINE:
        raise JobError("Nothing can be uploaded: HF_HUB_OFFLINE is set.", "Take it out of the environment.")
    if not get_token():
        raise JobError(
            "Nothing can be uploaded: no token of the Hugging Face hub is set.", "Put one that may write in Settings, or run hf auth login."
        )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")

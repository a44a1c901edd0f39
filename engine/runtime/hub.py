"""Where a base model is: on this computer, or on the hub; and what can go wrong with that, in sentences. No torch here."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..errors import JobError
from ..families.catalog import BASES, STARTER, base_of, family_name, locate
from ..families.sources import PICKLES
from ..jobs import ModelSection


def base_name(model: ModelSection) -> str:
    """Where the model_index.json is: name_or_path, unless that is only a part and the others come from elsewhere."""
    if model.extras_name_or_path:
        return model.extras_name_or_path
    if Path(model.name_or_path).suffix.lower() != ".safetensors":
        return model.name_or_path
    if arch := arch_of(model):
        family = family_name(arch, None)
        if base := next((base for base in BASES if base.family == family and base is not STARTER), None):
            return base.extras or base.name_or_path
    raise JobError(
        f"{model.name_or_path} is a single file, which is not all of a model.",
        "Name its family in model.arch, or a whole model of that family in model.extras_name_or_path.",
    )


def arch_of(model: ModelSection) -> str | None:
    """The family that the job names: in model.arch, or with a single file that the table knows."""
    base = base_of(model.name_or_path)
    return model.arch or (base.family if base and base.extras else None)


def place_of(model: ModelSection) -> Path | str:
    """The folder of the base model on this computer, or its name on the hub; asks nobody."""
    name = base_name(model)
    if folder := locate(name):
        return folder
    if Path(name).suffix.lower() in PICKLES:
        raise JobError(
            f"{name} is a pickle file, which can run code when it is opened.",
            "Use a .safetensors version of the model, in diffusers layout.",
        )
    if Path(name).exists():
        raise JobError(
            f"{name} is not a model folder: it has no model_index.json.",
            "Give the folder of a model in diffusers layout.",
        )
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise JobError(
            f"There is no base model at {name}.",
            "Give a folder in diffusers layout, or a hub id such as black-forest-labs/FLUX.1-dev.",
        )
    return name


def look_up(name: str, revision: str | None = None) -> None:
    """Asks the hub whether the model is there and may be downloaded; a JobError if not. Downloads only its index."""
    with hub_errors(name, revision):
        HfApi().hf_hub_download(name, "model_index.json", revision=revision)


@contextmanager
def hub_errors(name: str, revision: str | None = None, instead: str = "use the Starter, which is built in") -> Iterator[None]:
    """What the hub's client raises about a model, as a JobError. ``instead`` is what can be done without it."""
    page = f"{constants.ENDPOINT}/{name}"
    try:
        yield
    except GatedRepoError as error:
        token = "Your token has no access yet." if get_token() else "No token is set: put one in Settings, or run hf auth login."
        raise JobError(f"{name} is gated.", f"Accept its licence at {page}. {token}") from error
    except RevisionNotFoundError as error:
        raise JobError(f"{name} has no revision {revision!r}.", f"See its branches at {page}.") from error
    except RepositoryNotFoundError as error:
        raise JobError(
            f"There is no base model {name}, here or on the hub.",
            "Check the spelling; private models need a token in Settings.",
        ) from error
    except (EntryNotFoundError, OfflineModeIsEnabled) as error:
        if constants.HF_HUB_OFFLINE or isinstance(error, LocalEntryNotFoundError):
            raise unreachable(name, instead) from error
        raise JobError(f"{name} is not in diffusers layout.", "Choose a model with a model_index.json.") from error
    except (httpx.HTTPError, OSError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise JobError(
                f"The disk is full: {name} could not be downloaded.",
                "Free some space, or set HF_HOME to a larger disk.",
            ) from error
        raise unreachable(name, instead) from error


def unreachable(name: str, instead: str = "use the Starter, which is built in") -> JobError:
    return JobError(
        f"{name} is not on this computer, and the hub cannot be reached.",
        f"Check the network and start again, set a folder with models in Settings, or {instead}.",
    )

"""What the hub's client raises becomes a sentence that says what to do."""

from __future__ import annotations

import errno

import httpx
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from engine.errors import JobError
from engine.jobs import ModelSection
from engine.runtime.hub import hub_errors, place_of

REFUSAL = httpx.Response(403, request=httpx.Request("GET", "http://127.0.0.1/"))
RAISED = {
    "gated": (GatedRepoError("403", response=REFUSAL), "some/model is gated", "Accept its licence at"),
    "no such model": (RepositoryNotFoundError("404", response=REFUSAL), "no base model some/model", "Check the spelling"),
    "no such revision": (RevisionNotFoundError("404", response=REFUSAL), "no revision 'v9'", "See its branches"),
    "not in diffusers layout": (LocalEntryNotFoundError("x"), "hub cannot be reached", "Check the network"),
    "no network": (httpx.ConnectError("refused"), "hub cannot be reached", "use the Starter"),
    "a full disk": (OSError(errno.ENOSPC, "No space left"), "disk is full", "HF_HOME"),
}


@pytest.mark.parametrize("case", RAISED)
def test_each_refusal_is_a_sentence_with_what_to_do(case, monkeypatch):
    error, message, hint = RAISED[case]
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(JobError) as raised, hub_errors("some/model", "v9"):
        raise error
    assert message in raised.value.message and hint in raised.value.hint


def test_a_gated_model_without_a_token_says_where_the_token_goes(monkeypatch):
    monkeypatch.setattr("engine.runtime.hub.get_token", lambda: None)
    with pytest.raises(JobError, match="put one in Settings"), hub_errors("some/model"):
        raise GatedRepoError("403", response=REFUSAL)


def test_a_model_in_another_layout_is_told_from_a_missing_network(monkeypatch):
    monkeypatch.setattr("engine.runtime.hub.constants.HF_HUB_OFFLINE", False)
    with pytest.raises(JobError, match="not in diffusers layout"), hub_errors("some/model"):
        raise RemoteEntryNotFoundError("404", response=REFUSAL)


@pytest.mark.parametrize(
    ("name", "message"),
    [("weights.ckpt", "pickle"), ("no/such/folder", "no base model at"), ("/nowhere/at/all", "no base model at")],
)
def test_a_place_that_cannot_hold_a_model_is_refused_before_anybody_is_asked(name, message):
    with pytest.raises(JobError, match=message):
        place_of(ModelSection(name_or_path=name))


def test_a_folder_without_an_index_is_not_a_model(tmp_path):
    with pytest.raises(JobError, match="no model_index.json"):
        place_of(ModelSection(name_or_path=str(tmp_path)))


def test_models_of_the_settings_folder_come_before_the_hub(home, tmp_path):
    from engine.settings import Settings, save_settings

    place = tmp_path / "models" / "some" / "model"
    place.mkdir(parents=True)
    (place / "model_index.json").write_text("{}")
    assert place_of(ModelSection(name_or_path="some/model")) == "some/model"
    save_settings(Settings(models=tmp_path / "models"))
    assert place_of(ModelSection(name_or_path="some/model")) == place

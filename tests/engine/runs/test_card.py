"""The page of a run, made without a network; and what is uploaded when there is one."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import yaml
from PIL import Image

from engine.errors import JobError
from engine.events import Sampled, Saved
from engine.families.catalog import STARTER
from engine.jobs import load_job
from engine.runs.card import write_card
from engine.runs.folder import RunFolder
from engine.runtime import push as pushing


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    job = {
        "name": "cats", "model": {"name_or_path": "black-forest-labs/FLUX.1-dev"}, "trigger_word": "zzz", "datasets": [{"path": "/home/me/secret"}],
        "train": {"steps": 20}, "save": {"hf_repo_id": "me/cats", "hf_private": True},
    }  # fmt: skip
    folder = RunFolder.create(tmp_path, load_job(job))
    for step, prompt in ((10, "zzz | early"), (20, "zzz | late")):
        path = folder.sample_path(step, 0, prompt, "jpg")
        Image.new("RGB", (8, 8)).save(path)
        folder.append(Sampled(step=step, index=0, prompt=prompt, path=path.relative_to(folder.path), seed=1))
    for path in (folder.checkpoint_path(10), folder.final_path, folder.path / "cats_embedding.safetensors"):
        path.touch()
    folder.append(Saved(step=20, path=Path("cats.safetensors"), final=True))
    (folder.state_path(20)).mkdir(parents=True)
    return folder


class Hub:
    """Stands for the hub's client: keeps what it is asked, and fails as it is told."""

    asked: dict[str, object] = {}
    fails: Exception | None = None

    def create_repo(self, name: str, private: bool, exist_ok: bool):
        if Hub.fails:
            raise Hub.fails
        Hub.asked = {"name": name, "private": private}

        class Url(str):
            repo_id = name

        return Url(f"https://hub/{name}")

    def upload_folder(self, repo_id: str, folder_path: Path, allow_patterns: list[str], commit_message: str) -> None:
        Hub.asked |= {"folder": folder_path, "files": allow_patterns}


@pytest.fixture(autouse=True)
def hub(monkeypatch) -> type[Hub]:
    monkeypatch.setattr(pushing, "HfApi", Hub)
    monkeypatch.setattr(pushing, "get_token", lambda: "a token")
    monkeypatch.setattr(pushing.constants, "HF_HUB_OFFLINE", False)
    Hub.asked, Hub.fails = {}, None
    return Hub


def test_the_page_shows_the_newest_samples_and_says_nothing_of_this_computer(folder: RunFolder) -> None:
    text = write_card(folder, folder.job()).read_text("utf-8")
    _, head, body = text.split("---\n", 2)
    facts = yaml.safe_load(head)
    sample = folder.list_samples()[-1].path.relative_to(folder.path).as_posix()
    assert facts["base_model"] == "black-forest-labs/FLUX.1-dev" and facts["instance_prompt"] == "zzz" and facts["license"] == "other"
    assert (
        facts["widget"] == [{"text": "zzz | late", "output": {"url": sample}}]
        and facts["pipeline_tag"] == "text-to-image"
        and "lora" in facts["tags"]
    )
    assert f"![zzz / late]({sample})" in body and "early" not in body and "| `cats.safetensors` | 20 |" in body
    assert "secret" not in text and str(folder.path) not in text
    assert 'from_pretrained("black-forest-labs/FLUX.1-dev", torch_dtype=torch.bfloat16)' in body


def test_the_page_of_a_lora_of_the_starter_names_no_model_of_the_hub(folder: RunFolder) -> None:
    job = folder.job()
    starter = job.model_copy(update={"model": job.model.model_copy(update={"name_or_path": STARTER.name_or_path})})
    _, head, body = write_card(folder, starter).read_text("utf-8").split("---\n", 2)
    assert not {"base_model", "base_model_relation"} & set(yaml.safe_load(head))
    assert f'from_pretrained("{STARTER.name_or_path}"' in body


def test_weights_page_and_samples_are_uploaded_and_nothing_else(folder: RunFolder, hub: type[Hub]) -> None:
    assert pushing.push(folder) == "https://hub/me/cats"
    sample = folder.list_samples()[-1].path.relative_to(folder.path).as_posix()
    assert hub.asked == {
        "name": "me/cats", "private": True, "folder": folder.path,
        "files": ["README.md", sample, "cats_000000010.safetensors", "cats.safetensors", "cats_embedding.safetensors"],
    }  # fmt: skip
    pushing.push(folder, "you/dogs", private=False)
    assert hub.asked["name"] == "you/dogs" and hub.asked["private"] is False


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (httpx.ConnectError("no route"), "the hub cannot be reached"),
        (
            pushing.HfHubHTTPError("403 Forbidden", response=httpx.Response(403, request=httpx.Request("POST", "https://hub"))),
            "your token may not write there",
        ),
    ],
)
def test_what_goes_wrong_with_an_upload_is_a_sentence(folder: RunFolder, hub: type[Hub], error: Exception, told: str) -> None:
    hub.fails = error
    with pytest.raises(JobError, match=told):
        pushing.push(folder)
    assert (folder.path / "README.md").is_file() and folder.final_path.is_file()


def test_a_name_that_the_hub_does_not_know_is_told_before_a_token_is_asked_for(folder: RunFolder, hub: type[Hub], monkeypatch) -> None:
    monkeypatch.setattr(pushing, "get_token", lambda: None)
    with pytest.raises(JobError, match=r"'my cats!' is no name of a repository.*owner/name"):
        pushing.push(folder, "my cats!")
    assert hub.asked == {}


def test_without_a_token_nothing_is_tried(folder: RunFolder, hub: type[Hub], monkeypatch) -> None:
    monkeypatch.setattr(pushing, "get_token", lambda: None)
    with pytest.raises(JobError, match=r"no token.*hf auth login"):
        pushing.push(folder)
    assert hub.asked == {}


def test_without_a_place_to_upload_to_the_command_that_names_one_is_told(folder: RunFolder, hub: type[Hub], monkeypatch) -> None:
    job = folder.job()
    monkeypatch.setattr(
        pushing,
        "current_job",
        lambda _: job.model_copy(update={"save": job.save.model_copy(update={"hf_repo_id": None, "push_to_hub": False})}),
    )
    with pytest.raises(JobError, match=r"push cats --to owner/name"):
        pushing.push(folder)
    assert hub.asked == {}

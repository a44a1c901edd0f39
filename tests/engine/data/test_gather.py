from __future__ import annotations

import gc
import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from phases import ended
from PIL import Image

from engine.check import check_job
from engine.control import Control, Stopped
from engine.data.caches.room import clean_up
from engine.data.gather import folder_of, gather
from engine.data.scan import scan
from engine.errors import JobError
from engine.events import Event
from engine.jobs import Dataset, load_job


def picture(colour: Any = "red", kind: str = "PNG", size: tuple[int, int] = (8, 6)) -> bytes:
    Image.new("RGB", size, colour).save(file := io.BytesIO(), kind)
    return file.getvalue()


def shard(path: Path, files: dict[str, bytes | str]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def gathered(dataset: Dataset, control: Control | None = None) -> list[Event]:
    return list(gather(dataset, control or Control()))


def words_of(dataset: Dataset) -> list[tuple[str, str]]:
    return [(item.path.suffix, item.caption) for item in scan(dataset)]


@pytest.mark.parametrize("name", ["shard.tar", "shard.tgz"])
def test_a_webdataset_shard_becomes_a_folder_once(home, tmp_path, name):
    files = {
        "__key__": "x", "0/a.jpg": picture(kind="JPEG"), "0/a.txt": "a cat\n", "0/a.cls": "3",
        "b.json": json.dumps({"caption": "from json"}), "b.png": picture("blue"),
        "c.webp": picture("green", "WEBP"), "c.json": json.dumps({"text": "other column", "w": 8}), "d.txt": "no picture",
    }  # fmt: skip
    data = Dataset(path=str(shard(tmp_path / name, files)))
    events = gathered(data)
    assert events[0].kind == "phase"
    assert words_of(data) == [(".jpg", "a cat"), (".png", "from json"), (".webp", "other column")]
    first = folder_of(data)
    assert first.is_relative_to(home) and (first / "000000000.jpg").read_bytes() == files["0/a.jpg"], "the file as it is"
    assert gathered(data) == [], "it is done"
    shard(tmp_path / name, {"e.png": picture("white"), "e.txt": "new"})
    gathered(data)
    assert words_of(data) == [(".png", "new")] and folder_of(data) != first, "another content is another folder"


def test_names_in_a_shard_lead_nowhere(home, tmp_path):
    evil = shard(tmp_path / "evil.tar", {"../../x.png": picture(), "../../x.txt": "x", "/etc/y.png": picture("blue"), "/etc/y.txt": "y"})
    with tarfile.open(evil, "a") as tar:
        link = tarfile.TarInfo("z.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    before = set(tmp_path.rglob("*"))
    gathered(data := Dataset(path=str(evil)))
    assert [caption for _, caption in words_of(data)] == ["x", "y"]
    assert set(tmp_path.rglob("*")) == before
    assert sorted(path.name for path in folder_of(data).iterdir()) == [
        "000000000.png", "000000000.txt", "000000001.png", "000000001.txt", "done.json",
    ]  # fmt: skip


def test_a_stopped_run_goes_on_and_ends_in_the_same_folder(home, tmp_path):
    files = {
        f"{index}.{kind}": content for index in range(5) for kind, content in (("png", picture((index, 0, 0))), ("txt", f"number {index}"))
    }
    data = Dataset(path=str(shard(tmp_path / "a.tar", files)))
    control = Control()
    events = gather(data, control)
    next(events)
    next(events)  # the first picture is there
    control.stop = True
    with pytest.raises(Stopped):
        list(events)
    with pytest.raises(JobError, match="is not on this computer yet"):
        scan(data)
    gathered(data)
    assert words_of(data) == [(".png", f"number {index}") for index in range(5)]
    for path in folder_of(data).iterdir():
        path.unlink()
    gathered(data)
    assert [item.path.read_bytes() for item in scan(data)] == [picture((index, 0, 0)) for index in range(5)]


def test_the_pictures_of_a_run_stay_in_the_cache_for_as_long_as_it_lasts(home, tmp_path):
    data = Dataset(path=str(shard(tmp_path / "a.tar", {"a.png": picture(), "a.txt": "a"})))
    for _ in ("fetched", "there before"):
        _, use = ended(gather(data, Control()))
        for path in folder_of(data).glob("0*"):
            os.utime(path, (0, 0))
        clean_up(0)
        assert words_of(data) == [(".png", "a")]
        del use
    gc.collect()
    clean_up(0)
    assert not folder_exists(data)


def folder_exists(data: Dataset) -> bool:
    try:
        return folder_of(data).exists()
    except JobError:
        return False


def test_rows_without_a_picture_are_told_and_the_others_train(home, tmp_path):
    data = Dataset(path=str(shard(tmp_path / "a.tar", {"a.png": b"broken", "a.txt": "a", "b.png": picture(), "b.txt": "b"})))
    [warned] = [event for event in gathered(data) if event.kind == "warned"]
    assert "1 row of" in warned.message and "row 1" in warned.message
    assert words_of(data) == [(".png", "b")]
    with pytest.raises(JobError, match="has no pictures in it"):
        gathered(Dataset(path=str(shard(tmp_path / "none.tar", {"a.txt": "a"}))))


@pytest.mark.parametrize("name", ["a.tar", "a.parquet"])
def test_a_damaged_file_is_an_error_with_its_name(home, tmp_path, name):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(b"not what it says" * 100)
    with pytest.raises(JobError, match=rf"{name} cannot be read: .+ The file is damaged"):
        gathered(Dataset(path=str(tmp_path / name)))
    with pytest.raises(JobError, match="There is no file"):
        gathered(Dataset(path=str(tmp_path / "gone.tar")))


def parquet(path: Path, **columns: list[Any]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as files

    files.write_table(pyarrow.table(columns), path)
    return path


def test_a_parquet_file_becomes_a_folder(home, tmp_path):
    pictures = [picture((index, 0, 0)) for index in range(40)]
    columns = {
        "image": [{"bytes": one, "path": "../x.png"} for one in pictures],
        "raw": pictures,
        "caption": [f"c{i}" for i in range(40)],
        "title": ["t"] * 40,
    }
    file = parquet(tmp_path / "a.parquet", **columns)
    gathered(data := Dataset(path=str(file)))
    assert [item.caption for item in scan(data)] == columns["caption"]
    assert [item.path.read_bytes() for item in scan(data)] == pictures
    gathered(data := Dataset(path=str(file), image_column="raw", caption_column="title"))
    assert {item.caption for item in scan(data)} == {"t"}
    with pytest.raises(JobError, match="no column pixels; its columns are image, raw, caption, title. Set image_column"):
        gathered(Dataset(path=str(file), image_column="pixels"))


def test_metadata_may_be_parquet(tmp_path):
    (tmp_path / "a.png").write_bytes(picture())
    parquet(tmp_path / "metadata.parquet", file_name=["a.png"], text=["from parquet"])
    assert scan(Dataset(path=str(tmp_path)))[0].caption == "from parquet"
    (tmp_path / "metadata.parquet").write_bytes(b"x")
    with pytest.raises(JobError, match="metadata.parquet cannot be read as parquet"):
        scan(Dataset(path=str(tmp_path)))


def test_a_data_set_of_the_hub_becomes_a_folder(home, tmp_path, monkeypatch):
    """The library reads a local repository here, in the place of the hub."""
    datasets = pytest.importorskip("datasets")
    pictures = [picture((index, 0, 0), "JPEG") for index in range(3)]
    features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
    rows = {"image": [{"bytes": one, "path": None} for one in pictures], "text": ["a", "b", "c"]}
    (tmp_path / "data").mkdir()
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    load, asked = datasets.load_dataset, []

    def from_here(name: str, config: str | None, **settings: Any) -> Any:
        asked.append((name, config, settings.pop("revision")))
        return load(str(tmp_path), config, **settings)

    monkeypatch.setattr(datasets, "load_dataset", from_here)
    gathered(data := Dataset(path="hf://owner/name@v1"))
    assert asked == [("owner/name", None, "v1")]
    assert words_of(data) == [(".jpg", "a"), (".jpg", "b"), (".jpg", "c")]
    assert [item.path.read_bytes() for item in scan(data)] == pictures, "the files are not decoded and saved again"
    with pytest.raises(JobError, match=r"hf://owner/name cannot be read: .*hf_split"):
        gathered(Dataset(path="hf://owner/name", hf_split="tset"))


@pytest.mark.parametrize("name", ["hf://cats", "hf://a/b/c", "hf://../x", "hf:///etc/x", "hf://a/b;c"])
def test_only_names_of_the_hub_reach_it(home, name):
    with pytest.raises(JobError, match="is no data set on the hub"):
        gathered(Dataset(path=name))


@pytest.mark.parametrize(("path", "package"), [("hf://owner/name", "datasets"), ("a.parquet", "pyarrow")])
def test_what_has_to_be_installed_is_said(home, tmp_path, monkeypatch, path, package):
    monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "a.parquet").touch()
    with pytest.raises(JobError, match=f"the package {package} is missing. Install it beside the program: pip install"):
        gathered(Dataset(path=path if path.startswith("hf") else str(tmp_path / path)))


def test_a_folder_is_left_as_it_is_and_what_has_no_effect_is_told(home, tmp_path):
    assert gathered(Dataset(path=str(tmp_path))) == []
    [warned] = gathered(Dataset(path=str(tmp_path), hf_split="test"))
    assert warned.kind == "warned" and warned.message.startswith("hf_split has no effect")


def test_check_fetches_nothing(home):
    job = load_job({"name": "a", "model": {"name_or_path": "assets/starter"}, "datasets": [{"path": "hf://owner/name"}]})
    said = [finding.message for finding in check_job(job)]
    assert "hf://owner/name is turned into pictures when the job runs." in said

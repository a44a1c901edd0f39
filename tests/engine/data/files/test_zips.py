from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from pictures import draw
from PIL import Image

from engine.data.files.zips import Limits, export_zip, import_zip, place_of_member, unpack
from engine.errors import JobError


def png(colour: str = "red") -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(data, "PNG")
    return data.getvalue()


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_data_set_goes_out_and_comes_in_as_it_was(tmp_path, home):
    for name, colour in (("a", "red"), ("deep/b c", "blue"), ("masks/a", "white"), ("日本 é", "lime")):
        draw(tmp_path / "cats" / f"{name}.png", (64, 64), colour, caption=f"a caption of {name}")
    (tmp_path / "cats" / "metadata.jsonl").write_text("{}")
    (tmp_path / "cats" / ".undo").mkdir()
    (tmp_path / "cats" / ".undo" / "old.png").write_bytes(png())
    made = export_zip(tmp_path / "cats", tmp_path / "out" / "cats.zip")
    taken = import_zip(made)
    wanted = {name: data for name, data in contents(tmp_path / "cats").items() if not name.startswith(".")}
    assert taken.folder == home / "datasets" / "cats" and contents(taken.folder) == wanted and taken.files == 9 and not taken.refused
    assert import_zip(made).folder == home / "datasets" / "cats-2"
    with pytest.raises(JobError, match="already a data set named cats"):
        import_zip(made, "cats")


@pytest.mark.parametrize(
    "inside", ["../x.png", "../../../x.png", "/etc/x.png", "C:\\x.png", "..\\..\\x.png", "a/../../x.png", "//host/x.png"]
)
def test_nothing_is_written_outside_of_the_new_data_set(tmp_path, home, inside):
    taken = import_zip(zipped(tmp_path / "evil.zip", {inside: png()}), "x")
    assert list(contents(taken.folder)) == ["x.png"]
    new = [path for root in (tmp_path, home) for path in root.rglob("*.png")]
    assert new == [home / "datasets" / "x" / "x.png"] and not Path("/etc/x.png").exists()


def test_links_bombs_and_other_files_are_left_out_and_told(tmp_path, home):
    archive = zipped(
        tmp_path / "a.zip",
        {"good.png": png(), "program.exe": b"MZ", "bomb.png": bytes(300_000_000 // 40), ".hidden.png": png(), "__MACOSX/x.png": png()},
    )
    with zipfile.ZipFile(archive, "a") as file:
        link = zipfile.ZipInfo("link.png")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc/passwd")
    taken = import_zip(archive)
    assert list(contents(taken.folder)) == ["good.png"]
    assert dict(taken.refused) == {"program.exe": "is not a picture or a caption", "bomb.png": "is too large", "link.png": "is a link"}


def test_a_bomb_that_says_it_is_small_leaves_nothing_behind(tmp_path):
    archive = zipped(tmp_path / "a.zip", {"bomb.png": bytes(8_000_000), "text.txt": b"word " * 1000})
    data = bytearray(archive.read_bytes())
    place = data.find(b"PK\x01\x02")
    data[place + 24 : place + 28] = (1000).to_bytes(4, "little")
    archive.write_bytes(data)
    refused: list[tuple[str, str]] = []
    out = unpack(archive, tmp_path / "room", lambda name: True, refused, Limits())
    assert [str(member.place) for member in out] == ["text.txt"] and [name for name, _ in refused] == ["bomb.png"]
    assert sum(path.stat().st_size for path in (tmp_path / "room").iterdir()) < 10_000


def test_names_that_old_programs_wrote_are_read_as_they_meant_them():
    info = zipfile.ZipInfo("été 日本.png".encode().decode("cp437"))
    info.flag_bits = 0
    assert str(place_of_member(info)) == "été 日本.png"
    info = zipfile.ZipInfo("plain.png")
    assert str(place_of_member(info)) == "plain.png"
    info.filename, info.flag_bits = "Ü.png", 0x800
    assert str(place_of_member(info)) == "Ü.png"


@pytest.mark.parametrize("files", [{}, {"readme.txt": b"words"}])
def test_a_zip_without_pictures_makes_no_data_set(tmp_path, home, files):
    with pytest.raises(JobError, match="no pictures in"):
        import_zip(zipped(tmp_path / "a.zip", files))
    assert not (home / "datasets").exists() or not list((home / "datasets").iterdir())
    with pytest.raises(JobError, match="no file"):
        import_zip(tmp_path / "nowhere.zip")


def test_a_zip_is_not_written_over_a_file_or_into_the_folder_itself(tmp_path):
    draw(tmp_path / "cats" / "a.png")
    (tmp_path / "there.zip").write_text("mine")
    for target in (tmp_path / "there.zip", tmp_path / "cats" / "x.zip"):
        with pytest.raises(JobError):
            export_zip(tmp_path / "cats", target)
    assert (tmp_path / "there.zip").read_text() == "mine" and list(contents(tmp_path / "cats")) == ["a.png"]

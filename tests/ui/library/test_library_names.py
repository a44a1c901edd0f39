"""Names of pictures and data sets: any script stays, and none leads out of the folder."""

from __future__ import annotations

import pytest
from pictures import draw
from uploads import contents, png, zipped

from engine.errors import JobError


@pytest.mark.parametrize(
    "stem",
    ["CON", "nul", "a:b", 'q"?*<>|', "trailing. . ", "tab\tnew\nline", "日" * 110, "🎞" * 60, "-rf", "$(id)", "%2e%2e"],
)
def test_hostile_names_of_pictures_become_names_that_every_system_takes(library, inbox, stem):
    name = library.create("x")
    added = library.add(name, [zipped(inbox / "a.zip", {f"{stem}.png": png(), f"{stem}.txt": b"its caption"})])
    (picture,) = library.pictures(name)
    assert added.refused == [] and library.caption(picture) == "its caption"
    assert not set(picture.name) & set('<>:"/\\|?*\t\n') and len(picture.name.encode()) <= 240
    assert picture.stem.lower() not in {"con", "nul"} and not picture.stem.endswith((" ", "."))


def test_names_of_any_script_stay_and_do_not_collide(library, inbox):
    name = library.create("фото 日本")
    assert name == "фото_日本"
    files = {
        f"{stem}.png": png(colour)
        for stem, colour in (("日本", "red"), ("中国", "blue"), ("été", "lime"), ("???", "gold"), ("***", "navy"))
    }
    added = library.add(name, [zipped(inbox / "a.zip", files)])
    assert added.pictures == 5 and added.refused == []
    assert {"日本.png", "中国.png", "été.png"} < set(contents(library, name)) and len(contents(library, name)) == 5


def test_data_sets_of_one_name_do_not_collide(library):
    assert [library.create(wish) for wish in ("cats", "cats", "c a", "c/a")] == ["cats", "cats-2", "c_a", "c_a-2"]
    assert library.names() == ["c_a", "c_a-2", "cats", "cats-2"]


@pytest.mark.parametrize("wish", ["../out", "/etc", "..", "a/../../b", "C:\\x", "~", "con", ".hidden"])
def test_no_wish_leads_out_of_the_folder_of_data_sets(library, tmp_path, wish):
    try:
        name = library.create(wish)
    except JobError:
        name = None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "sets"]
    assert library.names() == ([name] if name else [])


@pytest.mark.parametrize("name", ["", ".", "..", "../cache", "/etc", "x/..", ".deleted", "nowhere", "x/y"])
def test_no_name_opens_a_folder_that_is_no_data_set(library, name):
    library.create("x")
    (library.root / "x" / "y").mkdir()
    (library.root / ".deleted").mkdir()
    with pytest.raises(JobError):
        library.folder(name)


@pytest.mark.parametrize("key", ["x/../../secret.png", "x//secret.png", "../secret.png", "x/link.png", "x/a.txt", "x/", "x", "y/a.png"])
def test_no_key_opens_a_file_that_is_no_picture_of_its_data_set(library, inbox, tmp_path, key):
    draw(tmp_path / "secret.png")
    library.add(library.create("x"), [draw(inbox / "a.png", caption="a"), inbox / "a.txt"])
    (library.root / "x" / "link.png").symlink_to(tmp_path / "secret.png")
    for ask in (library.picture, lambda key: library.delete([key]), lambda key: library.write_caption(key, "x")):
        with pytest.raises(JobError):
            ask(key)
    assert (tmp_path / "secret.png").exists() and not (tmp_path / "secret.txt").exists()


def test_links_in_the_folder_of_data_sets_do_not_keep_it_from_opening(library, inbox, tmp_path):
    """A person may have linked a folder from elsewhere; one that has gone, too."""
    name = library.create("x")
    library.add(name, [draw(inbox / "a.png", caption="a"), inbox / "a.txt"])
    (library.root / "linked").symlink_to(inbox)
    (library.root / "x" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    for one in library.names():
        library.pictures(one)
        library.findings(one)
    assert library.names() == ["x"]
    assert any("gone.png" in found.message for found in library.findings("x"))

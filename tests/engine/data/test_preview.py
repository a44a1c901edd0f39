"""What becomes of each picture, told and drawn before anything is trained; the data set is only read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pictures import draw
from PIL import Image
from typer.testing import CliRunner

from engine.cli import app
from engine.data.preview import bucket_counts, contact_sheets, draw_shown, preview, told
from engine.data.scan import scan
from engine.data.setup import open_setup
from engine.errors import JobError
from engine.families.catalog import FAMILIES, STARTER, load_family, multiple_of
from engine.jobs import Dataset


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw(tmp_path / "cats" / "square.png", (200, 200))
    draw(tmp_path / "cats" / "tall.png", (100, 300), "white")
    draw(tmp_path / "cats" / "small é.jpg", (40, 30))
    return tmp_path / "cats"


def shown(folder: Path, **settings):
    dataset = Dataset(path=str(folder), default_caption="", **settings)
    return preview([dataset], scan(dataset), 64, 16)


def test_the_facts_of_each_picture_are_those_of_the_training(folder):
    small, square, tall = shown(folder, flip_x=True, num_repeats=3)
    assert [one.item.path.name for one in (small, square, tall)] == ["small é.jpg", "square.png", "tall.png"]
    assert (square.bucket, square.box, square.kept, square.scale) == ((64, 64), (0, 0, 200, 200), 1, 64 / 200)
    assert tall.bucket == (32, 96) and tall.kept == 1 and tall.repeats == 3
    assert small.bucket == (32, 16) and small.box == (0, 5, 40, 25) and told(small) == "32 × 16, 67% shown"
    assert small.facts()["box"] == [0, 5, 40, 25] and small.facts()["bucket"] == [32, 16]
    assert bucket_counts([small, square, tall, tall]) == {(32, 96): 2, (32, 16): 1, (64, 64): 1}


def test_what_is_enlarged_and_what_moves_is_said(folder):
    small = shown(folder, upscale=True, random_crop=True)[0]
    assert told(small) == "80 × 48, 80% shown, enlarged 2 times, moves"


def test_a_little_less_than_all_is_not_all(tmp_path):
    draw(tmp_path / "a.png", (2001, 2000))
    assert told(shown(tmp_path)[0]) == "64 × 64, 99% shown"


def test_the_picture_is_whole_and_what_is_lost_is_dark(folder):
    tall = shown(folder, square_crop=True, crop="top")[2]
    picture = draw_shown(tall, 150)
    assert picture.size == (50, 150)
    assert picture.getpixel((25, 20)) == (255, 255, 255), "what is shown"
    assert max(picture.getpixel((25, 140))) < 100, "what is lost"
    assert picture.getpixel((25, 0)) == picture.getpixel((0, 20)) == picture.getpixel((25, 49)) == (229, 72, 77), "its frame"


def test_sheets_hold_twenty_each_and_a_broken_picture_is_said_on_them(folder, tmp_path):
    pictures = shown(folder) * 9
    (folder / "square.png").write_bytes(b"nothing")
    sheets = list(contact_sheets(pictures, tmp_path / "out"))
    assert [sheet.name for sheet in sheets] == ["sheet_001.jpg", "sheet_002.jpg"]
    sizes = [Image.open(sheet).size for sheet in sheets]
    assert sizes[0][0] == sizes[1][0] and sizes[0][1] == 2 * sizes[1][1]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["data", "preview", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_command_tells_and_draws_and_leaves_the_folder_alone(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path / "home"))
    before = sorted(folder.iterdir())
    words = run(str(folder), "--resolution", "64", "--base", "flux-dev", "--most", "2")
    assert "small é.jpg  40 × 30    32 × 16, 67% shown" in words
    assert "tall.png" not in words and "and 1 more" in words
    assert "3 pictures in 3 sizes" in words and "3 batches of 1 in a round" in words
    assert (tmp_path / "home" / "cache" / "previews" / "cats" / "sheet_001.jpg").is_file()
    assert sorted(folder.iterdir()) == before
    with pytest.raises(JobError, match="is in the data set"):
        run(str(folder), "--output", str(folder / "new"))


def test_a_job_is_shown_as_it_would_be_trained(folder, tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(
        f"name: x\nkind: train\nmodel: {{name_or_path: {STARTER.name_or_path}}}\n"
        f"datasets: [{{path: '{folder}', resolution: [32, 64]}}]\ntrain: {{batch_size: 4}}\n"
    )
    setup = open_setup(job)
    assert (setup.multiple, setup.batch_size, setup.name) == (8, 4, "x"), "the starter's autoencoder makes four pixels one"
    assert "6 pictures in 6 sizes" in (words := run(str(job), "--output", str(tmp_path / "out")))
    assert "6 batches of 4 in a round; 18 showings only to fill them up" in words
    generate = tmp_path / "generate.yaml"
    generate.write_text("name: x\nkind: generate\nmodel: {name_or_path: x}\n")
    with pytest.raises(JobError, match="is a generate job"):
        open_setup(generate)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_table_has_the_multiple_of_each_family(name):
    """The usual autoencoder makes 8 x 8 pixels one; those of Wan 2.2 5B and of ERNIE make 16 x 16 one, Radiance and PRXPixel have none."""
    family = load_family(name)
    if not family.vae_parts:
        assert FAMILIES[name].pixel_multiple == family.pixel_multiple.fget(family) == {"chroma_radiance": 32, "prx_pixel": 16}[name]
    else:
        assert (
            FAMILIES[name].pixel_multiple
            == {"wan22_5b": 16, "ernie_image": 16, "ltx_video": 32, "ltx2": 32}.get(name, 8) * family.latent_multiple
        )
    assert multiple_of("unknown/model", name) == FAMILIES[name].pixel_multiple


@pytest.mark.parametrize(("base", "said"), [("FLUX.2-klein-base-4B", "144 × 208"), ("FLUX.1-Kontext-dev", "")])
def test_reference_pictures_are_told_at_the_size_at_which_they_are_shown(base, said, folder, tmp_path):
    """Beside pictures of one size, references of two sizes make two kinds of batches."""
    for index, size in enumerate([(150, 210), (210, 150)]):
        draw(tmp_path / "after" / f"{index}.png", (200, 200))
        draw(tmp_path / "before" / f"{index}.png", size)
    job = tmp_path / "job.yaml"
    data = f"datasets: [{{path: '{tmp_path / 'after'}', control_path: '{tmp_path / 'before'}', resolution: 64}}]"
    job.write_text(f"name: x\nmodel: {{name_or_path: black-forest-labs/{base}}}\n{data}\ntrain: {{batch_size: 2}}\n")
    result = CliRunner().invoke(app, ["data", "preview", str(job), "--output", str(tmp_path / "sheets")])
    assert result.exit_code == 0, result.output
    assert ("reference 144 × 208" in result.output) == ("reference 208 × 144" in result.output) == bool(said)
    assert f"{2 if said else 1} batch" in result.output
    setup = open_setup(job)
    first = preview(setup.datasets, setup.items, setup.resolution, setup.multiple, setup.reference_size)[0]
    assert first.facts()["references"] == ([[144, 208]] if said else [])


def test_looking_loads_no_torch():
    code = "import engine.data.preview, engine.data.setup, sys; assert 'torch' not in sys.modules and 'diffusers' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)

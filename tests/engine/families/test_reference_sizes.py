"""Reference pictures in sizes of their own: as the stock pipelines show them, and in batches of equal ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from test_every_family import make_job, run
from test_parity import as_pixels, conditioning, request_of, wrapped

from engine.data.scan import Item
from engine.data.sizes.buckets import Placed
from engine.families.catalog import FAMILIES
from engine.training.loader import Loader
from engine.training.reference_sizes import with_own_sizes

CASES = {case.name: case for case in tiny.CASES}


class Seen(Exception):
    pass


def encoded_at(family, request, picture, monkeypatch) -> tuple[int, int]:
    """Width and height at which the stock pipeline encodes a reference picture."""

    def spy(pixels, *rest, **named):
        raise Seen(pixels.shape[-1], pixels.shape[-2])

    cond = conditioning(family, "a red fox", [picture])
    monkeypatch.setattr(family.pipe.vae, "encode", spy)
    with pytest.raises(Seen) as found, torch.no_grad():
        family.sample(cond, None, request, [picture])
    return found.value.args


@pytest.mark.parametrize("match", [False, True])
@pytest.mark.parametrize("size", [(75, 115), (1300, 1100)])
@pytest.mark.parametrize("name", ["flux 2 klein", "qwen image edit plus"])
def test_a_reference_picture_is_learned_at_the_size_at_which_the_pipeline_shows_it(name, size, match, monkeypatch):
    family = wrapped(CASES[name])
    family.kwargs = {"match_target_res": match}
    request = replace(request_of(CASES[name], 1.0, steps=1), width=192, height=128)
    sized = family.reference_size(*size, (request.width, request.height))
    assert sized == encoded_at(family, request, Image.new("RGB", size, "red"), monkeypatch)
    assert abs(np.log(sized[0] / sized[1] * size[1] / size[0])) < 0.25  # its own shape, on a coarse grid
    if match:
        assert 0.75 < sized[0] * sized[1] / (192 * 128) < 1.2
    elif name == "flux 2 klein":
        assert sized[0] * sized[1] <= min(size[0] * size[1], 1024 * 1024)


@pytest.mark.parametrize("name", ["flux 2", "flux 2 klein"])
def test_predicts_what_the_pipeline_predicts_beside_references_of_other_sizes(name, monkeypatch):
    case = CASES[name]
    family, stock, seen = wrapped(case), wrapped(case), []
    shades = np.random.default_rng(0).integers(0, 255, (2, 112, 112, 3), dtype=np.uint8)
    shown = [Image.fromarray(shade[:height, :width]) for shade, (width, height) in zip(shades, [(72, 112), (112, 64)])][: case.controls]
    scheduler = type(stock.pipe.scheduler)
    step = scheduler.step

    def spy(self, answer, t, sample, *rest, **named):
        seen.append((answer, t, sample))
        return step(self, answer, t, sample, *rest, **named)

    monkeypatch.setattr(scheduler, "step", spy)
    with torch.no_grad():
        cond = conditioning(family, "a red fox", shown)
        stock.sample(cond, None, request_of(case, case.guidance, steps=2), shown)
        controls = {f"control_{k}": family.encode_reference(as_pixels(picture)) for k, picture in enumerate(shown)}
        (answer, t, sample), *_ = seen
        noisy, theirs = (case.unpack(tensor, *case.latents) for tensor in (sample, answer))
        ours = family.predict(noisy, case.share(stock.pipe.scheduler, t), {**cond, **controls})
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_batches_have_references_of_equal_sizes(tmp_path):
    family = wrapped(CASES["flux 2 klein"])
    for name, size in (("a", (64, 96)), ("b", (96, 64)), ("c", (64, 96))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    items = [Item(Path("x.png"), 96, 64, "", controls=(tmp_path / f"{name}.png",)) for name in "abc"]
    placed = with_own_sizes(family, items, [Placed(index, (96, 64)) for index in range(3)])
    assert [one.shown for one in placed] == [((64, 96),), ((96, 64),), ((64, 96),)]
    assert placed[0].alike == placed[2].alike != placed[1].alike
    pair = Item(Path("x.png"), 96, 64, "", controls=(tmp_path / "a.png", tmp_path / "c.png"))
    assert with_own_sizes(family, [pair], [Placed(0, (96, 64))], last_fits=True)[0].shown == ((64, 96), (96, 64))
    kontext = wrapped(CASES["flux kontext"])
    assert [one.shown for one in with_own_sizes(kontext, items, [Placed(0, (96, 64))])] == [()]


@pytest.mark.parametrize("changing", [{}, {"random_crop": True}], ids=["kept", "encoded each time"])
def test_a_run_shows_references_in_their_own_sizes(changing, tmp_path, monkeypatch):
    case = CASES["flux 2 klein"]
    base = tiny.save(case.make(), tmp_path / "base", **case.defaults)
    job = make_job(case, base, tmp_path, {"type": "lora", "rank": 4})
    for index, size in enumerate([(64, 112), (112, 64)]):
        Image.new("RGB", size, "green").save(tmp_path / "control 0" / f"{index}.png")
    job = job.model_copy(update={"datasets": [job.datasets[0].model_copy(update=changing)]})
    sizes, load = set(), Loader.load

    def spy(self, micro):
        loaded = load(self, micro)
        for column in loaded.columns:
            tensor = column.pixels if column.pixels is not None else column.kept[0]
            sizes.add((column is loaded.columns[0], *tensor.shape[-2:]))
        return loaded

    monkeypatch.setattr(Loader, "load", spy)
    run(job, tmp_path / "runs")
    per = 1 if changing else 4
    assert sizes == {(True, 24 // per, 40 // per), (False, 112 // per, 64 // per), (False, 64 // per, 112 // per)}


@pytest.mark.parametrize("match", [False, True])
@pytest.mark.parametrize("case", [case for case in tiny.CASES if not case.patches], ids=lambda case: case.name)
def test_the_table_says_what_the_class_says(case, match):
    family, info = wrapped(case), FAMILIES[case.family]
    family.kwargs = {"match_target_res": match}
    assert family.keeps_reference_sizes == (info.reference_size is not None)
    for size in ((75, 115), (1300, 1100), (2000, 500)):
        said = info.reference_size(*size, (512, 768), family.pixel_multiple, match) if info.reference_size else (512, 768)
        assert said == family.reference_size(*size, (512, 768))

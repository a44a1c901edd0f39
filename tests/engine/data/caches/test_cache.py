from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import safetensors.torch
import torch
from pictures import draw
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from engine.control import Control
from engine.data.caches import cache as module
from engine.data.caches import shards as shards_module
from engine.data.caches.cache import LatentCache, TextCache
from engine.data.scan import Item, scan
from engine.data.sizes.buckets import Placed, place
from engine.errors import JobError
from engine.events import Event, Progress, Warned
from engine.jobs import Dataset

COLOURS = ["red", "lime", "blue", "black", "white", "gray"]


class Encoder:
    """Halves a picture's sides, as a VAE would, and counts what it was given."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, ...]] = []

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        self.batches.append(tuple(pixels.shape))
        mean = torch.nn.functional.avg_pool2d(pixels, 2)
        return mean, mean.abs() + 0.5

    @property
    def pictures(self) -> int:
        return sum(shape[0] for shape in self.batches)


@pytest.fixture
def folder(tmp_path) -> Path:
    for index, colour in enumerate(COLOURS):
        draw(tmp_path / "cats" / f"{index}.png", (64, 64) if index < 4 else (96, 32), colour, caption=colour)
    return tmp_path / "cats"


@pytest.fixture
def fill(folder, tmp_path) -> Callable[..., tuple[LatentCache, Encoder, list[Event], list[Item], list[Placed]]]:
    """Scans the folder and fills a new cache with it, as a new run would."""

    def go(encoder=None, key="one", batch_size=2, memory=None, control=None, watch=None, **settings):
        dataset = Dataset(path=str(folder), **settings)
        items = scan(dataset)
        placed = place([dataset], items, [32, 64], 16)
        latents, encoder, events = (
            LatentCache(tmp_path / "cache", {"family": key}, memory),
            encoder or Encoder(),
            [],
        )
        for event in latents.fill(items, placed, encoder, batch_size, control or Control()):
            events.append(event)
            if watch:
                watch(event)
        return latents, encoder, events, items, placed

    return go


@pytest.fixture
def small_shards(monkeypatch):
    """A file holds one batch."""
    monkeypatch.setattr(shards_module, "SHARD_BYTES", 1)


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.safetensors"))


def everything(latents: LatentCache, items: Sequence[Item], placed: Sequence[Placed]) -> list[tuple[Tensor, Tensor]]:
    return [latents.get(items[one.item], one.bucket) for one in placed]


def same(one: Sequence[tuple[Tensor, Tensor]], other: Sequence[tuple[Tensor, Tensor]]) -> bool:
    return all(torch.equal(a, b) for first, second in zip(one, other, strict=True) for a, b in zip(first, second))


@pytest.mark.parametrize("memory", [None, 0], ids=["held", "mapped"])
def test_each_placement_gets_its_own_latents(fill, memory):
    latents, encoder, events, items, placed = fill(memory=memory)
    assert len(placed) == 12 and encoder.pictures == 12
    assert all(shape[0] <= 2 for shape in encoder.batches)
    for one in placed:
        mean, std = latents.get(items[one.item], one.bucket)
        assert mean.shape == std.shape == (3, one.bucket[1] // 2, one.bucket[0] // 2)
        assert mean.device.type == "cpu" and mean.is_contiguous()
    red, lime = (latents.get(items[index], (32, 32))[0] for index in (0, 1))
    assert red[0].eq(1).all() and red[1].eq(-1).all() and lime[0].eq(-1).all() and lime[1].eq(1).all()
    last = [event for event in events if isinstance(event, Progress)][-1]
    assert (last.done, last.total, last.what) == (12, 12, "pictures")


@pytest.mark.parametrize("memory", [None, 0], ids=["held", "mapped"])
def test_a_second_run_encodes_nothing_and_gets_the_same(fill, memory, tmp_path):
    latents, _, _, items, placed = fill(memory=memory)
    again, encoder, events, _, _ = fill(memory=memory)
    assert encoder.pictures == 0 and not events
    assert same(everything(latents, items, placed), everything(again, items, placed))
    shutil.rmtree(tmp_path / "cache")
    assert same(everything(latents, items, placed), everything(again, items, placed)), "the cache may be deleted at any time"


def test_a_changed_picture_is_encoded_again_alone(fill, folder):
    fill()
    draw(folder / "2.png", (64, 64), "yellow")
    latents, encoder, _, items, _ = fill(batch_size=4)
    assert encoder.batches == [(1, 3, 32, 32), (1, 3, 64, 64)]
    assert latents.get(items[2], (32, 32))[0][1].eq(1).all()


def test_large_pictures_are_encoded_in_fewer_at_once(fill, monkeypatch):
    monkeypatch.setattr(module, "BATCH_AREA", 32 * 32)  # pictures of 64 x 64 are four times as large
    _, encoder, _, _, _ = fill(batch_size=4)
    counts = {shape[2:]: {other[0] for other in encoder.batches if other[2:] == shape[2:]} for shape in encoder.batches}
    assert counts[32, 32] == {4} and counts[64, 64] == {1}


def test_captions_triggers_repeats_dropout_and_names_cost_nothing(fill, folder):
    fill()
    (folder / "2.txt").write_text("other words")
    (folder / "2.png").rename(folder / "2 é.png")
    (folder / "2.txt").rename(folder / "2 é.txt")
    (folder / "copy.png").write_bytes((folder / "3.png").read_bytes())
    (folder / "copy.txt").write_text("a copy")
    _, encoder, _, _, placed = fill(num_repeats=7, caption_dropout_rate=0.9, trigger_word="zwx")
    assert len(placed) == 14 and encoder.pictures == 0


def test_what_changes_the_result_is_encoded_anew(fill):
    fill()
    assert fill(key="another family")[1].pictures == 12
    latents, encoder, _, items, _ = fill(flip_x=True)
    assert encoder.pictures == 12, "the mirrored ones only"
    assert fill(resolution=48)[1].pictures == 6


def test_a_mirrored_item_has_mirrored_latents(fill, folder):
    half = Image.new("RGB", (64, 64), "black")
    half.paste("white", (0, 0, 32, 64))
    half.save(folder / "0.png")
    latents, _, _, items, _ = fill(flip_x=True)
    plain, mirrored = (latents.get(items[index], (32, 32))[0] for index in (0, 1))
    assert torch.allclose(mirrored, plain.flip(2)) and not torch.allclose(mirrored, plain)


@pytest.mark.parametrize("memory", [None, 0], ids=["held", "mapped"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "json", "long"])
def test_a_damaged_file_is_made_again_and_told_of(fill, small_shards, tmp_path, memory, damage):
    latents, _, _, items, placed = fill()
    before = everything(latents, items, placed)
    count, path = len(files(tmp_path)), files(tmp_path)[0]
    data = path.read_bytes()
    path.write_bytes({
        "cut": data[:-1], "empty": b"", "text": b"this is no safetensors file", "json": b"\4\0\0\0\0\0\0\0null", "long": data + b"x",
    }[damage])  # fmt: skip
    again, encoder, events, _, _ = fill(memory=memory)
    assert encoder.pictures == 2 and len(encoder.batches) == 1, "nothing but what was in the file"
    assert [event.message for event in events if isinstance(event, Warned)] == ["A part of the cache was damaged and was deleted."]
    assert same(before, everything(again, items, placed))
    assert len(files(tmp_path)) == count
    assert fill()[1].pictures == 0


def test_a_file_that_is_nobodys_is_deleted_when_it_cannot_be_read(fill, tmp_path):
    fill()
    stray = files(tmp_path)[0].with_name("stray.safetensors")
    stray.write_bytes(b"x" * 100)
    assert fill(flip_x=True)[1].pictures == 12
    assert not stray.exists()


def test_what_does_not_fit_into_memory_is_not_read_beforehand(fill, monkeypatch):
    fill()
    read, load = [], safetensors.torch.load
    monkeypatch.setattr(safetensors.torch, "load", lambda data: read.append(data) or load(data))
    assert fill(memory=0)[1].pictures == 0 and not read
    assert fill()[1].pictures == 0 and read


def test_a_single_wrong_bit_is_noticed(fill, tmp_path):
    fill()
    data = bytearray(files(tmp_path)[0].read_bytes())
    data[-5] ^= 1
    files(tmp_path)[0].write_bytes(data)
    _, encoder, events, _, _ = fill()
    assert encoder.pictures == 12 and isinstance(events[0], Warned)


def test_a_stop_keeps_what_was_encoded_and_the_next_run_goes_on(fill, monkeypatch):
    monkeypatch.setattr(module, "EVERY", 0)
    whole = fill(key="never stopped")
    control = Control()

    def stop(event: Event) -> None:
        control.stop = isinstance(event, Progress) and event.what == "pictures" and event.done >= 4

    assert fill(control=control, watch=stop)[1].pictures == 4
    latents, encoder, _, items, placed = fill()
    assert encoder.pictures == 8
    assert encoder.batches == whole[1].batches[2:], "in the batches that it would have had"
    assert same(everything(latents, items, placed), everything(whole[0], items, placed))
    assert fill(control=Control(stop=True), key="stopped at once")[1].pictures == 0


def test_a_run_that_fails_keeps_what_was_encoded(fill, folder, tmp_path):
    data = (folder / "5.png").read_bytes()
    (folder / "5.png").write_bytes(data[:-30])
    with pytest.raises(JobError, match=r"cats/5.png cannot be read"):
        fill()
    kept = sum(len(load_file(path)) // 2 for path in files(tmp_path))
    assert kept >= 4
    (folder / "5.png").write_bytes(data)
    assert fill()[1].pictures == 12 - kept


def test_values_that_are_no_numbers_are_refused_by_name(fill, tmp_path):
    def overflow(pixels: Tensor) -> tuple[Tensor, Tensor]:
        mean = torch.nn.functional.avg_pool2d(pixels, 2)
        mean[-1, 0, 0, 0] = torch.nan
        return mean, torch.ones_like(mean)

    with pytest.raises(JobError, match=r"cats/1.png into values that are no numbers") as caught:
        fill(encoder=overflow)
    assert "model.dtype" in caught.value.hint
    assert not files(tmp_path), "and they are not kept"


def test_only_whole_files_with_a_name_of_their_own_are_left(fill, small_shards, tmp_path, folder):
    before = sorted(folder.rglob("*"))
    fill()
    left = [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert all(name.endswith(".safetensors") and len(name) == 64 + 12 for name in left if name != "pictures.db")
    assert len(files(tmp_path)) == 6
    assert sorted(folder.rglob("*")) == before


def test_a_full_disk_is_told_and_costs_nothing_that_was_there(fill, small_shards, tmp_path, monkeypatch):
    whole = shards_module.replace_file
    writes: Iterator[int] = iter(range(100))

    def refuse(path: Path, write: Callable[[Path], object]) -> None:
        if next(writes) >= 2:
            raise OSError(28, os.strerror(28))
        whole(path, write)

    monkeypatch.setattr(shards_module, "replace_file", refuse)
    with pytest.raises(JobError, match="cannot be written: No space left on device") as caught:
        fill()
    assert "Free some space" in caught.value.hint
    monkeypatch.setattr(shards_module, "replace_file", whole)
    assert fill()[1].pictures == 8


def test_memory_is_used_as_far_as_it_is_given(fill, small_shards):
    latents, _, _, items, placed = fill(memory=20_000)
    again = fill(memory=20_000)[0]
    for one in (latents, again):
        held = sum(shards_module._bytes_of(group) for group in one._shards._held.values())
        assert 0 < held <= 20_000 and one._shards._mapped
    assert same(everything(latents, items, placed), everything(again, items, placed))


class TextEncoder:
    def __init__(self) -> None:
        self.calls: list[list[str]] = []

    def __call__(self, prompts: list[str]) -> dict[str, Tensor]:
        self.calls.append(list(prompts))
        lengths = torch.tensor([float(len(prompt)) for prompt in prompts])
        return {
            "prompt_embeds": lengths[:, None, None].expand(-1, 4, 8).bfloat16(),
            "pooled": lengths[:, None],
        }


def fill_texts(tmp_path: Path, captions: list[str], batch_size: int = 2, **key: str) -> tuple[TextCache, TextEncoder, list[Event]]:
    texts, encoder = TextCache(tmp_path / "cache", {"family": "flux", **key}), TextEncoder()
    return texts, encoder, list(texts.fill(captions, encoder, batch_size, Control()))


def test_text_features_come_back_without_a_batch_dimension(tmp_path):
    for _ in range(2):
        texts, _, _ = fill_texts(tmp_path, ["", "a", "three", "日本 \udcff"])
        for caption in ("", "a", "three", "日本 \udcff"):
            group = texts.get(caption)
            assert group["prompt_embeds"].shape == (4, 8) and group["prompt_embeds"].dtype == torch.bfloat16
            assert group["pooled"].tolist() == [len(caption)]


def test_a_changed_caption_is_encoded_again_alone(tmp_path):
    assert fill_texts(tmp_path, ["a", "b", "a", "c"])[1].calls == [["a", "b"], ["c"]]
    assert fill_texts(tmp_path, ["a", "b", "c"])[1].calls == []
    assert fill_texts(tmp_path, ["a", "b2", "c"])[1].calls == [["b2"]]
    assert fill_texts(tmp_path, ["a", "b", "c"], encoder="another")[1].calls == [["a", "b"], ["c"]]


def test_it_is_known_beforehand_which_captions_need_the_encoder(tmp_path):
    fill_texts(tmp_path, ["a", "b"])
    texts = TextCache(tmp_path / "cache", {"family": "flux"})
    assert texts.missing(["c", "a", "", "c"]) == ["c", ""]
    assert texts.missing(["b", "a"]) == []
    assert texts.get("a")["pooled"].tolist() == [1]


def test_damaged_text_features_are_made_again_and_told_of(tmp_path):
    fill_texts(tmp_path, ["a", "b"])
    files(tmp_path)[0].write_bytes(b"x")
    texts = TextCache(tmp_path / "cache", {"family": "flux"})
    assert texts.missing(["a", "b"]) == ["a", "b"]
    events = list(texts.fill(["a", "b"], TextEncoder(), 2, Control()))
    assert isinstance(events[0], Warned)
    assert texts.get("b")["pooled"].tolist() == [1]


def test_encoding_texts_stops_when_asked_and_keeps_what_it_has(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "EVERY", 0)
    texts, control = TextCache(tmp_path / "cache", {"family": "flux"}), Control()
    for _ in texts.fill(["a", "b", "c", "d"], TextEncoder(), 2, control):
        control.stop = True
    assert fill_texts(tmp_path, ["a", "b", "c", "d"])[1].calls == [["c", "d"]]

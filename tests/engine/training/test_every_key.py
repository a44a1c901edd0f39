"""Every key of a data set, and what it changes in the batches: what is seen without it, and what with it.

Pictures come from tiny files whose greys say which part of them is shown; batches from a Loader, and where numbers of the
loss are concerned from a whole bench.
"""

from __future__ import annotations

import ast
import io
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from clips import STEP, film
from phases import bench_of
from PIL import Image

from engine.control import Control
from engine.data.batches import Batches
from engine.data.captions.options import wording_of
from engine.data.gather import gather
from engine.data.scan import scan
from engine.data.sizes.buckets import place, pools_of
from engine.data.sizes.cuts import cut_items
from engine.errors import JobError
from engine.jobs import Dataset, TrainJob, load_job
from engine.training.bench import Bench
from engine.training.loader import Loader

TESTS = Path(__file__).parents[1]
FAMILY: Any = SimpleNamespace(sees_controls=False)


def save(path: Path, values: Any, caption: str | None = "red, green, blue, pink") -> Path:
    """A picture of these greys, and its caption."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(values, np.uint8)).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption)
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Folders of one picture or a few, by what is special in them."""
    root = tmp_path_factory.mktemp("sets")
    quarters = np.kron([[0, 85], [170, 255]], np.ones((16, 32)))  # 64 x 32
    bands = np.kron([[0], [85], [170], [255]], np.ones((16, 32)))  # 32 x 64
    save(root / "plain/a.png", quarters)
    (root / "plain/a.tags").write_text("in tags")
    save(root / "triggered/a.png", quarters, "a [trigger]")
    save(root / "bare/a.png", quarters, None)
    save(root / "short/a.png", quarters, None).with_suffix(".json").write_text('{"caption": "a long one", "caption_short": "short"}')
    save(root / "table/a.png", quarters, None)
    save(root / "erased/a.png", np.stack([quarters] * 3 + [np.kron([[255, 0]], np.ones((32, 32)))], -1), None)
    (root / "table/metadata.jsonl").write_text('{"file_name": "a.png", "text": "as text", "other": "as other"}')
    save(root / "kohya/3_cat/a.png", quarters, None)
    save(root / "tall/a.png", bands).with_suffix(".box.json").write_text("[0, 32, 32, 64]")
    save(root / "slope/a.png", np.tile(np.arange(64) * 4, (32, 1)))
    for name in "abcd":
        save(root / f"many/{name}.png", quarters, f"{name} [trigger]")
    save(root / "edges/a.png", 255 - quarters, None)
    save(root / "depths/a.png", quarters // 2, None)
    save(root / "masks/a.png", np.kron([[255, 0]], np.ones((32, 32))), None)
    save(root / "others/b.png", np.zeros((32, 64)), None)
    clear = np.zeros((32, 64, 4))
    clear[:, :32] = (85, 85, 85, 255)
    save(root / "clear/a.png", clear)
    film(root / "film/a.mkv", 20, (64, 32), caption="a film")
    with tarfile.open(root / "shard.tar", "w") as shard:
        for name, grey in {"0.one.png": 85, "0.two.png": 170}.items():
            Image.new("L", (64, 32), grey).save(file := io.BytesIO(), "PNG")
            (entry := tarfile.TarInfo(name)).size = file.tell()
            file.seek(0)
            shard.addfile(entry, file)
    return root


def job_of(root: Path, *datasets: dict[str, Any]) -> TrainJob:
    """A job on these data sets, each as if its pictures changed: a batch then holds pixels."""
    steady = {"caption_dropout_rate": 0, "augmentations": [{"method": "HorizontalFlip", "p": 0}]}
    return load_job({
        "name": "t", "trigger_word": "zzz", "model": {"name_or_path": "none"}, "train": {"steps": 1, "batch_size": 1},
        "datasets": [steady | one | {key: _placed(root, key, one[key]) for key in ("path", "mask_path", "inpaint_path", "control_path") if key in one} for one in datasets],
    })  # fmt: skip


def _placed(root: Path, key: str, names: Any) -> Any:
    return [str(root / name) for name in names] if key == "control_path" else str(root / names)


def loader_of(job: TrainJob) -> Loader:
    """What a training does up to its batches, for a model of videos that is never asked."""
    for dataset in job.datasets:
        list(gather(dataset, Control()))
    items = [item for index, one in enumerate(job.datasets) for item in scan(one, trigger=job.trigger_of(one), index=index)]
    items, _ = cut_items(job.datasets, items, "It", True, 4, 12)
    placed = place(job.datasets, items, 64, 8)
    batches = Batches(placed, 1, 0, pools_of(job.datasets)[1])
    never: Any = None
    return Loader(job, FAMILY, items, placed, batches, never, never, None, [wording_of(one) for one in job.datasets])


# what is looked at: from a loader to something that can be written down


def _corners(values: np.ndarray) -> list[int]:
    return [round(values[y, x]) for y in (0, -1) for x in (0, -1)]


def _grey(loader: Loader, micro: int = 0, column: int = 0) -> np.ndarray:
    return ((loader.load(micro).columns[column].pixels[0][0] + 1) * 127.5).numpy()


def corners(loader: Loader) -> list[list[int]]:
    """Upper left, upper right, lower left and lower right grey of each picture of an epoch."""
    return sorted(_corners(_grey(loader, micro)) for micro in range(loader.batches.steps_per_epoch))


def columns(loader: Loader) -> list[list[int]]:
    """The same of the picture and of its reference pictures."""
    return [_corners(_grey(loader, 0, index)) for index in range(len(loader.load(0).columns))]


def controls(loader: Loader) -> list[str]:
    return ["".join(path.stem for path in item.controls) for item in loader.items]


def edges(loader: Loader) -> list[tuple[int, int]]:
    """Columns of the slope at the left and right edge, in the first batches."""
    return [(round(shown[0, 0] / 4), round(shown[0, -1] / 4)) for shown in (_grey(loader, micro) for micro in range(4))]


def sizes(loader: Loader) -> list[tuple[int, ...]]:
    return sorted(tuple(loader.load(micro).columns[0].pixels[0].shape[:0:-1]) for micro in range(loader.batches.steps_per_epoch))


def frames(loader: Loader) -> list[int]:
    """Which frames of the film are shown."""
    return [round((float(frame.mean() + 1) * 127.5 - 10) / STEP) for frame in loader.load(0).columns[0].pixels[0].view(3, -1, 32, 64)[0]]


def mask(loader: Loader) -> list[float] | None:
    """That of the first batch, at its corners."""
    found = loader.load(0).mask
    return None if found is None else [float(found[0, 0, y, x]) for y in (0, -1) for x in (0, -1)]


def drawn_anew(loader: Loader) -> list[float] | None:
    """Where, of the first batch, at its corners."""
    found = loader.load(0).anew
    return None if found is None else [float(found[0, 0, y, x]) for y in (0, -1) for x in (0, -1)]


def texts(loader: Loader) -> dict[str, int]:
    """How often each caption is shown in 100 batches."""
    return dict(Counter(loader.load(micro).texts[""][0].prompt for micro in range(100)))


def first_words(loader: Loader) -> set[str]:
    return {text.split(",")[0] for text in texts(loader)}


def wordings(loader: Loader) -> int:
    """How many captions are shown; of several versions two may say the same."""
    return len(texts(loader))


def parts(loader: Loader) -> set[int]:
    """How many words the captions have."""
    return {len(text.split(", ")) for text in texts(loader)}


def epoch(loader: Loader) -> int:
    return loader.batches.steps_per_epoch


def shares(loader: Loader) -> list[int]:
    """Batches of each data set among the first 40."""
    drawn = Counter(loader.items[loader.placed[loader.batches.at(micro)[0]].item].dataset for micro in range(40))
    return [drawn[index] for index in range(len(loader.job.datasets))]


class Row(NamedTuple):
    key: str
    value: Any
    look: Callable[[Loader], Any]
    without: Any
    with_it: Any
    """What is seen; JobError where that is refused."""
    where: str = "plain"
    base: dict[str, Any] = {}
    """Settings in both."""
    beside: tuple[dict[str, Any], ...] = ()
    """Other data sets."""


PLAIN = [0, 85, 170, 255]
MASKED = {"mask_path": "masks"}
SHUFFLED = {"shuffle_tokens": True}
ORDERS = {"red", "green", "blue", "pink"}
VIDEO = {"num_frames": 5}
AUTO = {"auto_frame_count": True, "fps": 6}

TABLE = [
    Row("path", "plain", corners, [[170] * 4], [PLAIN], base={"path": "shard.tar", "image_column": "two.png", "default_caption": "x"}),
    Row("image_column", "two.png", corners, [[85] * 4], [[170] * 4], "shard.tar", {"default_caption": "x"}),
    Row("caption_ext", ".tags", texts, {"red, green, blue, pink": 100}, {"in tags": 100}),
    Row("default_caption", "a [trigger]", texts, JobError, {"a zzz": 100}, "bare"),
    Row("trigger_word", "own", texts, {"a zzz": 100}, {"a own": 100}, "triggered"),
    Row("control_path", ["edges"], columns, [PLAIN], [PLAIN, [255, 170, 85, 0]]),
    Row("control_path", ["edges", "depths"], columns, [PLAIN], [PLAIN, [255, 170, 85, 0], [0, 42, 85, 127]]),
    Row("control_path", ["others"], columns, [PLAIN], JobError),
    Row("control_from_same_folder", True, controls, ["", "", "", ""], ["b", "c", "b", "a"], "many"),
    Row(
        "num_controls_from_same_folder",
        3,
        controls,
        ["b", "c", "b", "a"],
        ["bcd", "cad", "bda", "abc"],
        "many",
        {"control_from_same_folder": True},
    ),
    Row("caption_dropout_rate", 1.0, texts, {"red, green, blue, pink": 100}, {"": 100}),
    Row("caption_dropout_rate", 0.25, texts, {"red, green, blue, pink": 100}, {"red, green, blue, pink": 74, "": 26}),
    Row("use_short_captions", True, texts, {"a long one": 100}, {"short": 100}, "short"),
    Row("caption_column", "other", texts, {"as text": 100}, {"as other": 100}, "table"),
    Row("kohya_folders", False, epoch, 3, 1, "kohya", {"default_caption": "x"}),
    Row("kohya_folders", False, texts, {"cat": 100}, JobError, "kohya"),
    Row("replacements", ["red|dark, red", "pink|"], texts, {"red, green, blue, pink": 100}, {"dark, red, green, blue, ": 100}),
    Row("shuffle_tokens", True, first_words, {"red"}, ORDERS),
    Row("keep_tokens", 1, first_words, ORDERS, {"red"}, base=SHUFFLED),
    Row("token_dropout_rate", 1.0, texts, {"red, green, blue, pink": 100}, {"red": 100}, base={"keep_tokens": 1}),
    Row("token_dropout_rate", 0.5, parts, {4}, {1, 2, 3, 4}),
    Row("random_triggers", ["zap"], texts, {"red, green, blue, pink": 100}, {"red, green, blue, pink, zap": 100}),
    Row("random_triggers_max", 2, parts, {5}, {4, 5, 6}, base={"random_triggers": ["zap", "zip"]}),
    Row("caption_variants", 2, wordings, 7, 2, base=SHUFFLED),
    Row("resolution", 32, sizes, [(64, 32)], [(40, 24)]),
    Row("resolution", [32, 64], sizes, [(64, 32)], [(40, 24), (64, 32)]),
    Row("buckets", [[16, 16], [48, 16]], sizes, [(64, 32)], [(48, 16)]),
    Row("square_crop", True, sizes, [(64, 32)], [(32, 32)]),
    Row("crop", "top", corners, [[85, 85, 170, 170]], [[0, 0, 85, 85]], "tall", {"square_crop": True}),
    Row("crop", "subject", corners, [[85, 85, 170, 170]], [[170, 170, 255, 255]], "tall", {"square_crop": True}),
    Row("random_crop", True, edges, [(16, 47)] * 4, [(7, 38), (17, 48), (13, 44), (7, 38)], "slope", {"square_crop": True}),
    Row("random_scale", True, edges, [(0, 62)] * 4, [(12, 50), (12, 51), (8, 55), (12, 51)], "slope", {"buckets": [[32, 16]]}),
    Row("scale", 0.5, sizes, [(64, 32)], [(32, 16)]),
    Row("num_repeats", 5, epoch, 1, 5),
    Row("weight", 3, shares, JobError, [30, 10], beside=({"path": "triggered", "weight": 1},)),
    Row("flip_x", True, corners, [PLAIN], [PLAIN, [85, 0, 255, 170]]),
    Row("flip_y", True, corners, [PLAIN], [PLAIN, [170, 255, 0, 85]]),
    Row("augmentations", [{"method": "HorizontalFlip"}], corners, [PLAIN], [[85, 0, 255, 170]]),
    Row("alpha_color", "#010101", corners, [[85, 255, 85, 255]], [[85, 1, 85, 1]], "clear"),
    Row("mask_path", "masks", mask, None, [1, 0, 1, 0]),
    Row("alpha_mask", True, mask, None, [1, 0, 1, 0], "clear"),
    Row("invert_mask", True, mask, [1, 0, 1, 0], [0, 1, 0, 1], base=MASKED),
    Row("mask_min_value", 0.25, mask, [1, 0, 1, 0], [1, 0.25, 1, 0.25], base=MASKED),
    Row("allow_missing", True, mask, JobError, None, base={"mask_path": "others"}),
    Row("inpaint_path", "erased", drawn_anew, None, [0, 1, 0, 1]),
    Row("inpaint_path", "others", drawn_anew, None, JobError),
    Row("is_reg", True, shares, [8, 32], [20, 20], beside=({"path": "many"},)),
    Row("is_reg", True, texts, {"a zzz": 100}, {"a [trigger]": 100}, "triggered"),
    Row("upscale", True, sizes, [(64, 32)], [(88, 40)]),
    Row("num_frames", 5, frames, JobError, [0, 4, 9, 14, 19], "film"),
    Row("num_frames", 1, frames, JobError, [0], "film"),
    Row("shrink_video_to_frames", False, frames, [0, 4, 9, 14, 19], [4, 6, 8, 10, 12], "film", VIDEO),
    Row("fps", 6, frames, [4, 6, 8, 10, 12], [1, 5, 9, 13, 17], "film", VIDEO | {"shrink_video_to_frames": False}),
    Row("auto_frame_count", True, frames, JobError, [0, 2, 4, 6, 8, 10, 12, 14, 16], "film"),
    Row("trim_auto_frame_count_tail", False, frames, [0, 4, 8, 12, 16], [0, 4, 9, 14, 19], "film", AUTO),
]


def seen(row: Row, root: Path, **more: Any) -> Any:
    """What ``look`` sees with these settings; JobError where they are refused."""
    try:
        loader = loader_of(job_of(root, {"path": row.where, **row.base, **more}, *row.beside))
    except JobError:
        return JobError
    try:
        return row.look(loader)
    finally:
        loader.close()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.key}={row.value}")
def test_a_key_changes_in_the_batches_what_it_says(row, root):
    assert seen(row, root) == row.without
    assert seen(row, root, **{row.key: row.value}) == row.with_it


# what a batch on the device says beyond what was loaded


def weights(bench: Bench) -> list[float] | None:
    found = bench.batch(0).weights
    return None if found is None else found.tolist()


def is_prior(bench: Bench) -> bool:
    return bench.batch(0).is_prior


def strength(bench: Bench) -> float:
    """How strong the LoRA is during the first batch, beside its strength otherwise."""
    layer: Any = next(module for module in bench.family.denoisers[0].modules() if hasattr(module, "scaling"))
    before = dict(layer.scaling)
    with bench.with_strength(0):
        (ratio,) = (layer.scaling[name] / before[name] for name in before)
    return ratio


def learned(bench: Bench) -> list[float] | None:
    """Share of each column of latents that is learned."""
    found = bench.batch(0).mask
    return None if found is None else found[0, 0].mean(0).tolist()


ON_THE_DEVICE = [
    ("loss_multiplier", 2.5, weights, None, [2.5]),
    ("prior_reg", True, is_prior, False, True),
    ("network_weight", -0.5, strength, 1.0, -0.5),
    ("mask_path", "masks", learned, None, [1.0] * 16 + [0.0] * 16),
]

ELSEWHERE = {
    "clip_image_path": "network/guides/test_looking.py::test_each_picture_is_learned_with_the_one_that_the_job_says",
    "clip_image_from_same_folder": "network/guides/test_looking.py::test_each_picture_is_learned_with_the_one_that_the_job_says",
    "controls": "training/test_made_controls.py::test_the_model_is_shown_what_was_made_of_each_picture",
    "auto_mask": "training/test_made_controls.py::test_what_is_found_by_words_is_what_is_learned",
    "auto_inpaint": "training/test_made_controls.py::test_what_is_found_by_words_is_what_is_drawn_anew",
    "hf_config": "training/test_every_key.py::test_the_hub_is_asked_for_the_configuration_and_the_part",
    "hf_split": "training/test_every_key.py::test_the_hub_is_asked_for_the_configuration_and_the_part",
    "do_i2v": "families/test_video_data.py::test_the_small_model_is_shown_the_first_frame_where_it_is_asked_for",
}
"""Keys that need more than is here → the test that shows what they do."""


@pytest.mark.parametrize(("key", "value", "look", "without", "with_it"), ON_THE_DEVICE, ids=lambda one: one if isinstance(one, str) else "")
def test_a_key_changes_what_the_loss_is_given(key, value, look, without, with_it, root, make_job):
    for more, expected in (({}, without), ({key: _placed(root, key, value) if key == "mask_path" else value}, with_it)):
        bench = bench_of(make_job(datasets=[{"path": str(root / "plain"), "resolution": 64, **more}], train__batch_size=1))
        assert look(bench) == expected
        bench.close()


def test_the_hub_is_asked_for_the_configuration_and_the_part(monkeypatch):
    datasets = pytest.importorskip("datasets")
    asked = []

    def load(name: str, config: str | None, split: str, **_: Any) -> None:
        asked.append((name, config, split))
        raise ValueError("that is enough")

    monkeypatch.setattr(datasets, "load_dataset", load)
    for settings in ({}, {"hf_config": "small"}, {"hf_split": "validation"}):
        with pytest.raises(JobError, match="that is enough"):
            list(gather(Dataset(path="hf://owner/name", **settings), Control()))
    assert asked == [("owner/name", None, "train"), ("owner/name", "small", "train"), ("owner/name", None, "validation")]


def test_every_key_is_shown_to_do_something():
    shown = {row.key for row in TABLE} | {row[0] for row in ON_THE_DEVICE}
    assert shown | set(ELSEWHERE) == set(Dataset.model_fields)
    assert not shown & set(ELSEWHERE)
    for place_of_test in ELSEWHERE.values():
        file, name = place_of_test.split("::")
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from engine.data.caches.room import MARK, Use, clean_up, keep_within, pieces
from engine.data.caches.shards import Shards
from engine.events import Warned
from engine.settings import Settings, save_settings

HOUR = 3600


@pytest.fixture
def cache(home: Path) -> Path:
    folder = Settings().folder("cache")
    (folder / "app.json").write_text("the window's memory")
    (folder / "pictures.db").write_text("notes")
    return folder


def shard(folder: Path, name: str, hours: float, size: int = 1000) -> Path:
    """A file of a cache that was used some hours ago."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name * 64}.safetensors"
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - hours * HOUR,) * 2)
    return path


def test_what_was_used_longest_ago_goes_first_and_only_as_much_as_is_needed(cache):
    old, middle, new = (
        shard(cache / kind / "key", name, hours) for kind, name, hours in (("latents", "a", 9), ("texts", "b", 5), ("latents", "c", 1))
    )
    assert [piece.path for piece in pieces()] == [old, middle, new]
    done = clean_up(2000)
    assert (done.deleted, done.freed, done.size) == (1, 1000, 2000) and not old.exists()
    clean_up(0)
    assert not middle.exists() and not new.exists() and (cache / "app.json").exists() and (cache / "pictures.db").exists()


def test_a_folder_that_is_nothing_without_all_its_files_goes_as_one(cache):
    part = cache / "quantized" / "abc"
    part.mkdir(parents=True)
    for name in ("part.json", "0000.safetensors"):
        (part / name).write_bytes(bytes(500))
        os.utime(part / name, (time.time() - HOUR,) * 2)
    os.utime(part, (time.time() - HOUR,) * 2)
    (piece,) = pieces()
    assert piece.path == part and piece.size == 1000
    clean_up(0)
    assert not part.exists()


def test_what_a_run_uses_stays_and_goes_when_the_run_is_over(cache):
    folder = cache / "latents" / "key"
    made = Shards(folder)
    made.add("x", {"mean": torch.zeros(10)})
    made.flush()
    del made
    gc.collect()
    (used,) = folder.glob("*.safetensors")
    os.utime(used, (time.time() - 9 * HOUR,) * 2)
    stale = shard(folder, "b", 9)
    run = Shards(folder)
    assert run.missing(["x"]) == []
    done = clean_up(0)
    assert used.exists() and not stale.exists() and done.busy == used.stat().st_size
    del run
    gc.collect()
    assert not list(folder.glob(f"{MARK}*"))
    assert clean_up(0).deleted == 1 and not used.exists()


def test_the_mark_of_a_process_that_was_killed_protects_nothing(cache):
    folder = cache / "latents" / "key"
    code = f"import os; from pathlib import Path; from engine.data.caches.room import Use; use = Use(Path({str(folder)!r})); os._exit(0)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[4])
    assert len(list(folder.glob(f"{MARK}*"))) == 1
    path = shard(folder, "a", -0.01)
    clean_up(0)
    assert not path.exists() and not list(folder.glob(f"{MARK}*"))


def test_the_limit_is_told_before_anything_is_deleted(cache):
    path = shard(cache / "latents" / "key", "a", 1)
    assert list(keep_within()) == [] and path.exists()
    save_settings(Settings(cache_limit_gb=0))
    events = keep_within()
    told = next(events)
    assert isinstance(told, Warned) and "cache_limit_gb is 0" in told.message and path.exists()
    assert list(events) == [] and not path.exists()
    path = shard(cache / "latents" / "key", "a", 1)
    save_settings(Settings(cache_limit_gb=None))
    assert list(keep_within()) == [] and path.exists()


def test_a_cache_that_cannot_be_written_is_used_without_a_mark(tmp_path):
    (tmp_path / "file").touch()
    Use(tmp_path / "file" / "key")

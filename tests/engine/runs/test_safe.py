"""Files of equal content have equal bytes, and every reader of safetensors reads them."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from engine.runs.safe import read_metadata, read_safetensors, write_safetensors

WRITER = """
import sys
from pathlib import Path
import numpy as np
from engine.runs.safe import write_safetensors
names = [f"layer.{i}" for i in range(12)]
texts = [(f"key {i}", "v" * i) for i in range(12)]
if sys.argv[2] == "backwards":
    names, texts = names[::-1], texts[::-1]
write_safetensors(Path(sys.argv[1]), {name: np.full(3, int(name[6:]), np.float32) for name in names}, dict(texts))
"""


def test_two_processes_write_equal_bytes_for_equal_content(tmp_path: Path) -> None:
    written = set()
    for run in range(5):
        path, order = tmp_path / f"{run}.safetensors", ["forwards", "backwards"][run % 2]
        env = {**os.environ, "PYTHONHASHSEED": str(run + 1)}
        subprocess.run([sys.executable, "-c", WRITER, str(path), order], check=True, env=env)
        written.add(path.read_bytes())
    assert len(written) == 1


@pytest.mark.parametrize(
    "dtype",
    [
        torch.bfloat16,
        torch.float16,
        torch.float32,
        torch.float64,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.bool,
    ],
)
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (0, 4)])
def test_the_library_reads_what_was_written(tmp_path: Path, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = torch.randn(shape, generator=torch.Generator().manual_seed(0)).mul(10).to(dtype)
    metadata = {"b": 'a "quoted" text\n', "a": "é 😀 \x01 \\", "c": ""}
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"one": tensor, "other": torch.ones(3)}, metadata)
    assert torch.equal(load_file(path)["one"], tensor) and load_file(path)["one"].dtype == dtype
    assert torch.equal(read_safetensors(path)["one"], tensor)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == metadata == read_metadata(path)


def test_the_header_ends_at_a_multiple_of_eight(tmp_path: Path) -> None:
    for length in range(9):
        path = tmp_path / "x.safetensors"
        write_safetensors(path, {"w": torch.zeros(2)}, {"b": "x" * length, "a": ""})
        assert int.from_bytes(path.read_bytes()[:8], "little") % 8 == 0


def test_a_strided_tensor_is_written_in_its_order(tmp_path: Path) -> None:
    grid = np.arange(12, dtype=np.float32).reshape(3, 4)
    for written, framework in (({"w": torch.from_numpy(grid).t()}, "pt"), ({"w": grid.T}, "np")):
        write_safetensors(tmp_path / "x.safetensors", written)
        assert np.array_equal(np.asarray(read_safetensors(tmp_path / "x.safetensors", framework)["w"]), grid.T)


def test_what_was_read_lives_on_without_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {"w": torch.arange(1000.0)})
    loaded = read_safetensors(path)
    path.write_bytes(b"\0" * path.stat().st_size)
    assert torch.equal(loaded["w"], torch.arange(1000.0))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_file_can_be_read_by_those_whom_the_umask_admits(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_safetensors(tmp_path / "x.safetensors", {"w": torch.zeros(2)}, {"a": "b"})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x.safetensors").stat().st_mode) == 0o644

"""Checkpoints are all or nothing: kills, full disks and damage never reach a final name."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import JobError
from engine.jobs import load_job
from engine.runs.checkpoints import CheckpointStore, State, read_manifest
from engine.runs.folder import RunFolder
from engine.runs.safe import read_safetensors, write_safetensors


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    job = {"kind": "train", "name": "cats", "model": {"name_or_path": "base"}, "datasets": [{"path": "cats"}]}
    return RunFolder.create(tmp_path, load_job(job))


def a_state(step: int) -> State:
    return State(
        step=step,
        tensors={
            "weights": {"a": np.full(1000, step, np.float32)},
            "rng": {"cpu": np.full(16, step % 256, np.uint8)},
        },
        values={"step": step, "lr": 0.1 + 0.2, "name": "é"},
    )


def save(store: CheckpointStore, step: int, final: bool = False) -> Path:
    return store.save(
        step,
        final,
        lambda path: write_safetensors(path, {"w": np.full(500, step, np.float32)}),
        a_state(step),
    )


def steps(folder: RunFolder) -> list[int]:
    return [checkpoint.step for checkpoint in folder.checkpoints() if not checkpoint.final]


def states(folder: RunFolder) -> list[str]:
    return sorted(path.name for path in folder.state.iterdir())


def test_a_state_comes_back_as_it_was(folder: RunFolder) -> None:
    store = CheckpointStore(folder, keep=2, keep_states=1)
    tensors = {
        "weights": {"a": torch.randn(3, 4).bfloat16(), "b": torch.randn(())},
        "optimizer": {"a.exp_avg": torch.randn(3, 4), "a.step": torch.tensor(7.0)},
        "rng": {"cpu": torch.get_rng_state()},
        "empty": {},
    }
    values = {
        "lr": 0.1 + 0.2,
        "tiny": 5e-324,
        "big": 2**70,
        "list": [1, None, True, "ü"],
        "nested": {"a": {}},
    }
    path = store.save(7, False, lambda path: write_safetensors(path, tensors["weights"]), State(7, tensors, values))
    assert path == folder.checkpoint_path(7) and torch.equal(read_safetensors(path)["a"], tensors["weights"]["a"])
    loaded = CheckpointStore(folder, keep=2, keep_states=1).latest()
    assert loaded is not None and loaded.step == 7 and loaded.values == values
    assert loaded.tensors.keys() == tensors.keys()
    for group, some in tensors.items():
        assert loaded.tensors[group].keys() == some.keys()
        assert all(torch.equal(loaded.tensors[group][name], tensor) for name, tensor in some.items())
    quickly = CheckpointStore(folder, keep=2, keep_states=1).latest_values()
    assert quickly == State(7, {}, values)


def test_a_run_without_a_state_has_none(folder: RunFolder) -> None:
    store = CheckpointStore(folder, keep=2, keep_states=1)
    assert store.latest() is None and store.latest_values() is None


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing", "no manifest", "half a manifest"])
def test_a_damaged_state_is_passed_over_for_the_one_before(folder: RunFolder, damage: str) -> None:
    store = CheckpointStore(folder, keep=5, keep_states=2, framework="np")
    save(store, 10)
    save(store, 20)
    target = folder.state_path(20) / ("manifest.json" if "manifest" in damage else "weights.safetensors")
    content = target.read_bytes()
    match damage:
        case "cut" | "half a manifest":
            target.write_bytes(content[: len(content) // 2])
        case "flipped":
            target.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        case _:
            target.unlink()
    loaded = store.latest()
    assert loaded is not None and loaded.step == 10 and loaded.tensors["weights"]["a"][0] == 10
    assert store.latest_values().step == (20 if damage == "flipped" else 10), "it looks at the sizes of tensors"


def test_values_that_were_touched_are_none(folder: RunFolder) -> None:
    store = CheckpointStore(folder, keep=5, keep_states=2, framework="np")
    save(store, 10)
    save(store, 20)
    path = folder.state_path(20) / "values.json"
    path.write_text("[" + path.read_text()[1:])
    assert store.latest_values().step == store.latest().step == 10


def test_after_going_on_from_an_older_state_the_damaged_one_is_gone(folder: RunFolder) -> None:
    store = CheckpointStore(folder, keep=5, keep_states=1, framework="np")
    save(store, 30)
    (folder.state_path(30) / "values.json").unlink()
    save(store, 25)
    assert states(folder) == ["000000025"]
    assert store.latest().step == 25 and steps(folder) == [25, 30]


@pytest.mark.parametrize(
    ("keep", "keep_states", "kept", "kept_states"),
    [(2, 1, [3, 4], [4]), (5, 2, [1, 2, 3, 4], [3, 4]), (0, 1, [4], [4])],
)
def test_the_newest_are_kept(folder: RunFolder, keep: int, keep_states: int, kept: list[int], kept_states: list[int]) -> None:
    store = CheckpointStore(folder, keep, keep_states, framework="np")
    for step in range(1, 5):
        assert save(store, step).exists()
    assert steps(folder) == kept and [int(name) for name in states(folder)] == kept_states


def test_the_final_weights_stay_beside_those_that_are_kept(folder: RunFolder) -> None:
    for keep, kept in ((2, [2, 3]), (0, [])):
        store = CheckpointStore(folder, keep, keep_states=1, framework="np")
        for step in range(1, 4):
            save(store, step)
        assert save(store, 4, final=True) == folder.final_path
        assert steps(folder) == kept and folder.final_path.exists() and states(folder) == ["000000004"]


def test_a_whole_model_is_a_folder_without_an_ending_and_can_be_saved_again(folder: RunFolder) -> None:
    store = CheckpointStore(folder, keep=1, keep_states=1)

    def write(path: Path) -> None:
        (path / "unet").mkdir(parents=True)
        write_safetensors(path / "unet" / "model.safetensors", {"w": torch.zeros(4)}, {"format": "pt"})

    for _ in range(2):
        assert store.save(5, False, write, State(5)) == folder.path / "cats_000000005"
    assert store.save(6, True, write, State(6)) == folder.path / "cats"
    assert [c.path.name for c in folder.checkpoints()] == ["cats_000000005", "cats"]
    store.save(7, False, write, State(7))
    assert not (folder.path / "cats_000000005").exists() and not list(folder.path.glob(".*"))


def test_what_a_killed_process_left_is_swept_at_the_next_start(folder: RunFolder) -> None:
    for parent in (folder.path, folder.state):
        (parent / ".abcd_123.tmp" / "half").mkdir(parents=True)
    CheckpointStore(folder, keep=1, keep_states=1)
    assert not list(folder.path.rglob(".*"))


def test_weights_that_cannot_be_written_leave_the_older_ones(folder: RunFolder) -> None:
    store = CheckpointStore(folder, keep=1, keep_states=1, framework="np")
    save(store, 1)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}

    def write(path: Path) -> None:
        path.write_bytes(b"half")
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        store.save(2, False, write, a_state(2))
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from engine.errors import JobError
from engine.runs.checkpoints import CheckpointStore, State
from engine.runs.folder import RunFolder
from engine.runs.safe import write_safetensors
store = CheckpointStore(RunFolder(Path(sys.argv[1])), 3, 2, framework="np")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file too large is then an error, as a full disk is
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
weights, state = (np.ones(int(size), np.float32) for size in sys.argv[2:4])
write = {"safetensors": lambda path: write_safetensors(path, {"w": weights}), "plain": lambda path: path.write_bytes(weights.tobytes())}
try:
    store.save(20, False, write[sys.argv[4]], State(20, {"weights": {"w": state}}))
except JobError as error:
    sys.exit(str(error))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit for files")
@pytest.mark.parametrize(
    ("weights", "state", "writer"),
    [(50_000, 1, "safetensors"), (50_000, 1, "plain"), (1, 50_000, "safetensors")],
)
def test_a_disk_that_fills_up_during_a_save_leaves_the_older_files_and_says_what_to_do(
    folder: RunFolder, weights: int, state: int, writer: str
) -> None:
    store = CheckpointStore(folder, keep=3, keep_states=2, framework="np")
    save(store, 10)
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    command = [sys.executable, "-c", FULL, str(folder.path), str(weights), str(state), writer]
    result = subprocess.run(command, capture_output=True, text=True)
    assert "The disk is full: step 20 could not be saved" in result.stderr and "Free 1 MB there, or choose another" in result.stderr
    if weights == 1:
        before[folder.checkpoint_path(20)] = folder.checkpoint_path(20).read_bytes()  # whole weights, without a state
    assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before
    assert not list(folder.path.rglob(".*")) and store.latest().step == 10


def test_a_save_that_does_not_fit_is_not_begun(folder: RunFolder) -> None:
    store = CheckpointStore(folder, keep=1, keep_states=1, framework="np")
    huge = np.broadcast_to(np.zeros(1, np.float32), (1 << 60,))  # takes no memory
    with pytest.raises(JobError, match=r"The disk is full.*Free \d{10,} MB there"):
        store.save(1, False, lambda path: pytest.fail("it was begun"), State(1, {"weights": {"w": huge}}))


def check_all(folder: RunFolder) -> None:
    """Every file under a final name is whole."""
    for checkpoint in folder.checkpoints():
        parts = sorted(checkpoint.path.iterdir()) if checkpoint.path.is_dir() else [checkpoint.path]
        assert len(parts) == 1 or [part.name for part in parts] == ["a.safetensors", "b.safetensors"]
        for part in parts:
            assert len(set(read_safetensors(part, "np")["w"].tolist())) == 1, part
    for path in folder.state.glob("0*"):
        assert read_manifest(path), path


LOOP = """
import sys
from pathlib import Path
import numpy as np
from engine.runs.checkpoints import CheckpointStore, State
from engine.runs.folder import RunFolder
from engine.runs.safe import write_safetensors
store = CheckpointStore(RunFolder(Path(sys.argv[1])), 2, 1, framework="np")
last = store.latest()
step = last.step if last else 0
print(step, flush=True)
while True:
    step += 1
    tensors = {"w": np.full(50_000, step, np.float32)}
    def whole(path):
        path.mkdir()
        for part in "ab":
            write_safetensors(path / f"{part}.safetensors", tensors)
    write = whole if step % 3 == 0 else lambda path: write_safetensors(path, tensors, {"step": str(step), "a": "b"})
    store.save(step, step % 5 == 0, write, State(step, {"weights": tensors, "optimizer": tensors}, {"step": step}))
    print(step, flush=True)
"""


def test_twelve_kills_leave_whole_files_and_the_newest_state(folder: RunFolder) -> None:
    """Each process goes on where the killed one was; every file under a final name is read after every kill.

    A kill comes within a save or after one, so many saves after the beginning: however fast the computer is just now.
    """
    moments, reached = random.Random(0), 0
    waits = [0, 1, 3, 0, 2, 5, 1, 0, 4, 2, 1, 3]
    for saves in waits:
        process = subprocess.Popen([sys.executable, "-c", LOOP, str(folder.path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        assert int(process.stdout.readline()) >= reached  # what was told to be saved is where it goes on
        said = [int(process.stdout.readline()) for _ in range(saves)]
        reader = threading.Thread(target=lambda p=process, s=said: s.extend(int(line) for line in p.stdout if line.endswith("\n")))
        reader.start()
        time.sleep(moments.uniform(0.0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        reader.join()
        process.stdout.close()
        reached = max([reached, *said])
        check_all(folder)
        state = CheckpointStore(folder, keep=2, keep_states=1, framework="np").latest()
        assert state is not None or reached == 0
        if state:
            assert state.step >= reached and state.tensors["optimizer"]["w"][0] == state.step == state.values["step"]
    assert reached >= sum(waits)


def test_a_disk_that_is_full_while_folders_are_copied_into_a_whole_model_is_told_as_that(folder: RunFolder, tmp_path: Path) -> None:
    """shutil gathers what went wrong in an error of its own, which has no number."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "vae.safetensors").write_bytes(b"x")

    def full(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), source)

    with pytest.raises(JobError, match="The disk is full: step 5 could not be saved"):
        CheckpointStore(folder, 1, 1, framework="np").save(
            5, False, lambda path: shutil.copytree(tmp_path / "base", path, copy_function=full), State(5, {}, {})
        )
    assert not folder.checkpoints() and not list(folder.path.glob(".*.tmp"))


EVERY_MOMENT = """
import os, signal, sys
from pathlib import Path
import numpy as np
from engine.runs.checkpoints import CheckpointStore, State, read_manifest
from engine.runs.folder import RunFolder
from engine.runs.safe import read_safetensors, write_safetensors

folder = RunFolder(Path(sys.argv[1]))

def save(step):
    tensors = {"w": np.full(64, step, np.float32)}
    def whole(path):
        path.mkdir()
        write_safetensors(path / "a.safetensors", tensors)
        write_safetensors(path / "b.safetensors", tensors)
    store = CheckpointStore(folder, 1, 1, framework="np")
    store.save(step, False, whole, State(step, {"weights": tensors}, {"step": step}))

def operations_before_kill(step, last):
    seen = 0
    def count(event, arguments):
        nonlocal seen
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.truncate"):
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    save(step)

kills, step = 0, 1
save(step)
while True:
    child = os.fork()
    if child == 0:
        operations_before_kill(step + kills % 2, kills + 1)  # again over the newest, or the next
        os._exit(0)
    killed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    newest = CheckpointStore(folder, 1, 1, framework="np").latest()
    for checkpoint in folder.checkpoints():
        found = [set(read_safetensors(part, "np")["w"].tolist()) for part in checkpoint.path.iterdir()]
        assert found == [{float(checkpoint.step)}] * 2, (kills, checkpoint, found)
    states = list(folder.state.glob("0*"))
    assert all(read_manifest(path) for path in states), (kills, states)
    assert newest and newest.step >= step, kills
    assert newest.step in [checkpoint.step for checkpoint in folder.checkpoints()], kills
    step = newest.step
    if not killed:
        break
    kills += 1
print(kills)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")
def test_a_kill_before_each_single_file_operation_of_a_save_leaves_whole_files(folder: RunFolder) -> None:
    result = subprocess.run([sys.executable, "-c", EVERY_MOMENT, str(folder.path)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 40


def test_what_is_saved_beside_the_weights_goes_with_them(folder: RunFolder) -> None:
    """A new word, for example. The files of two experts are no such thing: each is a checkpoint of its own."""

    def write(path: Path) -> None:
        path.touch()
        path.with_stem(f"{path.stem}_embedding").touch()

    store = CheckpointStore(folder, keep=1, keep_states=1, framework="np")
    for step in (1, 2, 3):
        assert store.save(step, step == 3, write, a_state(step)).name == (
            "cats.safetensors" if step == 3 else f"cats_{step:09d}.safetensors"
        )
    names = sorted(path.name for path in folder.path.glob("*.safetensors"))
    assert names == ["cats.safetensors", "cats_000000002.safetensors", "cats_000000002_embedding.safetensors", "cats_embedding.safetensors"]
    assert [path.name for path in folder.files_of(folder.checkpoints()[-1])] == ["cats.safetensors", "cats_embedding.safetensors"]
    for ending in ("high", "low"):
        (folder.path / f"cats_{ending}_noise.safetensors").touch()
    assert len(folder.files_of(folder.checkpoints()[-1])) == 1 and len(folder.files_of(folder.checkpoints()[1])) == 2

"""The launcher: what it sets up, what it forwards, and what it says when it cannot.

The whole of it runs, in a copy of its files with a space in the folder's name, and requirements that need no network.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from engine import bootstrap, install, pip

ROOT = Path(__file__).resolve().parent.parent
FILES = ["launch.sh", "launch.bat", "engine/__init__.py", "engine/bootstrap.py", "engine/install.py", "engine/pip.py"]
APP = """import json, os, signal, sys, time
try:  # around the line that says it is there: the Ctrl-C may come right after it
    print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd(), "python": sys.prefix, "policy": os.environ["OMP_WAIT_POLICY"]}), flush=True)
    if "--wait" in sys.argv:
        time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(7)
sys.exit(3)
"""
posix = pytest.mark.skipif(os.name == "nt", reason="launch.sh is for the others")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the launcher with an app that tells how it was called; nothing to install."""
    folder = tmp_path_factory.mktemp("a place") / "Dark room"
    for name in FILES:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    (folder / "requirements.txt").write_text("# nothing\n")
    (folder / "app.py").write_text(APP)
    (folder / "engine" / "__main__.py").write_text(APP)
    # the set-up brings pip up to date first, for which it needs the network: here it keeps the one that Python brings
    text = (folder / "engine" / "install.py").read_text()
    for ours, offline in (('PIP = "pip>=25.1"', 'PIP = "pip"'), ('["--progress-bar", "raw"]', "[]")):
        assert ours in text
        text = text.replace(ours, offline)
    (folder / "engine" / "install.py").write_text(text)
    return folder


def launch(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    return subprocess.run(
        [str(folder / "launch.sh"), *arguments], cwd=folder.parent, env={**base, **environment}, capture_output=True, text=True, timeout=120
    )


def last_line(done: subprocess.CompletedProcess[str]) -> dict:
    return json.loads(done.stdout.splitlines()[-1])


@posix
def test_it_sets_up_once_and_then_hands_everything_on(copy: Path) -> None:
    first = launch(copy, "app", "--port", "7 8", PYTHONPATH="/nowhere", PYTHONHOME="")
    assert first.returncode == 3, first.stderr
    assert "Setting Darkroom up." in first.stdout and "Installing what Darkroom needs." in first.stdout
    told = last_line(first)
    assert told["arguments"] == ["--port", "7 8"] and told["folder"] == str(copy.parent)
    assert told["python"] == str(copy / ".venv") and told["policy"] == "PASSIVE"
    marker = (copy / ".venv" / "darkroom.json").stat().st_mtime_ns
    second = launch(copy, "run", "a job.yaml")
    assert second.stdout.count("\n") == 1 and last_line(second)["arguments"] == ["run", "a job.yaml"]
    assert (copy / ".venv" / "darkroom.json").stat().st_mtime_ns == marker
    assert last_line(launch(copy, "--port", "1"))["arguments"] == ["--port", "1"]  # options alone are the app's
    assert last_line(launch(copy, "--help"))["arguments"] == ["--help"]


@posix
def test_changed_requirements_are_installed_and_a_half_made_environment_is_made_again(copy: Path) -> None:
    launch(copy)
    (copy / "requirements.txt").write_text("# nothing else\n")
    again = launch(copy)
    assert "Installing what Darkroom needs." in again.stdout and "Setting Darkroom up" not in again.stdout
    stray = copy / ".venv" / "stray.txt"
    stray.write_text("of a set-up that was cut off")
    (copy / ".venv" / "darkroom.json").unlink()
    made = launch(copy)
    assert "The last set-up was not finished." in made.stdout and made.returncode == 3 and not stray.exists()
    assert launch(copy).stdout.count("\n") == 1


@posix
def test_one_ctrl_c_reaches_the_program_once_and_its_exit_code_comes_back(copy: Path) -> None:
    launch(copy)
    process = subprocess.Popen([copy / "launch.sh", "--wait"], stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None and json.loads(process.stdout.readline())["arguments"] == ["--wait"]
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    assert process.communicate(timeout=30)[0] == "interrupted\n" and process.returncode == 7


@posix
def test_two_launchers_at_once_set_up_one_after_the_other(copy: Path) -> None:
    launch(copy)
    (copy / ".venv" / "darkroom.json").unlink()
    both = [subprocess.Popen([copy / "launch.sh"], stdout=subprocess.PIPE, text=True, env=dict(os.environ)) for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] == [3, 3]
    assert sorted("Beginning again" in text for text in said) == [False, True]
    assert sum("Waiting for it." in text for text in said) == 1


@posix
def test_a_set_up_that_was_interrupted_says_so_and_leaves_no_marker(copy: Path) -> None:
    launch(copy)
    (copy / ".venv" / "darkroom.json").unlink()
    process = subprocess.Popen([copy / "launch.sh"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None and "Beginning again" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and errors == "\nStopped. The next start goes on with the set-up.\n"
    assert not (copy / ".venv" / "darkroom.json").exists()


@posix
@pytest.mark.parametrize(
    ("version", "sentence"), [("3.9", "this computer has 3.9"), ("3.14", "this computer has 3.14"), ("", "none was found")]
)
def test_without_a_python_that_fits_it_says_which_one_it_needs(copy: Path, tmp_path: Path, version: str, sentence: str) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("sh", "dirname", "readlink"):
        (tools / tool).symlink_to(shutil.which(tool) or "/bin/sh")
    if version:
        (tools / "python3").write_text(f"#!/bin/sh\necho {version}\n")
        (tools / "python3").chmod(0o755)
    away = copy / ".venv" / "darkroom.json"
    away.unlink(missing_ok=True)
    done = subprocess.run([copy / "launch.sh", "run"], env={"PATH": str(tools)}, capture_output=True, text=True)
    assert done.returncode == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith("Darkroom needs Python 3.11, 3.12 or 3.13") and sentence in done.stderr


def _prepare_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (bootstrap, install):
        monkeypatch.setattr(module, "ROOT", folder)
        monkeypatch.setattr(module, "VENV", folder / ".venv")
        monkeypatch.setattr(module, "MARKER", folder / ".venv" / "darkroom.json")
    monkeypatch.setattr(signal, "signal", lambda *_: None)


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".venv.lock").mkdir()  # as good as a folder without rights, which root does not have
    _prepare_in(tmp_path, monkeypatch)
    with pytest.raises(bootstrap.SetupError, match="cannot be written .*: move Darkroom to a folder of your own"):
        install.prepare(False)


def test_a_disk_that_is_too_small_is_told_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _prepare_in(tmp_path, monkeypatch)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**10, 10**10, 4 * 10**8))
    with pytest.raises(bootstrap.SetupError, match=r"has 0\.4 GB free and about 1 GB are needed"):
        install.prepare(False)
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "The disk is full"),
        ("WARNING: Retrying: Failed to establish a new connection: [Errno -2] Name or service not known", "check the connection"),
        ("ERROR: Could not find a version that satisfies the requirement torch==2.13.0 (from versions: none)", "check the connection"),
        ("ERROR: Could not find a version that satisfies the requirement x==9 (from versions: 1, 2)", "try Python 3.12"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED]", "PIP_CERT"),
        ("The virtual environment was not created successfully because ensurepip is not available.", "apt install python3-venv"),
        ("PermissionError: [WinError 5] Access is denied: '.venv\\\\python.exe'", "close the other windows"),
        ("strange", "A step of the installation failed; if it does so twice, delete the folder .venv and start again.\nstrange"),
    ],
)
def test_what_pip_says_becomes_a_sentence(said: str, sentence: str) -> None:
    assert sentence in pip.diagnose(said)


def test_no_network_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the pip of this very Python, and an index that nobody serves."""
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(bootstrap.SetupError, match="check the connection"):
        pip.run([sys.executable, "-m", "pip", "download", "--no-deps", "-d", str(tmp_path), "darkroom-is-not-there"], show="nothing")


@pytest.mark.parametrize(("version", "fits"), [("2.10.1", False), ("2.11.0", True), ("2.13.0+cpu", True), ("2.14.0", False)])
def test_a_torch_in_the_range_is_kept(version: str, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho {version}\n")
    python.chmod(python.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setattr(install, "venv_python", lambda: python)
    assert install.torch_fits() is fits


def test_the_torch_that_is_installed_is_one_that_is_wanted() -> None:
    lowest, highest = (install.numbers(text) for text in ("2.11", "2.14"))
    assert "torch>=2.11,<2.14" in (ROOT / "requirements.txt").read_text()
    assert lowest <= install.numbers(install.TORCH.partition("==")[2]) < highest


def test_the_launchers_agree_on_the_versions_of_python() -> None:
    for name in ("launch.sh", "launch.bat"):
        text = (ROOT / name).read_bytes().decode()
        for version in ("3.11", "3.12", "3.13"):
            assert version in text
    assert b"\r\n" in (ROOT / "launch.bat").read_bytes() and b"\r" not in (ROOT / "launch.sh").read_bytes()
    assert os.name == "nt" or os.access(ROOT / "launch.sh", os.X_OK)

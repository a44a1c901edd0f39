"""Makes .venv and installs into it: torch first, then requirements.txt. Standard library only; called by ``bootstrap``.

A step that fails becomes one sentence. A set-up that was cut off leaves no marker, and is begun again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NoReturn

from .bootstrap import (
    MARKER,
    PROJECT,
    REQUIREMENTS,
    ROOT,
    VENV,
    SetupError,
    app_wanted,
    child_environment,
    missing,
    read_marker,
    tests_wanted,
    venv_python,
    venv_version,
)
from .pip import run, say

TORCH = "torch==2.13.0"
"""Installed where none is there; requirements.txt says which others are as good."""
PIP = "pip>=25.1"
"""The first that installs dependency groups, and tells its progress in plain lines."""
GIGABYTES = {"cpu": 3, "cuda": 9, "rest": 1}
"""Room that the installation takes, downloads included."""


def prepare(tests: bool) -> None:
    """Does the steps that are missing."""
    signal.signal(signal.SIGTERM, _interrupt)
    with locked():
        steps = missing(tests)  # another window may have done them while we waited
        if "venv" in steps:
            make_venv()
        if "app" in steps:
            install_app()
            write_marker(python=venv_version(), app=app_wanted())
        if "tests" in steps:
            say("Installing what the tests need.")
            install("--group", f"{PROJECT}:test", show="nothing")
            write_marker(tests=tests_wanted())
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def write_marker(**values: str) -> None:
    new = MARKER.with_suffix(".new")
    new.write_text(json.dumps({**read_marker(), **values}, indent=2) + "\n", "utf-8")
    os.replace(new, MARKER)


@contextmanager
def locked() -> Iterator[None]:
    """One set-up at a time. The lock is the system's: it goes with the process that holds it."""
    try:
        file = (ROOT / ".venv.lock").open("a+")
    except OSError as error:
        raise SetupError(
            f"Its folder {ROOT} cannot be written ({error.strerror}): move Darkroom to a folder of your own, then start again."
        ) from None
    with file:
        if not _lock(file):
            say("Another window is setting Darkroom up. Waiting for it.")
            while not _lock(file):
                time.sleep(0.5)
        yield


def _lock(file: IO[str]) -> bool:
    """Whether the lock is ours now."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def make_venv() -> None:
    if VENV.is_dir() and any(VENV.iterdir()):
        say("The last set-up was not finished. Beginning again.")
    else:
        say("Setting Darkroom up. This is done once and takes some minutes.")
    check_room("rest")
    base = getattr(sys, "_base_executable", None) or sys.executable
    # a container that brings PyTorch for its card in the system's Python need not download it again
    shared = ["--system-site-packages"] if os.environ.get("DARKROOM_SYSTEM_PACKAGES") == "1" else []
    run([base, "-I", "-m", "venv", "--clear", *shared, str(VENV)], show="nothing")
    install(PIP, show="nothing")


def install_app() -> None:
    if not torch_fits():
        install_torch()
    check_room("rest")
    say("Installing what Darkroom needs.")
    install("-r", str(REQUIREMENTS))


def torch_fits() -> bool:
    """Whether .venv has a torch that requirements.txt admits."""
    wanted = re.search(r"^torch>=([\d.]+),<([\d.]+)", REQUIREMENTS.read_text("utf-8"), re.MULTILINE)
    if wanted is None:
        return True  # it names none
    script = "import importlib.metadata as m; print(m.version('torch'))"
    found = subprocess.run([venv_python(), "-I", "-c", script], capture_output=True, text=True)
    return found.returncode == 0 and numbers(wanted[1]) <= numbers(found.stdout) < numbers(wanted[2])


def numbers(version: str) -> tuple[int, ...]:
    """2.13.0+cpu → 2, 13, 0"""
    return tuple(int(part) for part in version.strip().split("+")[0].split(".") if part.isdigit())


def install_torch() -> None:
    """With an NVIDIA card the build for it, else the one for processors.

    The package index has one build a platform. Where that is the wrong one, uv knows where the right one is.
    """
    kind = "cuda" if nvidia_answers() else "cpu"
    check_room(kind)
    say("Installing PyTorch for your NVIDIA card, about 3 GB." if kind == "cuda" else "Installing PyTorch for the processor.")
    if sys.platform != "darwin" and not (os.name == "nt" and kind == "cpu"):
        install("uv", show="nothing")
        uv = [str(venv_python()), "-m", "uv", "pip", "install", "--python", str(venv_python())]
        uv += ["--torch-backend", "auto" if kind == "cuda" else "cpu", TORCH]  # auto: the CUDA that the driver can run
        if answers([*uv, "--dry-run"], seconds=60, UV_HTTP_TIMEOUT="8", UV_HTTP_RETRIES="0"):
            return run(uv, show="all")
        say("The list of PyTorch's builds does not answer. Taking the usual build, which may be larger.")
    install(TORCH)


def nvidia_answers() -> bool:
    """Whether there is an NVIDIA card and its driver works."""
    tool = shutil.which("nvidia-smi")
    return tool is not None and answers([tool, "-L"], seconds=20)


def answers(arguments: list[str], seconds: float, **more: str) -> bool:
    """Whether the command succeeds in that time."""
    try:
        done = subprocess.run(arguments, env={**child_environment(), **more}, capture_output=True, timeout=seconds)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def install(*what: str, show: str = "progress") -> None:
    raw = ["--progress-bar", "raw"] if show == "progress" else []
    run([str(venv_python()), "-I", "-m", "pip", "install", *raw, *what], show)


def check_room(kind: str) -> None:
    free, needed = shutil.disk_usage(ROOT).free / 1e9, GIGABYTES[kind]
    if free < needed:
        raise SetupError(f"The disk of {ROOT} has {free:.1f} GB free and about {needed} GB are needed: make room, then start again.")


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt

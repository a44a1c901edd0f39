"""Sees that .venv holds what is needed, then starts what was asked for. Called by launch.sh and launch.bat.

Standard library only: it runs before anything is installed. A marker, written last, says what is installed; while it
holds, a start reads it and ``install`` is not even loaded.

    [app] [OPTIONS]              the app
    test [OPTIONS]               installs what the tests need as well, then pytest
    anything else                python -m engine
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
MARKER = VENV / "darkroom.json"
REQUIREMENTS = ROOT / "requirements.txt"
PROJECT = ROOT / "pyproject.toml"
VERSION = "1"
"""Raised when the steps of ``install`` change, so that they are done again."""


class SetupError(Exception):
    """What is wrong and what to do, in a sentence."""


def main(arguments: list[str]) -> int:
    tests = arguments[:1] == ["test"]
    try:
        check_python()
        if missing(tests):
            sys.path.insert(0, str(ROOT))
            sys.modules["engine.bootstrap"] = sys.modules[__name__]  # so that it is not loaded a second time
            from engine.install import prepare

            prepare(tests)
    except KeyboardInterrupt:
        print("\nStopped. The next start goes on with the set-up.", file=sys.stderr)
        return 130
    except SetupError as error:
        print(f"\nDarkroom is not ready to start. {error}", file=sys.stderr)
        if not arguments and sys.stdin and sys.stdin.isatty() and os.name != "nt":
            input("Press Enter to close. ")  # started by a double click, the window would vanish
        return 1
    if tests:
        os.chdir(ROOT)
    return become(command(arguments))


def command(arguments: list[str]) -> list[str]:
    """What to run in .venv. -P: the folder that the person is in is not searched for modules."""
    if arguments[:1] == ["test"]:
        return [str(venv_python()), "-m", "pytest", *arguments[1:]]
    if arguments[:1] == ["app"]:
        return [str(venv_python()), "-P", str(ROOT / "app.py"), *arguments[1:]]
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        return [str(venv_python()), "-P", str(ROOT / "app.py"), *arguments]
    return [str(venv_python()), "-P", "-m", "engine", *arguments]


def become(arguments: list[str]) -> int:
    """Runs the command in the place of this process, so that its exit code and the signals are its own."""
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name != "nt":
        os.execve(arguments[0], arguments, child_environment())
    import subprocess

    process = subprocess.Popen(arguments, env=child_environment())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue  # it has got the same Ctrl-C, and answers it


def child_environment() -> dict[str, str]:
    """The person's environment without what would mix another Python into ours."""
    strange = {"PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__"}
    kept = {name: value for name, value in os.environ.items() if name not in strange}
    return {"OMP_WAIT_POLICY": "PASSIVE", **kept, "PYTHONPATH": str(ROOT)}


def check_python() -> None:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        this = sys.version.split()[0]
        raise SetupError(
            f"It needs Python 3.11, 3.12 or 3.13, and this is {this}: install a fitting one from python.org, then start again."
        )


def missing(tests: bool) -> list[str]:
    """The steps to do, in order: venv, app, tests. Empty: everything is as it should be."""
    marker = read_marker()
    if not marker or marker.get("python") != venv_version():
        return ["venv", "app", *(["tests"] if tests else [])]
    steps = [] if marker.get("app") == app_wanted() else ["app"]
    return [*steps, "tests"] if tests and marker.get("tests") != tests_wanted() else steps


def read_marker() -> dict[str, str]:
    """What was installed to the end; empty if the set-up was never finished."""
    try:
        marker = json.loads(MARKER.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return marker if isinstance(marker, dict) else {}


def app_wanted() -> str:
    """Changes whenever something must be installed anew for the app."""
    return hashlib.sha256(VERSION.encode() + b"\0" + REQUIREMENTS.read_bytes()).hexdigest()


def tests_wanted() -> str:
    """Changes whenever something must be installed anew for the tests."""
    import tomllib

    groups = tomllib.loads(PROJECT.read_text("utf-8"))["dependency-groups"]
    return hashlib.sha256(VERSION.encode() + b"\0" + json.dumps(groups).encode()).hexdigest()


def venv_python() -> Path:
    return VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def venv_version() -> str:
    """Version of the Python in .venv, "3.11"; "none" if it does not run."""
    if VENV.is_dir() and os.path.samefile(sys.prefix, VENV):
        return "{}.{}".format(*sys.version_info)
    import subprocess

    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        return subprocess.run([venv_python(), "-I", "-c", script], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "none"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

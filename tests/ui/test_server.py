from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from engine.errors import JobError
from ui import server
from ui.server import Options, listen, open_app

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of this computer that another program listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_without_a_wish_the_next_free_port_is_taken(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST_PORT", taken)
    with listen("127.0.0.1", None) as found:
        assert taken < found.getsockname()[1] < taken + server.PORTS


def test_a_port_that_was_asked_for_and_is_in_use_is_one_sentence(taken: int) -> None:
    with pytest.raises(JobError, match=rf"^Port {taken} cannot be used: .*\. Give another --port, or leave it out"):
        listen("127.0.0.1", taken)


@pytest.mark.parametrize("port", [99999, -1])
def test_a_port_that_does_not_exist_is_one_sentence(port: int) -> None:
    with pytest.raises(JobError, match=f"^Port {port} cannot be used"):
        listen("127.0.0.1", port)


def test_no_free_port_at_all_is_one_sentence(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST_PORT", taken)
    monkeypatch.setattr(server, "PORTS", 1)
    with pytest.raises(JobError, match="No port from"):
        listen("127.0.0.1", None)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7"])
def test_other_computers_are_let_in_only_with_a_password(host: str) -> None:
    with pytest.raises(JobError, match="Set DARKROOM_PASSWORD"):
        open_app(Options(host=host))


def test_a_second_start_that_finds_no_answer_says_so(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PATIENCE", 0.3)
    (home / ".darkroom").mkdir()
    with FileLock(home / ".darkroom" / "lock"), pytest.raises(JobError, match="already running, but it does not answer"):
        open_app(Options(browser=False))


def test_the_token_stays_the_same_and_is_for_its_owner_alone(home: Path) -> None:
    token = server._token()
    assert len(token) >= 32 and server._token() == token
    if os.name != "nt":
        assert (home / ".darkroom" / "token").stat().st_mode & 0o077 == 0
    (home / ".darkroom" / "token").write_text("short")
    assert len(server._token()) >= 32


@pytest.mark.slow
def test_the_app_opens_once_for_a_home_and_a_second_start_finds_it(home: Path, tmp_path: Path) -> None:
    def start(*options: str) -> subprocess.Popen[str]:
        command = [sys.executable, str(ROOT / "app.py"), "--no-browser", *options]
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    first = start()
    try:
        lines = [first.stdout.readline()]
        if "is in use" in lines[-1]:
            lines.append(first.stdout.readline())
        address = lines[-1].split(" at ")[1].strip()
        assert address.startswith("http://127.0.0.1:") and "?token=" in address
        second = start()
        said, _ = second.communicate(timeout=60)
        assert second.returncode == 0 and f"already open at {address}" in said
        session = json.loads((home / ".darkroom" / "session.json").read_text())
        taken = start("--port", str(session["port"]))  # the same home: it is opened, whatever port was asked for
        assert "already open" in taken.communicate(timeout=60)[0]
    finally:
        first.terminate()
        first.communicate(timeout=60)
    assert first.returncode == 0
    end = time.monotonic() + 10
    while (home / ".darkroom" / "session.json").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not (home / ".darkroom" / "session.json").exists()

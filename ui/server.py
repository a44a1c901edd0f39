"""Opens the app on a port of this computer: one process for one home, the token, the browser. It knows no widget."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from engine.errors import JobError
from engine.events import describe
from engine.extensions import load_extensions
from engine.settings import home, load_settings

FIRST_PORT, PORTS = 7860, 100
PATIENCE = 30.0
"""Seconds that another process of this home may take until it answers."""
LOCAL = {"127.0.0.1", "localhost"}


@dataclass(frozen=True)
class Options:
    """How the app is opened. ``port`` None: the first that is free."""

    host: str = "127.0.0.1"
    port: int | None = None
    browser: bool = True
    password: str | None = None


def open_app(options: Options, say: Callable[[str], object] = print) -> int:
    """Serves the app until it is told to end; the exit status. What a person can mend is a JobError."""
    if options.host not in LOCAL and not options.password:
        raise JobError(
            f"Darkroom would be open to everyone who reaches {options.host}.",
            "Set DARKROOM_PASSWORD, or give --password-file with a file that holds a password.",
        )
    lock: FileLock = FileLock(_room() / "lock", mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _open_running(options, say)
    with lock:
        server_socket = listen(options.host, options.port)
        port = server_socket.getsockname()[1]
        if options.port is None and port != FIRST_PORT:
            say(f"Port {FIRST_PORT} is in use by another program; Darkroom is on port {port}.")
        return _serve(options, server_socket, port, say)


def listen(host: str, port: int | None) -> socket.socket:
    """A socket on the port; without one, on the first free port from 7860 on."""
    for wanted in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + PORTS):
        server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if os.name != "nt":  # there it would let two programs share the port
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((host, wanted))
            server.listen(128)
            return server
        except (OSError, OverflowError) as error:
            server.close()
            if port is not None:
                reason = error.strerror if isinstance(error, OSError) else "it must be from 0 to 65535"
                raise JobError(
                    f"Port {port} cannot be used: {reason}.",
                    "Give another --port, or leave it out: a free one is found.",
                ) from None
    raise JobError(f"No port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} is free.", "Give a free one with --port.")


def _serve(options: Options, listening: socket.socket, port: int, say: Callable[[str], object]) -> int:
    import uvicorn

    token = _token()
    address = f"http://{'127.0.0.1' if options.host in LOCAL else options.host}:{port}/"
    for warning in load_extensions():
        say(describe(warning))
    app, runner = _application(token, port, options)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            _remember(token, port, address)
            say(f"Darkroom is open at {address}?token={token}")
            if options.browser:
                webbrowser.open(f"{address}?token={token}")

    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1)
    for name in ("SIGTERM", "SIGHUP", "SIGBREAK"):  # a closed terminal saves what is running, as Ctrl-C does
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), _end)
    try:
        runner.start()
        Server(config).run(sockets=[listening])
    except (KeyboardInterrupt, SystemExit):
        pass  # uvicorn has ended in order, and passes the signal on
    finally:
        if any(run.status == "running" for run in runner.runs()):
            say("Saving what is running …")
        runner.close(timeout=60)
        (_room() / "session.json").unlink(missing_ok=True)
    return 0


def _application(token: str, port: int, options: Options) -> tuple[Any, Any]:
    """The app behind its guard, and the runner that works for it. Gradio is loaded here, and not before the port is ours."""
    cache = load_settings().folder("cache")
    uploads = cache / "uploads"
    shutil.rmtree(uploads, ignore_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    import gradio as gr
    from fastapi import FastAPI

    from engine.queue.runner import Runner

    from .guard import Guard
    from .shell import build, served
    from .theme import HEAD, make_theme, stylesheet

    runner = Runner()
    demo = build(runner)
    app = gr.mount_gradio_app(
        FastAPI(docs_url=None, redoc_url=None, openapi_url=None),
        demo,
        path="",
        allowed_paths=[str(path) for path in served()],
        theme=make_theme(),
        css=stylesheet(),
        head=HEAD,
        footer_links=[],
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        ssr_mode=False,
        pwa=False,
        show_error=True,
        favicon_path=str(icon) if (icon := Path(__file__).parent.parent / "assets" / "icon.png").is_file() else None,
    )
    return Guard(app, token, port, options.password if options.host not in LOCAL else None), runner


def _end(*_: Any) -> None:
    raise SystemExit


def _room() -> Path:
    """The hidden folder for what one process of the app tells the next."""
    room = home() / ".darkroom"
    room.mkdir(mode=0o700, parents=True, exist_ok=True)
    return room


def _token() -> str:
    """The token of this home: it stays the same, so that an open tab finds the app again after a restart."""
    file = _room() / "token"
    try:
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        token = ""
    if len(token) < 32:
        token = secrets.token_urlsafe(32)
        _write_secret(file, token)
    return token


def _write_secret(file: Path, text: str) -> None:
    """For its owner only, from its first byte on."""
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as handle:
        handle.write(text)


def _remember(token: str, port: int, address: str) -> None:
    _write_secret(
        _room() / "session.json",
        json.dumps({"address": address, "token": token, "port": port, "process": os.getpid()}),
    )


def _open_running(options: Options, say: Callable[[str], object]) -> int:
    """The app of this home that runs already, in the browser; it may be still starting."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            session = json.loads((_room() / "session.json").read_text(encoding="utf-8"))
            address = f"{session['address']}?token={session['token']}"
            if _answers(address):
                say(f"Darkroom is already open at {address}")
                if options.browser:
                    webbrowser.open(address)
                return 0
        except (OSError, ValueError, KeyError):
            pass
        time.sleep(0.5)
    raise JobError("Darkroom is already running, but it does not answer.", "End the other one, then start it again.")


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> None:
        return None


def _answers(address: str) -> bool:
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay).open(address, timeout=5)
    except urllib.error.HTTPError as error:
        return error.code == 303
    except OSError:
        return False
    return False

"""The app, started as a person starts it, in a real Chromium. A page with an error, or with a request that leaves this computer, fails."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from chromium import MISSING, find_chromium
from window import PATIENCE, ROOT, settled

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@dataclass
class App:
    """app.py in a process of its own, with a home of its own, always on the same port."""

    home: Path
    port: int
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        environment = {**os.environ, "DARKROOM_HOME": str(self.home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "app.py"), "--no-browser", "--port", str(self.port)],
            cwd=self.home, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        said = []
        for line in self.process.stdout:
            said.append(line)
            if "Darkroom is open at" in line:
                return
        raise AssertionError(f"The app did not start:\n{''.join(said)}")

    def kill(self) -> None:
        """As a power cut does it."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stop(self) -> None:
        """As a closed terminal does it."""
        self.process.terminate()
        try:
            self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.kill()

    @property
    def address(self) -> str:
        session = json.loads((self.home / ".darkroom" / "session.json").read_text())
        return f"{session['address']}?token={session['token']}"


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    app = App(tmp_path_factory.mktemp("darkroom"), port)
    app.start()
    yield app
    app.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    found = find_chromium()
    if found is None:
        pytest.skip(MISSING)  # test_chromium.py fails with the same sentence
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(found), args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Witness:
    """What a page did that it must not do."""

    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    leaving: bool = False

    def watch(self, page: Any) -> None:
        page.on("console", lambda message: self._hear(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self._hear(str(error)))
        page.on("request", lambda request: self._look_at(request.url))
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))

    def reload(self, page: Any) -> None:
        """Reloads the page. That answers are on their way to the old one is no error, though Gradio says so."""
        self.leaving = True
        page.reload()
        settled(page)
        self.leaving = False

    def _hear(self, error: str) -> None:
        if not (self.leaving and ("signal is aborted" in error or "Connection errored out" in error)):
            self.errors.append(error)

    def _look_at(self, url: str) -> None:
        if not url.startswith(("http://127.0.0.1:", "data:", "blob:")):
            self.outside.append(url)


@pytest.fixture
def witness() -> Iterator[Witness]:
    witness = Witness()
    yield witness
    assert (witness.errors, witness.outside, witness.dialogs) == ([], [], [])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """A test that fails says what its pages showed: a screenshot of another machine is out of reach, words are not."""
    report = yield
    context = getattr(item, "funcargs", {}).get("context")
    if report.when == "call" and report.failed and context is not None:
        for number, page in enumerate(context.pages, 1):
            report.sections.append((f"page {number} showed", page.inner_text("body", timeout=5000)))
    return report


@pytest.fixture
def context(chromium: Any) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, color_scheme="dark")
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def page(app: App, context: Any, witness: Witness) -> Any:
    """The app's window, as it is after the launcher has opened it."""
    page = context.new_page()
    witness.watch(page)
    page.goto(app.address)
    settled(page)
    return page

"""How long it takes from the launcher to the first page.

python benchmarks/start.py                  the next start, three times, in this folder (set up before)
python benchmarks/start.py --first          the first start too, in a copy without .venv: minutes, and a download
python benchmarks/start.py --browser        until the page is drawn in Chromium, instead of until it is served
python benchmarks/start.py --json FILE      the figures as well
"""

from __future__ import annotations

import argparse
import contextlib
import http.cookiejar
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LEFT_OUT = (
    ".venv",
    ".git",
    "output",
    "cache",
    "datasets",
    "models",
    "__pycache__",
    ".darkroom",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--browser", action="store_true")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    figures: dict[str, object] = {"computer": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"}
    with opener(given.browser) as load, tempfile.TemporaryDirectory() as scratch:
        folder = ROOT
        if given.first:
            folder = Path(scratch) / "darkroom"
            shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
            figures["first"] = start(folder, Path(scratch) / "home", load)
            tell("first start", figures["first"])
        elif not (ROOT / ".venv" / "darkroom.json").exists():
            sys.exit("Start Darkroom once before: ./launch.sh doctor. Or give --first.")
        figures["next"] = [start(folder, Path(scratch) / "home", load) for _ in range(given.times)]
        for index, times in enumerate(figures["next"], 1):  # type: ignore[arg-type]
            tell(f"next start, {index}", times)
    if given.json:
        given.json.write_text(json.dumps(figures, indent=2) + "\n")


def start(folder: Path, home: Path, load: Callable[[str], None]) -> dict[str, float]:
    """Seconds until the launcher has handed over, until the address is told, and until the page is there."""
    launcher = folder / ("launch.bat" if os.name == "nt" else "launch.sh")
    environment = {**os.environ, "DARKROOM_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    begun = time.perf_counter()
    process = subprocess.Popen([launcher, "--no-browser"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if address := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line):
                told = time.perf_counter() - begun
                load(address[0])
                return {"address": told, "page": time.perf_counter() - begun}
        sys.exit(f"The app ended without an address:\n{said}")
    finally:
        process.send_signal(signal.SIGINT if os.name != "nt" else signal.SIGTERM)
        process.wait(timeout=60)


@contextlib.contextmanager
def opener(browser: bool) -> Iterator[Callable[[str], None]]:
    """A function that returns when the page of an address is there."""
    if not browser:
        yield serve
        return
    sys.path.insert(0, str(ROOT / "tests"))
    from chromium import MISSING, find_chromium
    from playwright.sync_api import sync_playwright

    program = find_chromium() or sys.exit(MISSING)
    with sync_playwright() as playwright:
        window = playwright.chromium.launch(
            executable_path=str(program), args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )

        def draw(address: str) -> None:
            page = window.new_page()
            page.goto(address, wait_until="domcontentloaded")
            page.get_by_role("tab", name="Train").wait_for()
            page.close()

        yield draw
        window.close()


def serve(address: str) -> None:
    """The page as a browser gets it: past the token, with its cookie."""
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    with urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies).open(address, timeout=60) as answer:
        if answer.status != 200 or b"gradio" not in answer.read().lower():
            sys.exit(f"{address} is not the app's page.")


def tell(what: str, times: object) -> None:
    assert isinstance(times, dict)
    print(f"{what}: address after {times['address']:.1f} s, page after {times['page']:.1f} s", flush=True)


if __name__ == "__main__":
    main()

"""The browser that the browser tests drive: the one that is installed. None is downloaded."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

MISSING = "The browser tests need Chromium: install it (Debian and Ubuntu: apt install chromium), or set CHROMIUM to its path."
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
    "C:/Program Files (x86)/Microsoft/Edge/Application/msedge.exe",
)


def find_chromium() -> Path | None:
    """The program that CHROMIUM names, else the first that is found."""
    if named := os.environ.get("CHROMIUM"):
        return Path(named) if Path(named).is_file() else None
    found = next((path for name in NAMES if (path := shutil.which(name))), None) or next(
        (path for path in PLACES if Path(path).is_file()), None
    )
    return Path(found) if found else None

"""One step of the set-up as a child process: what it says becomes a line of progress, what goes wrong a sentence.

Standard library only; called by ``install``.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import deque

from .bootstrap import SetupError, child_environment


def run(arguments: list[str], show: str) -> None:
    """Runs a step. ``show`` its progress, all that it says, or nothing; what goes wrong becomes a sentence."""
    ours = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_USER": "0", "PIP_NO_INPUT": "1", "UV_LINK_MODE": "copy"}
    process = subprocess.Popen(
        arguments, env={**child_environment(), **ours}, stdin=subprocess.DEVNULL, text=True, encoding="utf-8", errors="replace",
        stdout=None if show == "all" else subprocess.PIPE, stderr=None if show == "all" else subprocess.STDOUT,
    )  # fmt: skip
    said: deque[str] = deque(maxlen=60)
    meter = Meter()
    try:
        for line in process.stdout or ():
            said.append(line)
            if show == "progress":
                meter.hear(line)
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        meter.end()
    if code:
        raise SetupError(diagnose("".join(said)))


class Meter:
    """pip's lines as one line that changes; where nobody watches, a line for each package."""

    def __init__(self) -> None:
        self.watched, self.name, self.width = sys.stdout.isatty(), "", 0

    def hear(self, line: str) -> None:
        words = line.split()
        if words[:1] == ["Downloading"]:
            self.name = words[1].rsplit("/", 1)[-1].split("-py")[0].split("-cp")[0]
            self.tell(f"  {self.name} {' '.join(words[2:])}")
        elif words[:1] == ["Progress"] and len(words) == 4:
            done, total = int(words[1]) / 1e6, int(words[3]) / 1e6
            if self.watched and total > 20:
                self.tell(f"  {self.name}  {done:.0f} of {total:.0f} MB")
        elif line.startswith("Installing collected"):
            self.tell(f"  unpacking {line.count(',') + 1} packages")

    def tell(self, text: str) -> None:
        if self.watched:
            print("\r" + text.ljust(self.width), end="", flush=True)
            self.width = len(text)
        else:
            say(text)

    def end(self) -> None:
        if self.width:
            print("\r" + " " * self.width, end="\r", flush=True)


DIAGNOSES = {
    "no space left|errno 28|winerror 112|disk quota":
        "The disk is full: make room (3 GB, or 9 GB with an NVIDIA card), then start again.",
    "ensurepip is not available|no module named '?(ensurepip|venv)":
        "This Python lacks its module venv: install it (on Debian and Ubuntu: apt install python3-venv), then start again.",
    "certificate.verify.failed|sslerror":
        "The certificate of the download could not be checked, as happens behind some proxies: set PIP_CERT to the proxy's certificate, then start again.",
    "name resolution|name or service not known|getaddrinfo|nodename nor servname|failed to establish|newconnectionerror|network is unreachable|"
    "connection refused|connection reset|connection aborted|timed out|max retries|dns error|from versions: none":
        "The download failed because the network or the package index does not answer: check the connection, then start again.",
    "permission denied|access is denied|winerror 5|winerror 32|read-only file system":
        "A file in .venv cannot be written: close the other windows of Darkroom, or move it to a folder of your own, then start again.",
    "no matching distribution|could not find a version":
        "One of the packages has no version for this computer or this Python: try Python 3.12.",
}  # fmt: skip
"""What pip, uv or venv say, in a regular expression → the sentence for it. The first that is found counts."""


def diagnose(said: str) -> str:
    """The sentence for what a step said; its own last words when no sentence fits."""
    for pattern, sentence in DIAGNOSES.items():
        if re.search(pattern, said, re.IGNORECASE):
            return sentence
    last = "\n".join(said.strip().splitlines()[-8:])
    return f"A step of the installation failed; if it does so twice, delete the folder .venv and start again.\n{last}".rstrip()


def say(sentence: str) -> None:
    print(sentence, flush=True)

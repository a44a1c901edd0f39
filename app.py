"""Opens Darkroom in the browser."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from engine.environment import prepare
from engine.errors import JobError
from ui.server import Options, open_app


def main() -> int:
    parser = argparse.ArgumentParser(prog="darkroom", description=__doc__)
    parser.add_argument("--port", type=int, help="port to listen on; left out, the first free one from 7860 on")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; any but this computer's needs a password")
    parser.add_argument(
        "--password-file",
        type=Path,
        help="file with the password for other computers (or set DARKROOM_PASSWORD)",
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open the browser")
    given = parser.parse_args()
    try:
        password = given.password_file.read_text("utf-8").strip() if given.password_file else os.environ.get("DARKROOM_PASSWORD")
        prepare()
        return open_app(Options(given.host, given.port, not given.no_browser, password))
    except (JobError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())

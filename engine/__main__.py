"""python -m engine"""

from __future__ import annotations

import sys

from .environment import prepare


def main() -> None:
    """The command line. A JobError is a sentence and exit code 2; what else is raised is a bug and shown whole."""
    prepare()
    from .cli import app
    from .errors import JobError

    try:
        app(prog_name="launch.sh" if sys.platform != "win32" else "launch.bat")
    except JobError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

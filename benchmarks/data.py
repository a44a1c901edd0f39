"""What looking at data costs: scan, report and cache against decoding alone, and looking again at very many files.

    python benchmarks/data.py [--photos 40] [--files 100000] [--threads 2]

Photos are JPEGs of 12 megapixels with the spectrum of real ones. "Decoding" is what the pictures cost at least: every file
decoded in full once, by as many threads. The second part makes files of a few bytes, half of them pictures and half captions,
looks at them twice, each time in a new process: seconds, and the most memory that it holds. On a machine that does other work,
the seconds of a processor say more than those of the clock; the last column is of these.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

WIDTH, HEIGHT = 4000, 3000
SECOND_LOOK = """
import re, sys, time
sys.path.insert(0, {root!r})
from engine.data.report import report
from engine.data.scan import scan
from engine.jobs import Dataset
import numpy, psutil
data = Dataset(path={folder!r})
held = psutil.Process().memory_info().rss
start, worked = time.perf_counter(), time.process_time()
pictures = {look}
took, worked = time.perf_counter() - start, time.process_time() - worked
most = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024  # of Linux; getrusage counts the parent's, too
print(took, worked, held / 1e6, most / 1e6, pictures)
"""


def make_photos(folder: Path, number: int) -> None:
    """Noise whose strength falls with its frequency, in a few sheets that are turned and mixed into different pictures."""
    rng = np.random.default_rng(1)
    frequency = np.hypot(np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None])
    frequency[0, 0] = 1
    sheets = []
    for _ in range(3):
        waves = (rng.standard_normal(frequency.shape) + 1j * rng.standard_normal(frequency.shape)) / frequency**1.1
        sheet = np.fft.irfft2(waves, (HEIGHT, WIDTH)).astype(np.float32)
        sheets.append(45 * sheet / sheet.std())
    for index in range(number):
        first, second = (np.roll(sheets[(index + k) % 3], (index * 97 * (k + 1), index * 131), (0, 1)) for k in (0, 1))
        grey = 128 + 0.8 * first + 0.6 * second
        picture = np.stack([grey, grey * 0.95 + 0.05 * first, grey * 0.9 + 0.1 * second], -1)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{index:05}.jpg", quality=90)
        (folder / f"{index:05}.txt").write_text(f"a photo of a place, number {index}", encoding="utf-8")


def timed(what: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock, and of processors."""
    start, worked = time.perf_counter(), time.process_time()
    what()
    return time.perf_counter() - start, time.process_time() - worked


def photos(number: int, threads: int, room: Path) -> None:
    import torch

    from engine.control import Control
    from engine.data.caches.cache import LatentCache
    from engine.data.files.pictures import decode
    from engine.data.report import report
    from engine.data.scan import scan
    from engine.data.sizes.buckets import place
    from engine.jobs import Dataset

    folder = room / "photos"
    folder.mkdir()
    make_photos(folder, number)
    files, dataset = sorted(folder.glob("*.jpg")), Dataset(path=str(folder))
    with ThreadPoolExecutor(threads) as pool:
        alone = timed(lambda: list(pool.map(lambda path: decode(path).size, files)))
    rows = [("decoding alone", alone)]
    items = []
    rows.append(("scan", timed(lambda: items.extend(scan(dataset)))))
    rows.append(("report", timed(lambda: report(dataset))))
    rows.append(("report again", timed(lambda: report(dataset))))
    placed = place([dataset], items, 1024, 16)

    def encode(pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Stands for an autoencoder that takes no time: what is left is the cache's own work."""
        small = torch.nn.functional.avg_pool2d(pixels, 8).repeat(1, 6, 1, 1)[:, :16]
        return small, small

    def fill() -> None:
        for _ in LatentCache(room / "cache", {"benchmark": 1}).fill(items, placed, encode, 4, Control()):
            pass

    rows.append(("cache at 1024", timed(fill)))
    rows.append(("cache again", timed(fill)))
    print(f"{number} photos of {WIDTH} x {HEIGHT}, {threads} threads")
    for name, (seconds, worked) in rows:
        print(
            f"  {name:16} {seconds:8.2f} s {number / seconds:10.1f} images/s {seconds / alone[0]:8.2f} x decoding"
            f" {worked:8.2f} s of a processor {worked / alone[1]:8.2f} x decoding"
        )


def many_files(number: int, room: Path) -> None:
    folder = room / "many"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for index in range(number // 2):
        Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{index:06}.png")
        (folder / f"{index:06}.txt").write_bytes(b"a small picture of a thing, number %d, on a table" % index)
    time.sleep(2.5)  # files that were only just written are not trusted to stay
    print(f"{number:,} files, {number // 2:,} of them pictures")
    looks = {
        "scan": "len(scan(data))",
        "heads only": "report(data, decode=False).counts.pictures",
        "report": "report(data).counts.pictures",
    }
    for kind, look in looks.items():
        code = SECOND_LOOK.format(root=str(ROOT), folder=str(folder), look=look)
        for name in ("first", "again"):
            answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
            took, worked, held, most, _ = map(float, answer)
            print(
                f"  {kind:10} {name:6} {took:8.2f} s, {worked:.2f} s of a processor   {most - held:6.0f} MB beyond the {held:.0f} MB of the program"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=40, help="photos of 12 megapixels")
    parser.add_argument("--files", type=int, default=100_000, help="small files")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="threads that decode in the comparison")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        os.environ["DARKROOM_HOME"] = place
        photos(args.photos, args.threads, Path(place))
        many_files(args.files, Path(place))


if __name__ == "__main__":
    main()

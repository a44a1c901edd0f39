"""What becomes of each picture of a data set, before anything is trained: its size in the training, the part that is shown, what is lost.

Facts for the app and the command line, and contact sheets on which each picture is whole, with the part that is shown drawn into it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from ..jobs import Dataset
from .files.clips import Cut, read_first
from .files.pictures import PictureError, decode
from .scan import Item
from .sizes.buckets import Bucket, place
from .sizes.crops import Box, crop_box
from .sizes.references import SizeOf, with_own_sizes
from .words import printable

COLUMNS, ROWS = 5, 4
TILE, MARGIN, LINE = 280, 10, 18
"""Pixels: the longer side of a picture on a sheet, the space around it, a line of text."""
PAPER, INK, PALE, FRAME = "#161514", "#eeeae4", "#8f8a83", "#e5484d"
FADED = 0.28
"""How much is left of what is not shown."""
FONTS = ("segoeui.ttf", "DejaVuSans.ttf", "Helvetica.ttc", "Arial.ttf", "LiberationSans-Regular.ttf")
"""Of Windows, Linux and macOS; Pillow's own has English letters alone."""
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Shown:
    """One picture at one size."""

    item: Item
    bucket: Bucket
    box: Box
    """The part that is shown, in pixels of the picture; with random_crop and random_scale the one that would be without them."""
    repeats: int
    """How often it comes in a round."""
    moves: bool = False
    """Whether the part is another one each time."""
    references: tuple[Bucket, ...] = ()
    """Sizes of its reference pictures, where the model is shown them in sizes of their own."""

    @property
    def kept(self) -> float:
        """Share of the picture's area that is shown."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top) / (self.item.width * self.item.height)

    @property
    def scale(self) -> float:
        """Pixels of the training for one of the picture; above 1 it is enlarged."""
        return self.bucket[0] / (self.box[2] - self.box[0])

    def facts(self) -> Mapping[str, object]:
        """The same as plain values."""
        return {
            "path": printable(self.item.path), "dataset": self.item.dataset, "width": self.item.width, "height": self.item.height,
            "bucket": list(self.bucket), "box": [round(side, 1) for side in self.box], "kept": round(self.kept, 4),
            "scale": round(self.scale, 4), "repeats": self.repeats, "moves": self.moves,
            "references": [list(size) for size in self.references],
        }  # fmt: skip


def preview(
    datasets: Sequence[Dataset], items: Sequence[Item], resolution: int | Sequence[int], multiple: int, reference_size: SizeOf | None = None
) -> list[Shown]:
    """Each picture at each of its sizes, in the order of ``items``; mirrored copies are left out. JobError for what is too small.

    ``resolution`` is what the model is made for, ``multiple`` what its sides are multiples of, ``reference_size`` how large it is shown
    reference pictures.
    """
    found = []
    for placed in with_own_sizes(reference_size, items, place(datasets, items, resolution, multiple)):
        item = items[placed.item]
        if not (item.flip or item.flip_y):
            moves = datasets[item.dataset].random_crop or datasets[item.dataset].random_scale
            found.append(
                Shown(
                    item, placed.bucket, crop_box(item.width, item.height, placed.bucket, item.focus), placed.repeats, moves, placed.shown
                )
            )
    return found


def bucket_counts(shown: Sequence[Shown]) -> dict[Bucket, int]:
    """Pictures of each size, those of the most common one first."""
    counts = Counter(one.bucket for one in shown)
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def contact_sheets(shown: Sequence[Shown], folder: Path) -> Iterator[Path]:
    """Writes JPEGs of up to twenty pictures each into ``folder``; gives each as soon as it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    each = COLUMNS * ROWS
    for number, start in enumerate(range(0, len(shown), each), 1):
        path = folder / f"sheet_{number:03d}.jpg"
        _sheet(shown[start : start + each]).save(path, "JPEG", quality=88)
        yield path


def draw_shown(one: Shown, side: int = TILE) -> Image.Image:
    """The whole picture with at most ``side`` pixels a side: what is not shown is grey and dark, and a frame is around the rest.

    PictureError if the picture cannot be read.
    """
    item = one.item
    picture = read_first(item.path, Cut(1), item.background) if item.clip else decode(item.path, side, item.background)
    picture.thumbnail((side, side), Image.Resampling.LANCZOS, reducing_gap=2.0)
    across, down = picture.width / one.item.width, picture.height / one.item.height
    left, top, right, bottom = one.box
    window = (round(left * across), round(top * down), max(round(right * across), 1), max(round(bottom * down), 1))
    faded = Image.blend(Image.new("RGB", picture.size, PAPER), picture.convert("L").convert("RGB"), FADED)
    faded.paste(picture.crop(window), window[:2])
    ImageDraw.Draw(faded).rectangle((window[0], window[1], window[2] - 1, window[3] - 1), outline=FRAME, width=2)
    return faded


def _sheet(shown: Sequence[Shown]) -> Image.Image:
    wide, high = TILE + 2 * MARGIN, TILE + 2 * MARGIN + 2 * LINE
    rows = -(-len(shown) // COLUMNS)
    sheet = Image.new("RGB", (min(len(shown), COLUMNS) * wide, rows * high), PAPER)
    pen, font = ImageDraw.Draw(sheet), _font()
    for index, one in enumerate(shown):
        x, y = index % COLUMNS * wide + MARGIN, index // COLUMNS * high + MARGIN
        try:
            tile = draw_shown(one)
        except PictureError as error:
            tile = Image.new("RGB", (TILE, TILE // 2), "#2b2927")
            ImageDraw.Draw(tile).text((8, 8), _cut(error.reason, TILE - 16, font), INK, font)
        sheet.paste(tile, (x + (TILE - tile.width) // 2, y + (TILE - tile.height) // 2))
        pen.text((x, y + TILE + 4), _cut(one.item.path.name, TILE, font), INK, font)
        pen.text((x, y + TILE + 4 + LINE), _cut(told(one), TILE, font), PALE, font)
    return sheet


def told(one: Shown) -> str:
    """``1216 × 832, 94% shown``, and what else there is to say."""
    words = [f"{one.bucket[0]} × {one.bucket[1]}", f"{_percent(one.kept)} shown"]
    words += [f"enlarged {one.scale:.2g} times"] if one.scale > 1.005 else []
    words += ["moves"] if one.moves else []
    words += [f"reference {width} × {height}" for width, height in one.references]
    return ", ".join(words)


def _percent(share: float) -> str:
    """Never 100% for what is a little less."""
    return f"{100 if share > 0.9999 else min(99, round(100 * share))}%"


@lru_cache
def _font() -> Font:
    for name in FONTS:
        with suppress(OSError):
            return ImageFont.truetype(name, 13)
    return ImageFont.load_default(13)


def _cut(text: str, width: int, font: Font) -> str:
    """The text on one line, with … where it would be wider than ``width`` pixels."""
    text = " ".join(printable(text).split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"

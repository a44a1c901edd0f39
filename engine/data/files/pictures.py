"""Picture files: how large each is, and its pixels as upright sRGB.

Every fault of a file becomes a PictureError that names it. Knows nothing of folders, of captions, of buckets or of torch.
"""

from __future__ import annotations

import hashlib
import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from ...errors import JobError
from ..words import name_of

HEIC_SUFFIXES = frozenset({".heic", ".heif"})
"""What phones write. Read with a package that is an extra."""


def _reads_heic() -> bool:
    """Whether that package is here; Pillow then opens such files like any other. Tried with pillow-heif 1.8."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".avif", ".bmp", ".gif", ".tif", ".tiff"} | (HEIC_SUFFIXES if _reads_heic() else set())
)
FOREIGN_SUFFIXES = frozenset((HEIC_SUFFIXES | {".jxl", ".psd", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".svg"}) - IMAGE_SUFFIXES)
"""Pictures that cannot be read here; a person should hear of them."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""What makes a picture with this EXIF orientation upright."""

# from 89 million pixels on Pillow warns, and from 179 million on it refuses, which is what we tell people
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class PictureError(JobError):
    """A picture that cannot be used. ``reason`` goes on after its name."""

    def __init__(self, path: Path, reason: str):
        super().__init__(f"{name_of(path)} cannot be read: {reason}.", "Replace the file, or take it out of the folder.")
        self.path, self.reason = path, reason


def measure(path: Path) -> tuple[int, int]:
    """Width and height as a person sees the picture. Reads only the head of the file."""
    with opened(path) as image:
        return upright(image)


def upright(image: Image.Image) -> tuple[int, int]:
    """Width and height of an opened picture as a person sees it."""
    width, height = image.size
    return (height, width) if _orientation(image) >= 5 else (width, height)


def decode(path: Path, least: int | tuple[int, int] | None = None, background: str = "white") -> Image.Image:
    """The picture, upright, in sRGB, what is transparent over the colour ``background``; of a moving one the first frame.

    With ``least``, it may come smaller, as long as no side, or not its width and height, are under that: a JPEG is then several times as fast.
    """
    with opened(path) as image:
        orientation = _orientation(image)
        if least:
            width, height = (least, least) if isinstance(least, int) else least
            image.draft(None, (height, width) if orientation >= 5 else (width, height))
        turn = _TURNS.get(orientation)
        picture = over(background, plain(image))
        return picture if turn is None else picture.transpose(turn)


def decode_mask(path: Path, alpha: bool = False) -> Image.Image:
    """A mask, upright, in 8 bits of grey: how light the picture is, or with ``alpha`` how opaque."""
    with opened(path) as image:
        turn = _TURNS.get(_orientation(image))
        if alpha:
            image.load()
            mask = image.convert("RGBA").getchannel("A") if image.has_transparency_data else Image.new("L", image.size, 255)
        else:
            mask = over("black", plain(image)).convert("L")
        return mask if turn is None else mask.transpose(turn)


def digest(path: Path) -> str:
    """SHA-256 of the file's bytes."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PictureError(path, error.strerror or "the disk does not answer") from error


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """The file, opened by Pillow; whatever goes wrong inside is a PictureError."""
    try:
        with Image.open(path) as image:
            yield image
    except PictureError:
        raise
    except Exception as error:  # damaged bytes raise anything at all, from SyntaxError to struct.error
        raise PictureError(path, reason_of(path, error)) from error


def reason_of(path: Path, error: Exception) -> str:
    """Why a file cannot be read, as it goes on after its name."""
    if isinstance(error, FileNotFoundError):
        return "it is a link to a file that is gone" if path.is_symlink() else "it is gone"
    if isinstance(error, PermissionError):
        return "it is locked, this user may not read it"
    if isinstance(error, IsADirectoryError):
        return "it is a folder"
    if isinstance(error, MemoryError):
        return "it does not fit into memory"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 1_000_000} million pixels; save a smaller copy"
    with suppress(OSError):
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return "it is not a file"
        if not found.st_size:
            return "it is empty"
    if isinstance(error, UnidentifiedImageError):
        return "it is not a picture, or a badly damaged one"
    return f"it is damaged ({str(error).rstrip('.') or type(error).__name__})"


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 where there is none or it cannot be read."""
    if image.format == "TIFF":
        return 1  # Pillow turns these by itself
    if image.format == "PNG" and "exif" not in image.info:
        return 1  # Pillow would decode the whole file to look for it behind the pixels
    with suppress(Exception):  # damaged EXIF does not make the picture useless
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    return 1


def plain(image: Image.Image) -> Image.Image:
    """8 bits a channel, in sRGB as far as the file says what its colours are; RGB, or RGBA where it is transparent."""
    profile = image.info.get("icc_profile")
    image.load()
    if image.mode.startswith("I") or image.mode == "F":
        picture = _eight_bits(image)
    elif image.has_transparency_data:
        picture = image.convert("RGBA")
    else:
        picture = image.convert("RGB") if image.mode in ("P", "1") else image
    if profile:
        picture = _to_srgb(picture, profile)
    return picture if picture.mode in ("RGB", "RGBA") else picture.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, which Pillow would cut off at 255, or of floats up to 1."""
    values = np.asarray(image).astype(np.float64)
    top = 1.0 if image.mode == "F" else 65535.0
    if image.mode in ("I", "F") and values.max(initial=0) <= 255 and values.max(initial=0) > 1:
        top = 255.0
    return Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8))


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Colours as the profile means them. A profile that is damaged, or of another kind of picture, is left aside."""
    out = "RGBA" if image.mode == "RGBA" else "RGB"
    with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if image.mode == out and ImageCms.getProfileDescription(source).strip().startswith("sRGB"):
            return image
        turned = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=out)
        return turned or image
    return image


def over(background: str, image: Image.Image) -> Image.Image:
    """What is transparent is over this colour: RGB."""
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")

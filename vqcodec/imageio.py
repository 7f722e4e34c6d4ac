"""Image files to arrays and back. The only importer of Pillow outside the bench: its errors stay in this room.

    read_image    PNG, JPEG, WebP, AVIF, TIFF, BMP, PPM/PGM/PBM, GIF, JPEG 2000, TGA, ICO, QOI  ->  uint8 pixels
    write_image   uint8 pixels  ->  PNG, PPM/PGM, JPEG, WebP, TIFF, BMP

A .vqz file holds 8-bit grey or RGB pixels. What has an equal there is converted without a word (1 bit to grey, the
EXIF orientation), what loses something is converted with a note (palette, CMYK, further frames, colour profile), and
what would lose a channel or half its precision is refused with the way out (transparency, more than 8 bits).
"""

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from vqcodec.errors import InputError, LimitError, OutputError, VqcodecError
from vqcodec.files import MAX_PIXELS, STREAM, open_input, printable, read_stream, stream_limit

# Tried in this order. An allow-list: with Pillow's own list an EPS file would start Ghostscript. TGA has no magic
# number and comes last.
_READ_FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "GIF", "JPEG2000", "ICO", "QOI", "TGA")
_READ_NAMES = "PNG, JPEG, WebP, AVIF, TIFF, BMP, PPM, GIF, JPEG 2000, TGA, ICO or QOI"

_FORMAT_OF_SUFFIX = {
    "": "PNG",
    ".png": "PNG",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pnm": "PPM",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}

# Lossless wherever the format can be; JPEG as close as is reasonable.
_SAVE_OPTIONS: dict[str, dict[str, object]] = {
    "PNG": {"compress_level": 3},  # half the time of Pillow's 6, and no larger on decoded photos
    "PPM": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "quality": 0, "method": 2},
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "BMP": {},
}

_ORIENTATION_TAG = 0x0112
# EXIF orientation -> what puts the picture upright (EXIF 2.32, section 4.6.4).
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_GREY_MODES = {"1", "L", "LA"}
_COLOUR_MODES = {"RGB", "RGBX", "RGBA"}
_CONVERTED_MODES = {"P": "a palette", "PA": "a palette", "CMYK": "CMYK", "YCbCr": "YCbCr", "HSV": "HSV"}


@dataclass(frozen=True)
class ImageData:
    """A picture as it enters the encoder.

    pixels: uint8 [H,W] grey or [H,W,3] RGB, upright
    notes:  what was changed or dropped on the way, one short line each
    """

    pixels: NDArray[np.uint8]
    notes: tuple[str, ...]


# ------------------------------------------------------------------------------------------------ reading


def read_image(source: Path | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> ImageData:
    """The picture in a file, in standard input (`-`) or in a binary stream.

    Raises InputError where it cannot be read or cannot be held by a .vqz file, LimitError where it has more than
    `max_pixels` pixels; sizes are looked at before pixels are decoded.
    """
    if not isinstance(source, Path):
        return _read_named(source, "the image", max_pixels)
    name = "standard input" if source == STREAM else printable(source)
    with open_input(source) as stream:
        return _read_named(stream, name, max_pixels)


def _read_named(stream: BinaryIO, name: str, max_pixels: int) -> ImageData:
    if not stream.seekable():
        stream = io.BytesIO(read_stream(stream, stream_limit(max_pixels)))
    try:
        with _pillow_limit(max_pixels):
            return _read(stream, name, max_pixels)
    except VqcodecError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{name} is not a picture in a format that can be read: {_READ_NAMES}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitError(f"{name} has more than {max_pixels} pixels; --max-pixels raises the limit") from error
    except MemoryError as error:
        raise LimitError(f"{name} does not fit into memory") from error
    except Exception as error:  # Pillow's readers raise whatever broken bytes lead to: KeyError, struct.error, ...
        raise InputError(f"cannot read {name}: {printable(str(error)) or type(error).__name__}") from error


def _read(stream: BinaryIO, name: str, max_pixels: int) -> ImageData:
    with Image.open(stream, formats=_READ_FORMATS) as image:
        width, height = image.size
        if width * height > max_pixels:
            raise LimitError(f"{name} has {width} x {height} pixels, more than {max_pixels}; --max-pixels raises the limit")
        notes = []
        bits = _bits_per_sample(image, stream)
        if bits > 8 and image.format == "AVIF":  # its decoder rounds properly, while others drop bits or clip
            notes.append(f"reduced from {bits} to 8 bits per sample")
        elif bits > 8:
            raise InputError(f"{name} has {bits} bits per sample and .vqz holds 8: convert it to 8 bits first")
        image.load()
        pixels = _to_pixels(image, name, notes)
    return ImageData(pixels, tuple(notes))


def _to_pixels(image: Image.Image, name: str, notes: list[str]) -> NDArray[np.uint8]:
    """Upright grey or RGB pixels of a loaded image; what gets lost is added to `notes`."""
    if _frames(image) > 1:
        notes.append("only the first of several frames is kept")
    if not _is_srgb(image.info.get("icc_profile") or b"sRGB"):
        notes.append("the colour profile is not kept: viewers will take the pixels for sRGB")

    transparent = image.has_transparency_data
    if transparent and _is_see_through(image):
        raise InputError(f"{name} has transparent pixels, which .vqz cannot hold: flatten it onto a background first")
    if transparent:
        notes.append("the alpha channel is dropped: every pixel is opaque")

    mode = image.mode
    if mode in _CONVERTED_MODES:
        notes.append(f"converted from {_CONVERTED_MODES[mode]}")
    elif mode not in _GREY_MODES | _COLOUR_MODES:
        raise InputError(f"{name} has {mode} samples and .vqz holds 8-bit grey or RGB: convert it first")
    target = "L" if mode in _GREY_MODES or (mode == "P" and _is_grey_palette(image)) else "RGB"
    flat = image if mode == target else image.convert(target)
    return np.asarray(_upright(flat, image))


def _is_srgb(profile: bytes) -> bool:
    """Whether an ICC profile calls itself sRGB, in ASCII (version 2) or in UTF-16 (version 4)."""
    return b"sRGB" in profile or "sRGB".encode("utf-16-be") in profile


def _is_grey_palette(image: Image.Image) -> bool:
    palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    return bool((palette == palette[:, :1]).all())


def _is_see_through(image: Image.Image) -> bool:
    """Whether any pixel is less than opaque, in an alpha channel, a palette or a transparent colour."""
    return bool(image.convert("RGBA").getchannel("A").getextrema()[0] != 255)


def _upright(flat: Image.Image, image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a broken EXIF block does not make the pixels unreadable
        return flat
    return flat.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else flat


def _frames(image: Image.Image) -> int:
    try:
        return 2 if getattr(image, "is_animated", False) else 1
    except Exception:  # the frames after the first may be broken without harm to it
        return 1


def _bits_per_sample(image: ImageFile.ImageFile, stream: BinaryIO) -> int:
    """Bits per sample as the file says. Pillow's mode is no guide: it opens 16-bit RGB silently as 8-bit."""
    if image.mode.startswith(("I", "F")):
        return 32 if image.mode in ("I", "F") else 16
    if image.format == "PNG":
        return _peek(stream, 26)[24]  # signature 8, length and type of IHDR 8, width and height 8
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(258, 8)
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if image.format == "PPM":
        arguments = image.tile[0].args  # "RGB", or ("RGB", the largest sample value)
        return int(arguments[1]).bit_length() if isinstance(arguments, tuple) else 8
    if image.format == "JPEG2000":
        head = _peek(stream, 4096)
        start = head.find(b"\xff\x4f\xff\x51")  # start of codestream, size marker; the depth minus 1 is at 42
        return (head[start + 42] & 0x7F) + 1 if 0 <= start < len(head) - 42 else 8
    if image.format == "AVIF":
        head = _peek(stream, 4096)
        start = head.find(b"av1C")  # codec configuration; bits 6 and 5 of its third byte: over 8 bits, 12 bits
        flags = head[start + 6] & 0x60 if 0 <= start < len(head) - 6 else 0
        return {0x40: 10, 0x60: 12}.get(flags, 8)
    return 8


def _peek(stream: BinaryIO, count: int) -> bytes:
    """The first `count` bytes; the stream's position is kept."""
    position = stream.tell()
    stream.seek(0)
    data = stream.read(count)
    stream.seek(position)
    return data


_PILLOW_LOCK = threading.RLock()


@contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
    """Pillow's limit is a variable of its module, and lower than ours: set for the time of one reading."""
    with _PILLOW_LOCK:
        previous = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = previous


# ------------------------------------------------------------------------------------------------ writing


def format_of(path: Path) -> str:
    """The format that a file name asks for, PNG where it has no suffix. Raises OutputError for an unknown one."""
    suffix = "" if path == STREAM else path.suffix.lower()
    if suffix not in _FORMAT_OF_SUFFIX:
        known = ", ".join(sorted(s for s in _FORMAT_OF_SUFFIX if s))
        raise OutputError(f"cannot tell the picture format from {printable(suffix)!r}; known are {known}")
    return _FORMAT_OF_SUFFIX[suffix]


def write_image(pixels: NDArray[np.uint8], stream: BinaryIO, *, format: str) -> None:
    """Write uint8 [H,W] grey or [H,W,3] RGB as `format` (a value of `format_of`); lossless except for JPEG.

    Raises OutputError where the format cannot hold the picture's size.
    """
    image = Image.fromarray(pixels)
    try:
        image.save(stream, format=format, **_SAVE_OPTIONS[format])
    except (ValueError, OverflowError, SystemError, OSError) as error:
        height, width = pixels.shape[:2]
        raise OutputError(f"cannot write {width} x {height} pixels as {format}: {printable(str(error))}") from error

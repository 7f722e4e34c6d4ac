"""Picture files to arrays.

    read_image    PNG, JPEG, WebP, AVIF, TIFF, BMP, PPM/PGM/PBM, GIF, JPEG 2000, TGA, ICO, QOI and others  ->  ImageData

A .vqz file holds grey or RGB of up to 16 bits, with or without alpha; with ICC profile, EXIF and XMP. Other content is

    converted without a note  if nothing is lost: 1 bit to grey, EXIF orientation, colours signalled by other means, resolution
    converted or dropped      with a note: palette, CMYK, further frames, text
    refused                   with advice, if half the precision would be lost: more than 16 bits, and more than 8 in formats of
                              which Pillow keeps 8 (deep_reader.py reads PNG, TIFF and PPM)
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from vqcodec.arrays import Pixels, UInt8
from vqcodec.checks import MAX_PIXELS
from vqcodec.errors import InputError, LimitError, VqcodecError, printable
from vqcodec.format.header import Metadata
from vqcodec.io.files import name_of, open_input, peek, read_stream, stream_limit
from vqcodec.io.kinds import HEAD_BYTES, kind_of
from vqcodec.io.metadata import TIFF_TAGS_KEPT, metadata_of_file
from vqcodec.io.samples import (
    HEIF,
    bits_per_sample,
    deep_samples,
    flat_image,
    orientation_of,
    scaled_clear,
    upright,
    upright_samples,
)

_READ_FORMATS: Final = (
    *("PNG", "JPEG", "WEBP", "AVIF", "TIFF", "BMP", "PPM", "GIF", "JPEG2000", "QOI"),
    *("ICO", "CUR", "ICNS", "PSD", "SUN", "XPM", "XBM", "SGI", "PCX", "DIB", "TGA"),
)
"""Pillow's names of the formats that are read, tried in this order: formats with short magic numbers come last. An allow-list:
Pillow's own list has EPS, which starts Ghostscript."""
_READ_NAMES: Final = (
    "PNG, JPEG, WebP, AVIF, TIFF, BMP, PPM, GIF, JPEG 2000, QOI, TGA, ICO, CUR, ICNS, PSD, SGI, PCX, Sun, XBM or XPM"
)
_TGA_SUFFIXES: Final = (".tga", ".icb", ".vda", ".vst")
"""TGA has no magic number: it is tried only for these suffixes and for names without a suffix."""
_SUBFILE_TAG, _CHANNELS_TAG, _SUBIFDS_TAG, _SAMPLE_FORMAT_TAG, _DNG_VERSION_TAG = 254, 277, 330, 339, 50706
_SIGNED: Final = 2
"""Value of TIFF's tag SampleFormat."""


if TYPE_CHECKING:
    from vqcodec.io import deep_reader


_UNKNOWN_CHANNEL: Final = "a channel of unknown meaning is left out"


class ImageData(NamedTuple):
    """A picture ready for the encoder.

    pixels:   uint8 or uint16, [H, W] grey or [H, W, 3] RGB, with alpha [H, W, 2] or [H, W, 4]; upright
    notes:    one short line for each thing that was changed or dropped
    metadata: that of the upright picture: orientation, size and resolution are corrected, and colours signalled by other means
              have become an ICC profile
    """

    pixels: Pixels
    notes: tuple[str, ...]
    metadata: Metadata


def read_image(source: Path | BinaryIO, *, name: str = "the image", max_pixels: int = MAX_PIXELS) -> ImageData:
    """The picture in a file, in standard input (`-`), or in a binary stream, which error messages call `name`.

    Raises InputError if it cannot be read or a .vqz file cannot hold it, and LimitError if it has more than `max_pixels` pixels,
    which is checked before pixels are decoded.
    """
    if not isinstance(source, Path):
        return _read_stream(source, name, max_pixels)
    with open_input(source) as stream:
        return _read_stream(stream, name_of(source), max_pixels)


def read_opaque(source: Path | BinaryIO, *, name: str = "the image", max_pixels: int = MAX_PIXELS) -> UInt8:
    """Pixels of an opaque picture of 8 bits a sample: uint8 [H, W] or [H, W, 3]. Raises InputError for deeper and transparent
    pictures, and the errors of `read_image`."""
    name = name_of(source) if isinstance(source, Path) else name
    pixels = read_image(source, name=name, max_pixels=max_pixels).pixels
    if pixels.dtype != np.uint8:
        raise InputError(f"{name} has more than 8 bits per sample: convert it to 8 bits first")
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4):
        if pixels[:, :, -1].min() < 255:
            raise InputError(f"{name} has transparent pixels: flatten it onto a background first")
        pixels = pixels[:, :, 0] if pixels.shape[2] == 2 else pixels[:, :, :3]
    return np.ascontiguousarray(pixels, np.uint8)


def why_not_read(name: str, head: bytes) -> str:
    """The reason why a file with this name and these first HEAD_BYTES (kinds.py) is not read as a picture; empty if it is."""
    kind = kind_of(name, head)
    if kind.format == HEIF and not _register_heif():
        return f"{kind.name} needs the package pillow-heif: pip install pillow-heif, or convert it to PNG first"
    return "" if kind.format in (*_READ_FORMATS, HEIF) else kind.reason


def _register_heif() -> bool:
    """Make Pillow read HEIC. Returns whether the package for it is installed."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return False
    register_heif_opener()
    return True


def _formats(name: str, head: bytes) -> list[str]:
    """Pillow's names of the formats to try for a file with this name and these first bytes."""
    if kind_of(name, head).format == HEIF and _register_heif():
        return [HEIF]
    foreign = Path(name).suffix.lower() not in ("", *_TGA_SUFFIXES)
    return [format for format in _READ_FORMATS if not (foreign and format == "TGA")]


def _read_stream(stream: BinaryIO, name: str, max_pixels: int) -> ImageData:
    """The picture in a stream; errors of Pillow become InputError or LimitError."""
    if not stream.seekable():
        stream = io.BytesIO(read_stream(stream, stream_limit(max_pixels)))
    try:
        with _pillow_limit(max_pixels), _open(stream, _formats(name, peek(stream, HEAD_BYTES))) as image:
            return _read(image, stream, name, max_pixels)
    except VqcodecError:
        raise
    except UnidentifiedImageError as error:
        reason = why_not_read(name, peek(stream, HEAD_BYTES)) or _READ_NAMES
        raise InputError(f"{name} is not a picture in a format that can be read: {reason}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise LimitError(f"{name} has more than {max_pixels} pixels; --max-pixels raises the limit") from error
    except MemoryError as error:
        raise LimitError(f"{name} does not fit into memory") from error
    except Exception as error:  # Pillow's readers raise anything on damaged data: KeyError, struct.error, ...
        raise InputError(f"cannot read {name}: {printable(str(error)) or type(error).__name__}") from error


def _open(stream: BinaryIO, formats: list[str]) -> ImageFile.ImageFile:
    """The image in a stream, not loaded. Raises UnidentifiedImageError, and what Pillow's readers raise."""
    try:
        return Image.open(stream, formats=formats)
    except UnidentifiedImageError:
        from vqcodec.io import deep_reader

        image = deep_reader.open_grey_alpha_tiff(stream)
        if image is None:
            raise
        return image


def _read(image: ImageFile.ImageFile, stream: BinaryIO, name: str, max_pixels: int) -> ImageData:
    """The picture in an image that has been opened, but not loaded."""
    from vqcodec.io import extras  # here, as writing a picture does not need it

    width, height = image.size
    if width * height > max_pixels:
        raise LimitError(f"{name} has {width} x {height} pixels, more than {max_pixels}; --max-pixels raises the limit")
    notes: list[str] = []
    bits = bits_per_sample(image, stream)
    deep_grey = bits > 8 and _is_deep_grey(image, bits)
    deep_colour = _deep_colour(image, stream, bits, name, notes) if bits > 8 and not deep_grey else None
    if image.format == "TIFF":
        _check_tiff(image, name, notes)
        orientation = orientation_of(image)  # before loading, which turns the picture and drops the tag
        image.load()
    else:
        image.load()
        orientation = orientation_of(image)
    deep = deep_colour.samples() if deep_colour else None  # at once: to count frames is to load the first again
    if image.format == "PNG" and image.mode in ("1", "L") and bits < 8 and "transparency" in image.info:
        image.info["transparency"] = scaled_clear(image, bits)
    if image.format == "PSD":
        image.info |= extras.psd_info(image)
    elif _is_animated(image):
        notes.append("only the first of several frames is kept")
    pixels: Pixels
    if (deep_grey or deep is not None) and image.format == "PPM" and bits < 16:
        notes.append(f"scaled from {bits} to 16 bits per sample")  # grey by Pillow
    if deep is not None:
        pixels = deep if image.format == "TIFF" else upright_samples(deep, orientation)
        if deep.ndim == 2:
            notes.append(_UNKNOWN_CHANNEL)
    elif deep_grey:
        pixels = deep_samples(image, bits, orientation)
        if "transparency" in image.info:
            from vqcodec.io import deep_reader

            pixels = deep_reader.with_clear(pixels, image.info["transparency"])
    else:
        pixels = np.asarray(upright(flat_image(image, name, notes), image, orientation))
    metadata = metadata_of_file(image, stream, name, pixels, orientation, notes)
    if note := extras.left_out(image, stream, TIFF_TAGS_KEPT):
        notes.append(note)
    return ImageData(pixels, tuple(notes), metadata)


def _is_deep_grey(image: Image.Image, bits: int) -> bool:
    """Whether Pillow has a mode for the samples, of more than 8 bits."""
    return bits <= 16 and image.mode.startswith("I")


def _deep_colour(
    image: ImageFile.ImageFile, stream: BinaryIO, bits: int, name: str, notes: list[str]
) -> deep_reader.DeepColour | None:
    """The reader of an open image of more than 8 bits that is not deep grey; None if it is reduced to 8 bits. Raises InputError."""
    if image.format in ("AVIF", HEIF):  # whose decoders round to 8 bits; other decoders cut bits off or clip
        notes.append(f"reduced from {bits} to 8 bits per sample")
        return None
    from vqcodec.io import deep_reader  # here, as few pictures need it

    if bits > 16:
        raise InputError(f"{name} has {bits} bits per sample and .vqz holds 16: convert it first")
    if not deep_reader.reads(image):
        kind = "in separate planes" if image.mode in ("RGB", "RGBA") and image.format == "TIFF" else f"of {image.mode}"
        held = "are read from PNG, TIFF and PPM files of grey or RGB"
        raise InputError(f"{name} has {bits} bits per sample {kind}, and more than 8 {held}: convert it to one of these")
    return deep_reader.DeepColour(image, stream)


def _check_tiff(image: Image.Image, name: str, notes: list[str]) -> None:
    """Refuse TIFF content that Pillow misreads: raw camera files and signed samples (InputError); note a dropped channel."""
    tags = getattr(image, "tag_v2", {})
    sample_formats = tags.get(_SAMPLE_FORMAT_TAG, 1)
    begins_with_preview = _SUBIFDS_TAG in tags and tags.get(_SUBFILE_TAG, 0) & 1
    if _DNG_VERSION_TAG in tags or begins_with_preview:
        raise InputError(f"{name} is a raw camera file: develop it to TIFF or PNG first")
    if _SIGNED in (sample_formats if isinstance(sample_formats, tuple) else (sample_formats,)):
        raise InputError(f"{name} has signed samples: .vqz holds grey or RGB from 0 up, convert it first")
    if tags.get(_CHANNELS_TAG, 1) > len(image.getbands()) > 1:
        notes.append(_UNKNOWN_CHANNEL)


def _is_animated(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # later frames may be damaged; the first is still read
        return False


_PILLOW_LOCK: Final = threading.RLock()


@contextmanager
def _pillow_limit(max_pixels: int) -> Iterator[None]:
    """Set Pillow's pixel limit in the block. It is a module variable, lower than ours: other threads wait."""
    with _PILLOW_LOCK:
        previous = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max_pixels
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = previous

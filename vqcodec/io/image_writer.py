"""Arrays to picture files: PNG, PPM, PGM, JPEG, WebP, TIFF or BMP."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from PIL import Image

from vqcodec.arrays import Pixels, UInt16
from vqcodec.errors import OutputError, printable
from vqcodec.format.header import Metadata
from vqcodec.io import exif, icc, xmp
from vqcodec.io.files import STREAM
from vqcodec.io.metadata import save_options

_FORMAT_OF_SUFFIX: Final = {
    "": "PNG",
    ".png": "PNG",
    ".ppm": "PPM",
    ".pgm": "PGM",
    ".pnm": "PPM",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
_SAVE_OPTIONS: Final[dict[str, dict[str, object]]] = {
    "PNG": {"compress_level": 3},  # half the time of Pillow's 6, and no larger on decoded photos
    "PPM": {},
    "PGM": {"format": "PPM"},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True, "quality": 0, "method": 2},  # exact: keep the colours of transparent pixels
    "TIFF": {"compression": "tiff_adobe_deflate"},
    "BMP": {"dpi": (0, 0)},  # none; Pillow's default is 96
}
"""Arguments of Pillow's `save`: lossless for all formats but JPEG."""
_JPEG_LIMITS: Final = {"icc": 255 * 65519, "exif": 65533 - len(exif.PREFIX), "xmp": 65533 - 29}
"""Bytes of metadata that a JPEG file holds: a marker has 65533 with the name of its content, and an ICC profile up to 255
markers."""


def format_of(path: Path) -> str:
    """The picture format for a file name; PNG for a stream or a name without a suffix. Raises OutputError for an unknown suffix."""
    suffix = "" if path == STREAM else path.suffix.lower()
    if suffix not in _FORMAT_OF_SUFFIX:
        known = ", ".join(sorted(s for s in _FORMAT_OF_SUFFIX if s))
        raise OutputError(f"unknown picture format {printable(suffix)!r}: use one of {known}")
    return _FORMAT_OF_SUFFIX[suffix]


def write_image(
    pixels: Pixels, stream: BinaryIO, *, format: str, metadata: Metadata | None = None, quality: int | None = None
) -> tuple[str, ...]:
    """Write pixels, with shape and dtype as in ImageData, in a format of `format_of`. Returns notes on metadata that is not kept.

    Lossless for all formats but JPEG, and WebP with a `quality` (0 to 100; for JPEG and WebP only). EXIF and XMP that state another
    size, such as those of the whole picture for a region, are corrected. Raises OutputError if the format cannot hold the picture.
    """
    height, width = pixels.shape[:2]
    what = f"{width} x {height} pixels as {format}"
    pixels = _storable(pixels, format, what)
    kept, notes = _storable_metadata(metadata or Metadata(), format, pixels)
    options: dict[str, Any] = {"format": format} | _SAVE_OPTIONS[format] | save_options(kept, format)
    if quality is not None:
        options |= {"quality": quality, "lossless": False}
    try:
        if pixels.dtype == np.uint16 and pixels.ndim == 3:
            _write_deep_colour(pixels.view(np.uint16), stream, options)
        else:
            Image.fromarray(pixels).save(stream, **options)
    except (ValueError, OverflowError, SystemError, OSError, struct.error) as error:
        raise OutputError(f"cannot write {what}: {printable(str(error))}") from error
    return notes


def _write_deep_colour(pixels: UInt16, stream: BinaryIO, options: dict[str, Any]) -> None:
    from vqcodec.io import deep_writer  # here, as few pictures need it

    if options["format"] == "PPM":
        deep_writer.write_ppm(pixels, stream)
    elif options["format"] == "TIFF":
        deep_writer.write_tiff(pixels, stream, options)
    else:
        deep_writer.write_png(pixels, stream, {name: value for name, value in options.items() if name != "format"})


def _storable(pixels: Pixels, format: str, what: str) -> Pixels:
    """Pixels as the format holds them: without alpha where it has none. Raises OutputError if that would lose something."""
    if pixels.ndim == 3 and pixels.shape[2] in (2, 4) and format in ("JPEG", "PPM", "PGM", "BMP"):
        if pixels[:, :, -1].min() < np.iinfo(pixels.dtype).max:
            which = ".png, .webp or .tif" if pixels.dtype == np.uint8 else ".png or .tif"
            raise OutputError(f"cannot write {what}, which holds no transparency: use {which}")
        pixels = np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 2 else pixels[:, :, :3])
    if format == "PGM" and pixels.ndim == 3:
        raise OutputError(f"cannot write {what}, which holds grey only: use .ppm for colour")
    if pixels.dtype != np.uint8 and format not in ("PNG", "TIFF", "PPM", "PGM"):
        portable = ".pgm" if pixels.ndim == 2 else ".ppm"
        raise OutputError(f"cannot write {what}, which holds 8 bits per sample: use .png, .tif or {portable} for 16")
    return pixels


def _storable_metadata(metadata: Metadata, format: str, pixels: Pixels) -> tuple[Metadata, tuple[str, ...]]:
    """The metadata that the format can hold with these pixels, and notes on what is dropped."""
    height, width = pixels.shape[:2]
    metadata = replace(metadata, exif=exif.resized(metadata.exif, width, height), xmp=xmp.resized(metadata.xmp, width, height))
    if format in ("PPM", "PGM", "BMP"):
        lost = [kind.upper() for kind in ("icc", "exif", "xmp") if getattr(metadata, kind)]
        if format == "BMP" and _is_resolution_only(metadata.exif):  # BMP has a field for it
            lost.remove("EXIF")
        return replace(metadata, icc=b"", xmp=b""), (f"not kept: {', '.join(lost)}, which {format} does not hold",) if lost else ()
    notes = []
    grey = format != "WEBP" and (pixels.ndim == 2 or pixels.shape[2] == 2)  # Pillow stores grey WebP as RGB
    fitted = icc.fitted(metadata.icc, grey=grey)
    if fitted.note:
        notes.append(fitted.note)
        metadata = replace(metadata, icc=fitted.profile)
    if format == "JPEG":
        for kind, limit in _JPEG_LIMITS.items():
            if (size := len(getattr(metadata, kind))) > limit:
                notes.append(f"{kind.upper()} of {size} bytes is not kept: JPEG holds {limit}")
                metadata = replace(metadata, **{kind: b""})
    if format == "TIFF" and metadata.exif and not _is_readable_exif(metadata.exif):
        notes.append("EXIF is not kept: it is damaged, and TIFF stores its entries one by one")
        metadata = replace(metadata, exif=b"")
    return metadata, tuple(notes)


def _is_resolution_only(data: bytes) -> bool:
    """Whether EXIF states a resolution and nothing else, as `exif.with_resolution` makes it."""
    resolution = exif.resolution(data)
    return resolution is not None and exif.with_resolution(b"", resolution) == data


def _is_readable_exif(data: bytes) -> bool:
    """Whether Pillow can read and write all entries of EXIF."""
    try:
        found = Image.Exif()
        found.load(exif.PREFIX + data)
        found.tobytes()
    except Exception:  # Pillow raises anything on damaged data
        return False
    return True

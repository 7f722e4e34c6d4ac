"""Files of other formats for comparisons, through Pillow, at settings that favour small files: PNG, JPEG, WebP and AVIF.

Pixels are uint8, [H, W] for grey and [H, W, 3] for RGB.
"""

from __future__ import annotations

from io import BytesIO
from typing import Final, Literal

import numpy as np
from PIL import AvifImagePlugin, Image, features

from vqcodec.arrays import UInt8
from vqcodec.errors import MissingExtraError

Format = Literal["PNG", "JPEG", "WEBP", "AVIF"]
AVIF_SPEED: Final = 6
"""AVIF's speed, 0 (slowest) to 10, unless another one is given."""


def require_format(kind: Literal["webp", "avif"], name: str) -> None:
    """Raise MissingExtraError unless Pillow was built with the format, `name` in the message."""
    if not features.check(kind):
        raise MissingExtraError(f"this Pillow was built without {name}: pip install --force-reinstall pillow")


def png(pixels: UInt8) -> bytes:
    """A PNG file with the best filters that Pillow finds, and zlib level 9."""
    return _encoded(pixels, "PNG", optimize=True)


def jpeg(pixels: UInt8, quality: int) -> bytes:
    """A JPEG file of libjpeg-turbo, quality 0 to 100: optimised Huffman tables, progressive, 4:2:0."""
    return _encoded(pixels, "JPEG", quality=quality, optimize=True, progressive=True, subsampling="4:2:0")


def webp(pixels: UInt8, quality: int) -> bytes:
    """A lossy WebP file at libwebp's slowest method, quality 0 to 100. WebP has no grey: a grey picture is decoded to RGB."""
    return _encoded(pixels, "WEBP", quality=quality, method=6)


def lossless_webp(pixels: UInt8) -> bytes:
    """A lossless WebP file at libwebp's slowest settings."""
    return _encoded(pixels, "WEBP", lossless=True, method=6, quality=100)


def avif(
    pixels: UInt8,
    quality: int,
    *,
    speed: int = AVIF_SPEED,
    subsampling: str = "4:2:0",
    tune: str | None = None,
    threads: int | None = 1,
) -> bytes:
    """An AVIF file of libaom, quality 0 to 100; 4:0:0 for grey. `tune` is None for libavif's default, `threads` for all cores."""
    options: dict[str, object] = {"speed": speed, "quality": quality}
    if threads is not None:
        options["max_threads"] = threads
    if tune is not None:
        options["advanced"] = {"tune": tune}  # Pillow passes it on to libaom
    if pixels.ndim == 3:
        options["subsampling"] = subsampling
    return _encoded(pixels, "AVIF", **options)


def decoded(data: bytes, file_format: Format, threads: int | None = 1) -> UInt8:
    """The pixels of a file. `threads` is None for all cores, and for AVIF only: the others use one."""
    AvifImagePlugin.DEFAULT_MAX_THREADS = threads or 0  # Pillow's only setting for it; 0 is all cores
    with Image.open(BytesIO(data), formats=(file_format,)) as picture:
        pixels: UInt8 = np.array(picture)  # uint8 [H, W] for mode L, [H, W, 3] for RGB
    return pixels


def _encoded(pixels: UInt8, file_format: Format, **options: object) -> bytes:
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, file_format, **options)  # mode L or RGB, by the array's shape
    return stream.getvalue()

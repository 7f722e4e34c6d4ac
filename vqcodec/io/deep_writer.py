"""PNG, TIFF and PPM files with 16 bits per sample in colour or with alpha, for which Pillow has no mode.

Pillow writes the metadata: in PNG the chunks of a picture of one pixel, in TIFF the directory. Samples are compressed in strips,
after the sample to the left is subtracted from each (PNG 1.2, section 6.3; TIFF 6.0, section 14).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, BinaryIO, Final

import numpy as np
from PIL import Image

from vqcodec.arrays import UInt16
from vqcodec.io import exif

_PNG_COLOURS: Final = {2: 4, 3: 2, 4: 6}
"""PNG's colour type by the number of channels."""
_SUB: Final = 1
"""PNG's filter type of differences to the pixel to the left."""
_LEVEL: Final = 3
"""Level of zlib. On decoded photographs 9 takes four times as long and saves 1 %."""
_STRIP_BYTES: Final = 1 << 20
_INCH: Final = 2
"""Value of TIFF's tag ResolutionUnit."""


def write_png(pixels: UInt16, stream: BinaryIO, options: Mapping[str, Any]) -> None:
    """Write pixels uint16 [H, W, 2 to 4] as PNG; `options` are those of Pillow's `save`, for the metadata."""
    height, width, channels = pixels.shape
    one_pixel = io.BytesIO()
    Image.new("L" if channels == 2 else "RGB", (1, 1)).save(one_pixel, "PNG", **options)
    data, at = one_pixel.getvalue(), 8
    stream.write(data[:at])
    while at < len(data):
        (length,), name = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        if name == b"IHDR":
            stream.write(_chunk(name, struct.pack(">IIBBBBB", width, height, 16, _PNG_COLOURS[channels], 0, 0, 0)))
        elif name == b"IDAT":
            compressor = zlib.compressobj(_LEVEL)
            for strip in _strips(pixels):
                stream.write(_chunk(name, compressor.compress(_filtered(strip))))
            stream.write(_chunk(name, compressor.flush()))
        else:
            stream.write(data[at : at + 12 + length])
        at += 12 + length


def write_tiff(pixels: UInt16, stream: BinaryIO, options: Mapping[str, Any]) -> None:
    """Write pixels uint16 [H, W, 2 to 4] as TIFF; `options` are those of Pillow's `save`, for the metadata.

    Raises struct.error for files of more than 4 GiB.
    """
    height, width, channels = pixels.shape
    directory = options.get("exif", b"")
    if not isinstance(directory, Image.Exif):
        directory = Image.Exif()
        directory.load(options.get("exif", b""))
    order = "<" if directory.tobytes().removeprefix(exif.PREFIX).startswith(b"II") else ">"
    strips = [zlib.compress(_differences(strip).astype(f"{order}u2").tobytes(), _LEVEL) for strip in _strips(pixels)]
    directory[256], directory[257] = width, height
    directory[258] = (16,) * channels
    directory[259] = 8  # Deflate
    directory[262] = 1 if channels == 2 else 2  # grey whose black is 0, or RGB
    directory[277] = channels
    directory[278] = len(next(_strips(pixels)))  # rows of a strip
    directory[279] = tuple(map(len, strips))
    directory[284] = 1  # the channels of a pixel are stored together
    directory[317] = 2  # differences to the pixel to the left
    directory[339] = (1,) * channels  # unsigned integers
    if channels in (2, 4):
        directory[338] = (2,)  # alpha that is not multiplied into colours
    if resolution := options.get("dpi"):
        directory[282], directory[283] = resolution
        directory[296] = _INCH
    if profile := options.get("icc_profile"):
        directory[34675] = profile
    directory[273] = tuple(accumulate(map(len, strips[:-1]), initial=0))  # Pillow adds the size of the directory
    stream.write(directory.tobytes().removeprefix(exif.PREFIX))
    stream.writelines(strips)


def write_ppm(pixels: UInt16, stream: BinaryIO) -> None:
    """Write pixels uint16 [H, W, 3] as PPM."""
    height, width, _ = pixels.shape
    stream.write(f"P6\n{width} {height}\n65535\n".encode())
    for strip in _strips(pixels):
        stream.write(strip.astype(">u2").tobytes())


def _strips(pixels: UInt16) -> Iterator[UInt16]:
    """The pixels [H, W, c] in strips of whole rows, each of about _STRIP_BYTES."""
    rows = max(1, _STRIP_BYTES // pixels[0].nbytes)
    return (pixels[top : top + rows] for top in range(0, len(pixels), rows))


def _differences(strip: UInt16) -> UInt16:
    """Pixels [h, W, c] less those to the left of them, modulo 65536."""
    return np.diff(strip, axis=1, prepend=np.zeros_like(strip[:, :1]))


def _filtered(strip: UInt16) -> bytes:
    """Rows of PNG: the filter type, and bytes of pixels [h, W, c] less those of the pixels to the left, modulo 256."""
    height, width, channels = strip.shape
    samples = strip.astype(">u2").view(np.uint8).reshape(height, width, 2 * channels)
    rows = np.full((height, 1 + width * 2 * channels), _SUB, np.uint8)
    rows[:, 1:] = np.diff(samples, axis=1, prepend=np.zeros_like(samples[:, :1])).reshape(height, -1)
    return rows.tobytes()


def _chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of PNG."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

"""Small pictures, and PNG files that Pillow does not write."""

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray


def smooth_picture(height: int, width: int, channels: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """A picture of soft gradients and a little noise: uint8 [height,width] or [height,width,3]."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (7 + c) + c) + np.cos(y / (9 - c)) for c in range(channels)]
    picture = 128 + 45 * np.stack(waves, 2) + np.random.default_rng(seed).normal(0, 3, (height, width, channels))
    picture = np.clip(picture, 0, 255).astype(np.uint8)
    return picture[:, :, 0] if channels == 1 else picture


def png(width: int, height: int, depth: int, colour: int, rows: bytes = b"", clear: bytes = b"") -> io.BytesIO:
    """A PNG written by hand, for what Pillow does not write; `clear` is a tRNS chunk."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    header += chunk(b"tRNS", clear) if clear else b""
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def noisy_of(pixels: NDArray[np.uint8], sigma: float, seed: int = 0) -> NDArray[np.uint8]:
    """The picture with Gaussian noise, rounded and clipped."""
    noise = np.random.default_rng(seed).normal(0, sigma, pixels.shape)
    return np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)

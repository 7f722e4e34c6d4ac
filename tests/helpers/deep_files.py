"""Deep picture files written and read without Pillow."""

import io
import struct
import zlib

import numpy as np

from helpers.pictures import png

CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Samples of a pixel by PNG's colour type."""


def deep_samples(height: int, width: int, channels: int, seed: int = 0) -> np.ndarray:
    """Random samples, uint16 [height, width] or [height, width, 2 to 4], with all kinds of high and low bytes."""
    samples = np.random.default_rng(seed).integers(0, 65536, (height, width, channels)).astype(np.uint16)
    samples[0] &= 0xFF
    samples[-1] = 65535
    return samples[:, :, 0] if channels == 1 else samples


def deep_png(samples: np.ndarray, clear: bytes = b"") -> io.BytesIO:
    """A PNG file of 16 bits per sample; `clear` is a tRNS chunk."""
    height, width = samples.shape[:2]
    channels = 1 if samples.ndim == 2 else samples.shape[2]
    colour = {count: kind for kind, count in CHANNELS.items()}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    return png(width, height, 16, colour, rows, clear)


def read_deep_png(data: bytes) -> np.ndarray:
    """The samples of a PNG file of 16 bits per sample that is not interlaced, uint16 [H, W, 1 to 4], by the specification."""
    at, found = 8, b""
    while at < len(data):
        (length,), name = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + length]
        assert zlib.crc32(name + body) == struct.unpack_from(">I", data, at + 8 + length)[0]
        if name == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            assert (depth, interlaced) == (16, 0)
        found += body if name == b"IDAT" else b""
        at += 12 + length
    size = 2 * CHANNELS[colour]
    stored = zlib.decompress(found)
    above, lines = bytearray(width * size), []
    for top in range(0, len(stored), 1 + width * size):
        kind, line = stored[top], bytearray(stored[top + 1 : top + 1 + width * size])
        for i in range(len(line)):
            left, up, corner = line[i - size] if i >= size else 0, above[i], above[i - size] if i >= size else 0
            nearest = min((left, up, corner), key=lambda value: abs(left + up - corner - value))
            line[i] = (line[i] + (0, left, up, (left + up) // 2, nearest)[kind]) & 0xFF
        lines.append(line)
        above = line
    assert len(lines) == height
    return np.frombuffer(b"".join(lines), ">u2").reshape(height, width, -1).astype(np.uint16)

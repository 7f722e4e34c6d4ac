"""Samples <-> bytes for zstd: interleaved (pixel by pixel) or as planes (component by component, high bytes before low ones)."""

from __future__ import annotations

import numpy as np

from vqcodec.arrays import Pixels


def interleaved(samples: Pixels) -> bytes:
    """Samples [n, C], uint8 or uint16, as they stand; 16-bit ones little-endian. The inverse of `from_interleaved`."""
    return samples.astype(samples.dtype.newbyteorder("<")).tobytes()


def from_interleaved(data: bytes, components: int, dtype: np.dtype[np.uint8 | np.uint16]) -> Pixels:
    """Samples [n, components] of the bytes of `interleaved`."""
    found: Pixels = np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(-1, components)
    return found


def planes(samples: Pixels) -> bytes:
    """Samples [n, C] as C planes, those of uint16 as 2 C planes of bytes; the inverse of `from_planes`."""
    if samples.dtype == np.uint8:
        return samples.T.tobytes()
    high, low = (samples.T >> 8).astype(np.uint8), (samples.T & 0xFF).astype(np.uint8)
    return np.stack([high, low], axis=1).tobytes()


def from_planes(data: bytes, components: int, dtype: np.dtype[np.uint8 | np.uint16]) -> Pixels:
    """Samples [n, components] of the bytes of `planes`."""
    flat = np.frombuffer(data, np.uint8)
    found: Pixels
    if dtype == np.uint8:
        found = flat.reshape(components, -1).T
    else:
        parts = flat.reshape(components, 2, -1).astype(np.uint16)
        found = (parts[:, 0] << np.uint16(8) | parts[:, 1]).T
    return found.copy(order="C")

"""Lossless coding of alpha planes: differences to the samples to the left and above, compressed by zstd.

A plane has soft edges (second differences are small), flat runs (zstd compresses these without prediction), or is constant. One
predictor for the whole plane serves all of these; the encoder takes the one of four that gives the fewest bytes.

    1 byte    bits 0-1: predictor;  bits 2-3: mode, 0 verbatim, 1 zstd frame, 2 block (3 reserved);  bits 4-7: reserved
    bytes     the H * W differences, row by row, stored in that mode (container.py, section 3)

    predictor 0: a(y, x);  1: a(y, x) - a(y, x-1);  2: a(y, x) - a(y-1, x);
              3: a(y, x) - a(y, x-1) - a(y-1, x) + a(y-1, x-1);  all modulo 256, with a = 0 outside the plane
"""

from __future__ import annotations

import numpy as np

from vqcodec.arrays import UInt8
from vqcodec.errors import CorruptError
from vqcodec.format import zstd_blocks
from vqcodec.format.zstd_blocks import Mode, StoredPart

_MODES = (Mode.VERBATIM, Mode.FRAME, Mode.BLOCK)
_AXES: tuple[tuple[int, ...], ...] = ((), (1,), (0,), (0, 1))
"""The axes along which each predictor takes differences."""


def encode_alpha(plane: UInt8, levels: tuple[int, ...]) -> bytes:
    """An alpha plane uint8 [H, W] to the bytes of its section. `levels` of zstd are tried."""
    found = []
    for predictor, axes in enumerate(_AXES):
        differences = plane
        for axis in axes:
            differences = np.diff(differences, axis=axis, prepend=np.uint8(0))
        part = zstd_blocks.compress(differences.tobytes(), None, levels)
        found.append(bytes((predictor | _MODES.index(part.mode) << 2,)) + part.data)
    return min(found, key=len)


def decode_alpha(data: bytes, height: int, width: int) -> UInt8:
    """The inverse of `encode_alpha`, uint8 [height, width]; raises CorruptError."""
    if not data or data[0] >> 4 or data[0] >> 2 >= len(_MODES):
        raise CorruptError("corrupt file: the first byte of its alpha plane is invalid")
    flat = zstd_blocks.decompress(StoredPart(height * width, _MODES[data[0] >> 2], data[1:]), None)
    plane = np.frombuffer(flat, np.uint8).reshape(height, width)
    for axis in _AXES[data[0] & 3]:
        plane = np.cumsum(plane, axis=axis, dtype=np.uint8)
    return plane

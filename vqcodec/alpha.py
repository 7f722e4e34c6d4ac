"""Alpha planes, without loss: differences to what is beside and above, through zstd.

A plane is either soft (differences of differences are small), flat in runs (zstd finds them as they are), or empty; one
predictor for the whole plane, the smallest of four, serves all of these, and both directions are a cumulative sum.

    stored: 1 byte: bits 0-1 predictor, bits 2-3 mode (0 verbatim, 1 zstd frame, 2 block), others reserved; the bytes of the mode
    (container.py, section 3) for the H * W differences, row by row:
    predictor 0: a(y, x);  1: a(y, x) - a(y, x-1);  2: a(y, x) - a(y-1, x);
              3: a(y, x) - a(y, x-1) - a(y-1, x) + a(y-1, x-1);  all modulo 256, 0 outside
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vqcodec import frames
from vqcodec.errors import CorruptError
from vqcodec.records import BLOCK, FRAME, VERBATIM

_MODES = (VERBATIM, FRAME, BLOCK)
_AXES: tuple[tuple[int, ...], ...] = ((), (1,), (0,), (0, 1))
"""Of the differences of each predictor."""


def encode_alpha(plane: NDArray[np.uint8], levels: tuple[int, ...]) -> bytes:
    """An alpha plane uint8 [H, W] to the bytes of its section; the inverse of `decode_alpha`. `levels` of zstd are tried."""
    found = []
    for predictor, axes in enumerate(_AXES):
        differences = plane
        for axis in axes:
            differences = np.diff(differences, axis=axis, prepend=np.uint8(0))
        mode, stored = frames.compress(differences.tobytes(), None, levels)
        found.append(bytes((predictor | _MODES.index(mode) << 2,)) + stored)
    return min(found, key=len)


def decode_alpha(data: bytes, height: int, width: int) -> NDArray[np.uint8]:
    """The inverse of `encode_alpha`, uint8 [height, width]; raises CorruptError."""
    if not data or data[0] >> 4 or data[0] >> 2 >= len(_MODES):
        raise CorruptError("corrupt file: its alpha plane is badly written")
    flat = frames.decompress(_MODES[data[0] >> 2], data[1:], height * width, None)
    plane = np.frombuffer(flat, np.uint8).reshape(height, width)
    for axis in _AXES[data[0] & 3]:
        plane = np.cumsum(plane, axis=axis, dtype=np.uint8)
    return plane

"""Lossless coding of alpha planes: differences to the samples to the left and above, compressed by zstd; downscaling with alpha.

A plane has soft edges (second differences are small), flat runs (zstd compresses these without prediction), or is constant. One
predictor for the whole plane serves all of these; the encoder takes the one of four that gives the fewest bytes.

    1 byte    bits 0-1: predictor;  bits 2-3: mode, 0 verbatim, 1 zstd frame, 2 block (3 reserved);  bits 4-7: reserved
    bytes     the H * W differences, row by row, stored in that mode (container.py, section 3)

    predictor 0: a(y, x);  1: a(y, x) - a(y, x-1);  2: a(y, x) - a(y-1, x);
              3: a(y, x) - a(y, x-1) - a(y-1, x) + a(y-1, x-1);  all modulo 256, with a = 0 outside the plane
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Bool, Pixels, UInt8
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


def boxes(plane: NDArray[Any], scale: int) -> NDArray[Any]:
    """The `scale` x `scale` squares of a plane [H, W] or a picture [H, W, c]; edges are repeated.

    Returns [ceil(H / scale), ceil(W / scale), scale * scale, ...].
    """
    height, width = plane.shape[:2]
    sides = ((0, -height % scale), (0, -width % scale), *((0, 0) for _ in plane.shape[2:]))
    padded = np.pad(plane, sides, mode="edge")
    h, w = padded.shape[0] // scale, padded.shape[1] // scale
    apart = padded.reshape(h, scale, w, scale, *plane.shape[2:]).swapaxes(1, 2)
    return apart.reshape(h, w, scale * scale, *plane.shape[2:])


def smaller(plane: UInt8, scale: int) -> UInt8:
    """An alpha plane uint8 [H, W] downscaled by `scale`: the means of its squares, rounded to nearest."""
    return np.floor(boxes(plane, scale).mean(axis=2, dtype=np.float32) + 0.5).astype(np.uint8)


def mixed_boxes(plane: UInt8, scale: int) -> Bool:
    """Whether the pixels of each square of an alpha plane uint8 [H, W] differ, bool [ceil(H / scale), ceil(W / scale)]."""
    squares = boxes(plane, scale)
    return squares.min(axis=2) < squares.max(axis=2)


def weigh_colours(small: Pixels, mixed: Bool, picture: Pixels, plane: UInt8, scale: int) -> None:
    """Replace the pixels of `small` [H', W', c] in `mixed` squares by means of the picture [H, W, c] weighted with its alpha plane.

    Without the weights the invisible colours of transparent pixels would bleed into visible ones.
    """
    weights = boxes(plane, scale)[mixed].astype(np.float32)[..., None]  # [n, scale * scale, 1]
    means = (boxes(picture, scale)[mixed] * weights).sum(axis=1) / weights.sum(axis=1)
    small[mixed] = np.floor(means + 0.5).astype(small.dtype)

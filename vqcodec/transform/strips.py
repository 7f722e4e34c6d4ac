"""The order of pixels in strips: rows of a plane are cut into strips, and each strip is scanned column by column.

A glyph or an icon that fits into a strip is one run of pixels, which zstd can match as a whole wherever it is repeated at the same
height in a strip. In a strip of height 1 the order is that of a row. Heights that follow the lines of text serve text best.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Int64, UInt64

FEW_HEIGHTS: Final = (1, 2, 4, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 24, 32, 48)
"""Heights of strips, in rows, for `aligned_heights`."""
HEIGHTS: Final = (*range(1, 21), 22, 24, 26, 28, 32, 40, 48, 64)
"""More of them."""
_ROW_HASH: Final = 0x9E3779B97F4A7C15
_COLUMN_HASH: Final = 0xD1B54A32D192ED03
_MAX_HASH_BITS: Final = 22
_BAND: Final = 1 << 18
"""Pixels that are hashed at once."""
_STRIP_COST: Final = 800.0
"""Cost of a strip in novel pixels; with 200 the strips get too short to match one another (measured on pages of text)."""


class _Band(NamedTuple):
    """Consecutive strips of equal height."""

    first_row: int
    height: int
    strips: int


def _bands(heights: tuple[int, ...]) -> Iterator[_Band]:
    row = 0
    for height, members in groupby(heights):
        band = _Band(row, height, len(list(members)))
        yield band
        row += height * band.strips


def uniform_heights(height: int, rows: int) -> tuple[int, ...]:
    """Strips of `height` rows; the last one has the rows that are left."""
    whole, rest = divmod(rows, height)
    return (height,) * whole + ((rest,) if rest else ())


def scan(plane: NDArray[Any], heights: tuple[int, ...]) -> NDArray[Any]:
    """Pixels [H, W] of any dtype to [H * W] in strips whose heights sum to H; the inverse of `unscan`."""
    width = plane.shape[1]
    flat = np.empty(plane.size, plane.dtype)
    for band in _bands(heights):
        rows = slice(band.first_row, band.first_row + band.height * band.strips)
        found = flat[rows.start * width : rows.stop * width].reshape(band.strips, width, band.height)
        found[:] = plane[rows].reshape(band.strips, band.height, width).transpose(0, 2, 1)
    return flat


def unscan(flat: NDArray[Any], heights: tuple[int, ...], width: int) -> NDArray[Any]:
    """Pixels [H * W] of any dtype to a plane [H, W]; the inverse of `scan`."""
    plane = np.empty((sum(heights), width), flat.dtype)
    for band in _bands(heights):
        rows = slice(band.first_row, band.first_row + band.height * band.strips)
        found = flat[rows.start * width : rows.stop * width].reshape(band.strips, width, band.height)
        plane[rows].reshape(band.strips, band.height, width)[:] = found.transpose(0, 2, 1)
    return plane


def aligned_heights(plane: NDArray[Any], run: int, choices: tuple[int, ...]) -> tuple[int, ...]:
    """Heights of strips in which most pixels of indices uint8 [H, W] lie in repeated runs of `run` pixels.

    The heights are from `choices`, which has a 1. The strips with the fewest novel pixels are found by dynamic programming. A pixel
    is novel in a strip if the columns that end at it and hold `run` pixels occur at no other place of the plane at which a strip of
    that height could be.
    """
    rows = plane.shape[0]
    heights = [height for height in choices if height <= rows]
    prefix = _prefix_hashes(plane)  # uint64 [H + 1, W]
    costs = {height: _novel(prefix, height, run) * float(height) + _STRIP_COST for height in heights}
    best, last = [0.0], [0]
    for end in range(1, rows + 1):
        cost, height = min((best[end - height] + costs[height][end - height], height) for height in heights if height <= end)
        best.append(float(cost))
        last.append(height)
    found = []
    while rows:
        found.append(last[rows])
        rows -= last[rows]
    return tuple(reversed(found))


def _prefix_hashes(plane: NDArray[Any]) -> UInt64:
    """Hashes uint64 [H + 1, W] of the pixels above each row: polynomials modulo 2**64 (Rabin and Karp 1987)."""
    values = np.random.default_rng(0).integers(1, 1 << 63, 256, np.uint64)
    prefix = np.zeros((len(plane) + 1, plane.shape[1]), np.uint64)
    for y, row in enumerate(plane):
        prefix[y + 1] = prefix[y] * np.uint64(_ROW_HASH) + values[row]
    return prefix


def _novel(prefix: UInt64, height: int, run: int) -> Int64:
    """The numbers of novel pixels int64 [H - height + 1] of columns of `height` pixels, one for each place of a strip."""
    places, width = len(prefix) - height, prefix.shape[1]
    window, bits = -(-run // height), min((16 * places * width).bit_length(), _MAX_HASH_BITS)
    row_hash = np.uint64(pow(_ROW_HASH, height, 1 << 64))
    powers, inverses = _powers(_COLUMN_HASH, width), _powers(pow(_COLUMN_HASH, -1, 1 << 64), width)
    keys = np.empty((places, width), np.intp)
    bands = [slice(top, top + max(1, _BAND // width)) for top in range(0, places, max(1, _BAND // width))]
    for band in bands:
        columns = prefix[height:][band] - prefix[:-height][band] * row_hash
        columns *= powers
        sums = np.cumsum(columns, axis=1)
        sums[:, window:] -= sums[:, :-window].copy()
        sums *= inverses  # equal columns now have equal hashes wherever they are
        sums *= np.uint64(_ROW_HASH)
        keys[band] = sums >> np.uint64(64 - bits)
    once = np.bincount(keys.reshape(-1), minlength=1 << bits) < 2
    return np.concatenate([np.count_nonzero(once[keys[band]], axis=1) for band in bands])


def _powers(base: int, count: int) -> UInt64:
    """The powers 0 to count - 1 of a number modulo 2**64, uint64 [count]."""
    return np.cumprod(np.concatenate([np.ones(1, np.uint64), np.full(count - 1, base, np.uint64)]))

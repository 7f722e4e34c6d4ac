"""The modulated lapped transform (Malvar 1990) of grids of cells, from and to the DCT: its waves overlap, so that what is added to
them shows no edges of blocks. Refiners and denoisers work in it.

    cells [192, rows, columns] of the DCT, in the order of COLOR_8X8   <->   waves [192, rows, columns] of the same frequencies
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vqcodec.arrays import Float32
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_8X8


@lru_cache(maxsize=1)
def basis() -> Float32:
    """Waves of the modulated lapped transform (Malvar 1990), orthonormal: float32 [16 samples, 8 frequencies] of a cell and the
    four pixels on either side of it, where they fade."""
    n, k = np.arange(16)[:, None] + 0.5, np.arange(8)[None, :] + 0.5
    return (0.5 * np.sin(n * np.pi / 16) * np.cos((n + 4) * k * np.pi / 8)).astype(np.float32)


@lru_cache(maxsize=1)
def _parts() -> tuple[Float32, Float32, Float32]:
    """What the waves of a cell are in the DCT of the cell before it, of itself, and of the one behind it: float32 [8, 8] each."""
    waves, frequencies = basis(), (dct.basis() / (1 << dct.BASIS_SHIFT)).astype(np.float32)
    return frequencies[:, 4:] @ waves[:4], frequencies @ waves[4:12], frequencies[:, :4] @ waves[12:]


def from_lapped(x: Float32) -> Float32:
    """Coefficients [192, rows, columns] of overlapping waves to those of the DCT, so that no block shows its edges."""
    return _between(x, _parts())


def to_lapped(x: Float32) -> Float32:
    """The inverse of `from_lapped`, but for the outermost cells, whose waves reach out of what is given."""
    before, own, behind = _parts()
    return _between(x, (behind.T, own.T, before.T))


def _between(x: Float32, parts: tuple[Float32, Float32, Float32]) -> Float32:
    places = [64 * component + 8 * v + u for component, v, u in COLOR_8X8.positions]
    cells = np.empty(x.shape, np.float32)
    cells[places] = x
    grid = x.shape[1:]
    cells = _overlap(cells.reshape(24, 8, *grid), parts, axis=3)
    cells = _overlap(cells.reshape(3, 8, 8, *grid), parts, axis=3)
    result: Float32 = cells.reshape(x.shape)[places]
    return result


def _overlap(cells: Float32, parts: tuple[Float32, Float32, Float32], axis: int) -> Float32:
    """Coefficients [n, 8, ...] of cells to those of the other transform, along the one of the axes on which they lie beside each
    other; `parts` are what those of a cell are in the cell before it, in itself, and in the one behind it."""
    flat = cells.reshape(len(cells), 8, -1)
    before, own, behind = (np.moveaxis((part @ flat).reshape(cells.shape), axis, 0) for part in parts)
    own[:-1] += before[1:]
    own[1:] += behind[:-1]
    return np.moveaxis(own, 0, axis)

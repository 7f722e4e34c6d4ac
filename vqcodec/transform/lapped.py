"""DCT coefficients <-> coefficients of the modulated lapped transform (MLT, Malvar 1990), on a grid of cells.

The basis functions of the MLT overlap, so changes of its coefficients leave no block edges. Refiners and denoisers work in it.

    DCT coefficients float32 [192, rows, columns]   <->   MLT coefficients float32 [192, rows, columns]; both in COLOR_8X8's order
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vqcodec.arrays import Float32
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_8X8


@lru_cache(maxsize=1)
def basis() -> Float32:
    """The orthonormal MLT basis, float32 [16 samples, 8 frequencies]: the samples of a cell and four on either side of it."""
    n, k = np.arange(16)[:, None] + 0.5, np.arange(8)[None, :] + 0.5
    return (0.5 * np.sin(n * np.pi / 16) * np.cos((n + 4) * k * np.pi / 8)).astype(np.float32)


@lru_cache(maxsize=1)
def _parts() -> tuple[Float32, Float32, Float32]:
    """A cell's MLT basis functions in the DCT bases of the previous cell, the cell and the next cell, float32 [8, 8] each."""
    dct_basis = (dct.integer_basis() / (1 << dct.BASIS_SHIFT)).astype(np.float32)
    return dct_basis[:, 4:] @ basis()[:4], dct_basis @ basis()[4:12], dct_basis[:, :4] @ basis()[12:]


def from_lapped(x: Float32) -> Float32:
    """MLT coefficients to DCT coefficients, both [192, rows, columns]."""
    return _change_basis(x, _parts())


def to_lapped(x: Float32) -> Float32:
    """The inverse of `from_lapped`, except in the outermost cells, whose basis functions reach beyond the grid."""
    before, own, behind = _parts()
    return _change_basis(x, (behind.T, own.T, before.T))


def _change_basis(x: Float32, parts: tuple[Float32, Float32, Float32]) -> Float32:
    """Coefficients [192, rows, columns] in the other basis; `parts` as in `_overlap`."""
    places = [64 * component + 8 * v + u for component, v, u in COLOR_8X8.positions]
    cells = np.empty(x.shape, np.float32)
    cells[places] = x
    grid = x.shape[1:]
    cells = _overlap(cells.reshape(24, 8, *grid), parts, axis=3)
    cells = _overlap(cells.reshape(3, 8, 8, *grid), parts, axis=3)
    result: Float32 = cells.reshape(x.shape)[places]
    return result


def _overlap(cells: Float32, parts: tuple[Float32, Float32, Float32], axis: int) -> Float32:
    """Coefficients [n, 8, ...] in the other basis, along one spatial `axis` of the grid.

    `parts` are the matrices [8, 8] from a cell's coefficients to those of the previous cell, of itself and of the next cell.
    """
    flat = cells.reshape(len(cells), 8, -1)
    before, own, behind = (np.moveaxis((part @ flat).reshape(cells.shape), axis, 0) for part in parts)
    own[:-1] += before[1:]
    own[1:] += behind[:-1]
    return np.moveaxis(own, 0, axis)

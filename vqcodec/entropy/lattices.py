"""Lattices of a plane that is filled from coarse to fine, in three passes per level, and the neighbours that each pass sees.

At stride S the cells whose row and column are multiples of 2S are known (lattice K). Pass 0 fills the centres (odd, odd) (lattice
A) from up to 16 cells of K; pass 1 fills the cells between horizontal neighbours (B) from K and A; pass 2 fills those between
vertical neighbours (C) from K, A and B.
"""

from __future__ import annotations

from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Integer = TypeVar("Integer", np.uint8, np.uint16, np.int16, np.int32)


class Lattice(NamedTuple):
    """A quarter of the cells of a level: its row and column offset, in strides."""

    row: int
    column: int


_K, _A, _B, _C = Lattice(0, 0), Lattice(1, 1), Lattice(0, 1), Lattice(1, 0)
TARGETS: Final = (_A, _B, _C)
"""The lattice that each pass fills."""


class Neighbour(NamedTuple):
    """A neighbour of a cell: its lattice, and its row and column there relative to the cell's in its own lattice."""

    lattice: Lattice
    row: int
    column: int


def _ring(lattice: Lattice, *places: tuple[int, int]) -> tuple[Neighbour, ...]:
    return tuple(Neighbour(lattice, row, column) for row, column in places)


NEIGHBOURS: Final = (
    # pass 0, A: the four corners, then the ring of 12 around them
    _ring(_K, *((i, j) for i in (0, 1) for j in (0, 1)))
    + _ring(_K, *((i, j) for i in (-1, 0, 1, 2) for j in (-1, 0, 1, 2) if not (i in (0, 1) and j in (0, 1)))),
    # pass 1, B: left, right, up, down; then farther ones
    _ring(_K, (0, 0), (0, 1))
    + _ring(_A, (-1, 0), (0, 0))
    + _ring(_K, (0, -1), (0, 2))
    + _ring(_A, (-2, 0), (1, 0))
    + _ring(_K, *((i, j) for i in (-1, 1) for j in (0, 1)))
    + _ring(_A, *((i, j) for i in (-1, 0) for j in (-1, 1))),
    # pass 2, C: up, down, left, right; the four diagonals; then farther ones
    _ring(_K, (0, 0), (1, 0))
    + _ring(_A, (0, -1), (0, 0))
    + _ring(_B, *((i, j) for i in (0, 1) for j in (-1, 0)))
    + _ring(_K, (-1, 0), (2, 0))
    + _ring(_A, (0, -2), (0, 1))
    + _ring(_K, *((i, j) for i in (0, 1) for j in (-1, 1)))
    + _ring(_A, *((i, j) for i in (-1, 1) for j in (-1, 0))),
)
"""The neighbours that each pass sees, the nearest first."""


def _pad(lattice: NDArray[Integer]) -> NDArray[Integer]:
    """Lattices [grids, h, w] with edges repeated as far as neighbours reach: 2 cells above and left, 3 below and right."""
    grids, h, w = lattice.shape
    padded = np.empty((grids, h + 5, w + 5), lattice.dtype)
    padded[:, 2:-3, 2:-3] = lattice
    padded[:, 2:-3, :2], padded[:, 2:-3, -3:] = lattice[:, :, :1], lattice[:, :, -1:]
    padded[:, :2], padded[:, -3:] = padded[:, 2:3], padded[:, -4:-3]
    return padded


def neighbours(planes: NDArray[Integer], stride: int, number: int, count: int | None = None) -> list[NDArray[Integer] | None]:
    """Values of the first `count` neighbours (None: all) of the cells of a pass, each [grids, rows, columns] on the pass's lattice.

    `planes` [grids, h, w]. Positions beyond the edge of a neighbour's lattice are clamped to it. None for neighbours on an empty
    lattice.
    """
    target = TARGETS[number]
    rows = -(-(planes.shape[1] - target.row * stride) // (2 * stride))
    columns = -(-(planes.shape[2] - target.column * stride) // (2 * stride))
    padded: dict[Lattice, NDArray[Integer] | None] = {}
    found = []
    for lattice, row, column in NEIGHBOURS[number][:count]:
        if lattice not in padded:
            values = planes[:, lattice.row * stride :: 2 * stride, lattice.column * stride :: 2 * stride]
            padded[lattice] = _pad(values) if values.size else None
        around = padded[lattice]
        found.append(None if around is None else around[:, 2 + row : 2 + row + rows, 2 + column : 2 + column + columns])
    return found

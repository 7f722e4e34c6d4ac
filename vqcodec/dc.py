"""The DC planes: a pyramid that is filled from coarse to fine, three passes a level.

At stride S the cells whose row and column are multiples of 2S are known (lattice K). Pass 0 fills the centres (odd, odd)
(lattice A) from up to 16 of K; pass 1 the cells between horizontal neighbours (B) from K and A; pass 2 those between
vertical neighbours (C) from K, A and B. A chroma plane also sees the luma (and the first chroma) plane, which is complete
by then. Prediction is a base value plus a linear map of differences to it (prior.py's integer arithmetic); weights belong
to (component, level, pass), levels above LEVELS share the last one's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vqcodec.prior import _SINGLE, MAGNITUDE_MAX, MEAN_MAX, Cells, Float

LEVELS: Final = 5
PASSES: Final = 3

Lattice = tuple[int, int]  # offsets of a lattice, in strides: K (0, 0), A (1, 1), B (0, 1), C (1, 0)
_K, _A, _B, _C = (0, 0), (1, 1), (0, 1), (1, 0)
_TARGETS: Final[tuple[Lattice, ...]] = (_A, _B, _C)

Neighbour = tuple[Lattice, int, int]
_NEIGHBOURS: Final[tuple[tuple[Neighbour, ...], ...]] = (
    # pass 0, A: the four corners, then the ring of 12 around them
    tuple((_K, i, j) for i in (0, 1) for j in (0, 1))
    + tuple((_K, i, j) for i in (-1, 0, 1, 2) for j in (-1, 0, 1, 2) if not (i in (0, 1) and j in (0, 1))),
    # pass 1, B: left, right, up, down; then farther ones
    ((_K, 0, 0), (_K, 0, 1), (_A, -1, 0), (_A, 0, 0))
    + ((_K, 0, -1), (_K, 0, 2), (_A, -2, 0), (_A, 1, 0))
    + tuple((_K, i, j) for i in (-1, 1) for j in (0, 1))
    + tuple((_A, i, j) for i in (-1, 0) for j in (-1, 1)),
    # pass 2, C: up, down, left, right; the four diagonals; then farther ones
    ((_K, 0, 0), (_K, 1, 0), (_A, 0, -1), (_A, 0, 0))
    + tuple((_B, i, j) for i in (0, 1) for j in (-1, 0))
    + ((_K, -1, 0), (_K, 2, 0), (_A, 0, -2), (_A, 0, 1))
    + tuple((_K, i, j) for i in (0, 1) for j in (-1, 1))
    + tuple((_A, i, j) for i in (-1, 1) for j in (-1, 0)),
)
_NEAREST: Final = 4
_BASE: Final = (4, 2, 2)
"""How many of the first neighbours are averaged to the base value: those of K."""

MEAN_ROWS: Final = tuple(tuple(len(n) + _NEAREST * c for n in _NEIGHBOURS) for c in range(3))
"""[component][pass] rows of mean features."""
SCALE_ROWS: Final = tuple(2 * (5 + 2 * c) for c in range(3))
"""[component] rows of scale features."""


@dataclass(frozen=True)
class Pass:
    """One pass of the pyramid: the cells of one lattice."""

    component: int
    level: int
    number: int
    stride: int
    cells: Cells

    @property
    def name(self) -> str:
        return f"dc.{self.component}.{self.level}.{self.number}"


def passes(h: int, w: int, component: int) -> Iterator[Pass]:
    """All passes of one component after the root cell (0, 0), in coding order, without empty ones."""
    index = np.arange(h * w).reshape(h, w)
    levels = (max(h, w) - 1).bit_length()
    for level in range(levels - 1, -1, -1):
        stride = 1 << level
        for number, (oy, ox) in enumerate(_TARGETS):
            cells = index[oy * stride :: 2 * stride, ox * stride :: 2 * stride].reshape(-1)
            if cells.size:
                yield Pass(component, min(level, LEVELS - 1), number, stride, cells)


def pass_names(component: int) -> list[str]:
    """Names of every weight set of a component."""
    return [f"dc.{component}.{level}.{number}" for level in range(LEVELS) for number in range(PASSES)]


@dataclass(frozen=True)
class Inputs:
    """What is known before a pass: base int32 [n], mean features [rows, n], scale features [rows, n] (float32 integers)."""

    base: NDArray[np.int32]
    mean: Float
    scale: Float


def _fetch(plane: NDArray[np.int32], this: Pass, neighbour: Neighbour) -> NDArray[np.int32] | None:
    """A neighbour of every cell of the pass, int32 [n]; clamped at the edge of its lattice; None where that is empty."""
    (oy, ox), di, dj = neighbour
    stride = this.stride
    lattice = plane[oy * stride :: 2 * stride, ox * stride :: 2 * stride]
    if lattice.size == 0:
        return None
    ty, tx = _TARGETS[this.number]
    rows = -(-(plane.shape[0] - ty * stride) // (2 * stride))
    columns = -(-(plane.shape[1] - tx * stride) // (2 * stride))
    i = np.minimum(np.maximum(np.arange(di, di + rows), 0), lattice.shape[0] - 1)  # np.clip is slow on short arrays
    j = np.minimum(np.maximum(np.arange(dj, dj + columns), 0), lattice.shape[1] - 1)
    return lattice[i[:, None], j].reshape(-1)


def inputs(planes: NDArray[np.int32], magnitudes: NDArray[np.int32], h: int, w: int, this: Pass) -> Inputs:
    """Features of a pass. `planes` int32 [components, h * w] are DC latents, `magnitudes` int32 their residuals' sizes.

    A plane's cells that are not decoded yet are never looked at.
    """
    neighbours = _NEIGHBOURS[this.number]
    own = planes[this.component].reshape(h, w)
    values = [_fetch(own, this, neighbour) for neighbour in neighbours]
    known = [value for value in values[: _BASE[this.number]] if value is not None]
    base = (sum(known, start=np.zeros_like(known[0])) + len(known) // 2) // len(known)  # int32 [n]
    rows = [np.zeros_like(base) if value is None else value - base for value in values]

    near = np.abs(np.stack(rows[:_NEAREST]))
    far = np.abs(np.stack(rows[_NEAREST:12])).sum(axis=0)
    sizes = magnitudes[this.component].reshape(h, w)
    spread = [_fetch(sizes, this, neighbour) for neighbour in neighbours[:_NEAREST]]
    around = sum((size for size in spread if size is not None), start=np.zeros_like(base))
    first, second = ((0, 3), (1, 2)) if this.number == 0 else ((0, 1), (2, 3))
    across = [np.abs(rows[a] - rows[b]) for a, b in (first, second)]
    scale = [2 * near.sum(axis=0), far, 4 * across[0], 4 * across[1], 2 * around]
    for other in range(this.component):
        plane = planes[other].reshape(h, w)
        here = plane.reshape(-1)[this.cells]
        found = [_fetch(plane, this, neighbour) for neighbour in neighbours[:_NEAREST]]
        steps = [np.zeros_like(base) if value is None else value - here for value in found]
        rows += steps
        scale += [8 * magnitudes[other][this.cells], 2 * np.abs(np.stack(steps)).sum(axis=0)]
    mean = np.clip(np.stack(rows), -MEAN_MAX, MEAN_MAX).astype(np.float32)
    capped = np.minimum(np.stack(scale), MAGNITUDE_MAX)
    return Inputs(base, mean, np.concatenate([table[capped] for table in _SINGLE]))

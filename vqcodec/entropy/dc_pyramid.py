"""The DC planes: a pyramid that is filled from coarse to fine, three passes a level.

At stride S the cells whose row and column are multiples of 2S are known (lattice K). Pass 0 fills the centres (odd, odd)
(lattice A) from up to 16 of K; pass 1 the cells between horizontal neighbours (B) from K and A; pass 2 those between
vertical neighbours (C) from K, A and B. A chroma plane also sees the luma (and the first chroma) plane, which is complete
by then. Prediction is a base value plus a linear map of differences to it (linear.py's integer arithmetic); weights belong
to (component, level, pass), levels above LEVELS share the last one's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int32, Intp
from vqcodec.entropy.linear import LOGS, MAGNITUDE_MAX, MEAN_MAX

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

FINER_CLASSES: Final = 2
"""By which words of half the size are meant for further classes. An octave has 3; of 2, 3 and 4, held-out photos had 2 best."""

MEAN_ROWS: Final = tuple(tuple(len(n) + _NEAREST * c for n in _NEIGHBOURS) for c in range(3))
"""[component][pass] rows of mean features."""
SCALE_ROWS: Final = tuple(2 * (5 + 2 * c) for c in range(3))
"""[component] rows of scale features."""
_SCALE_UNITS: Final = np.array((2, 1, 4, 4, 2, 8, 2, 8, 2), np.int32)
"""What each sum of differences or sizes is multiplied by before its logarithms: all are then of about one size."""


_STEP_BOUNDS: Final = np.int32(-MEAN_MAX), np.int32(MEAN_MAX)
_SCALE_BOUNDS: Final = np.int32(0), np.int32(MAGNITUDE_MAX)


@dataclass(frozen=True)
class Pass:
    """One pass of the pyramid: the cells of one lattice."""

    component: int
    level: int
    number: int
    stride: int
    cells: Intp

    @property
    def name(self) -> str:
        return f"dc.{self.component}.{self.level}.{self.number}"


def is_finer(component: int, stride: int) -> bool:
    """Whether fine DCs are twice as precise in passes of a stride: what is coarse there stays so over an area that eyes notice.

    An error of half a step, at a step of 60 grey levels, is one of 4 in every pixel; chroma has little else than its DCs.
    """
    return stride >= (4 if component == 0 else 2)


def passes(h: int, w: int, component: int, grids: int = 1) -> Iterator[Pass]:
    """All passes of one component after the root cell (0, 0), in coding order, without empty ones.

    Of several grids side by side: first all cells of one, then those of the next.
    """
    index = np.arange(grids * h * w).reshape(grids, h, w)
    levels = (max(h, w) - 1).bit_length()
    for level in range(levels - 1, -1, -1):
        stride = 1 << level
        for number, (oy, ox) in enumerate(_TARGETS):
            cells = index[:, oy * stride :: 2 * stride, ox * stride :: 2 * stride].reshape(-1)
            if cells.size:
                yield Pass(component, min(level, LEVELS - 1), number, stride, cells)


def pass_names(component: int) -> list[str]:
    """Names of every weight set of a component."""
    return [f"dc.{component}.{level}.{number}" for level in range(LEVELS) for number in range(PASSES)]


@dataclass(frozen=True)
class Inputs:
    """What is known before a pass: base int32 [n], mean features [rows, n], scale features [rows, n] (float32 integers)."""

    base: Int32
    mean: Float32
    scale: Float32


def _pad(lattice: Int32) -> Int32:
    """Lattices [grids, h, w] with their edges repeated twice above and left, three times below and right: what neighbours reach."""
    grids, h, w = lattice.shape
    padded = np.empty((grids, h + 5, w + 5), lattice.dtype)
    padded[:, 2:-3, 2:-3] = lattice
    padded[:, 2:-3, :2], padded[:, 2:-3, -3:] = lattice[:, :, :1], lattice[:, :, -1:]
    padded[:, :2], padded[:, -3:] = padded[:, 2:3], padded[:, -4:-3]
    return padded


def _neighbours(plane: Int32, this: Pass, count: int) -> list[Int32 | None]:
    """The first `count` neighbours of the cells of a pass, each int32 [grids, rows, columns] of the
    pass's own lattice.

    They are clamped at the edge of the lattice that they belong to; None where that is empty.
    """
    stride, (ty, tx) = this.stride, _TARGETS[this.number]
    rows = -(-(plane.shape[1] - ty * stride) // (2 * stride))
    columns = -(-(plane.shape[2] - tx * stride) // (2 * stride))
    padded: dict[Lattice, Int32 | None] = {}
    found = []
    for (oy, ox), di, dj in _NEIGHBOURS[this.number][:count]:
        if (oy, ox) not in padded:
            lattice = plane[:, oy * stride :: 2 * stride, ox * stride :: 2 * stride]
            padded[oy, ox] = _pad(lattice) if lattice.size else None
        around = padded[oy, ox]
        found.append(None if around is None else around[:, 2 + di : 2 + di + rows, 2 + dj : 2 + dj + columns])
    return found


def inputs(planes: Int32, magnitudes: Int32, h: int, w: int, this: Pass) -> Inputs:
    """Features of a pass. `planes` int32 [components, grids * h * w] are DC latents, `magnitudes` int32 their residuals' sizes.

    There may be fewer grids than the pass has cells of: its first cells are meant then. Cells that are not decoded yet are never
    looked at.
    """
    own = len(_NEIGHBOURS[this.number])
    values = _neighbours(planes[this.component].reshape(-1, h, w), this, own)
    known = [value for value in values[: _BASE[this.number]] if value is not None]
    base = (sum(known[1:], start=known[0]) + len(known) // 2) // len(known)  # int32 [grids, rows, columns]
    shape, cells = base.shape, this.cells[: base.size]
    steps = np.zeros((own + _NEAREST * this.component, *shape), np.int32)
    scale = np.zeros((SCALE_ROWS[this.component] // 2, *shape), np.int32)
    for row, value in zip(steps[:own], values, strict=True):
        if value is not None:
            np.subtract(value, base, out=row)
    sizes = np.abs(steps[:12])
    first, second = ((0, 3), (1, 2)) if this.number == 0 else ((0, 1), (2, 3))
    np.sum(sizes[:_NEAREST], axis=0, out=scale[0])
    np.sum(sizes[_NEAREST:], axis=0, out=scale[1])
    np.abs(steps[first[0]] - steps[first[1]], out=scale[2])
    np.abs(steps[second[0]] - steps[second[1]], out=scale[3])
    for size in _neighbours(magnitudes[this.component].reshape(-1, h, w), this, _NEAREST):
        if size is not None:
            scale[4] += size
    for other in range(this.component):
        plane = planes[other]
        here = plane[cells].reshape(shape)
        rows = steps[own + _NEAREST * other :][:_NEAREST]
        for row, value in zip(rows, _neighbours(plane.reshape(-1, h, w), this, _NEAREST), strict=True):
            if value is not None:
                np.subtract(value, here, out=row)
        scale[5 + 2 * other] = magnitudes[other][cells].reshape(shape)
        np.sum(np.abs(rows), axis=0, out=scale[6 + 2 * other])
    steps.clip(*_STEP_BOUNDS, out=steps)
    scale *= _SCALE_UNITS[: len(scale), None, None, None]
    scale.clip(*_SCALE_BOUNDS, out=scale)
    scale = scale.reshape(len(scale), -1)
    logs = np.empty((len(LOGS), *scale.shape), np.float32)
    for row, table in zip(logs, LOGS, strict=True):
        table.take(scale, out=row, mode="clip")
    return Inputs(base.reshape(-1), steps.reshape(len(steps), -1).astype(np.float32), logs.reshape(-1, base.size))

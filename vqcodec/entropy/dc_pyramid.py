"""The DC planes: a pyramid filled from coarse to fine, in three passes per level.

Cells are those of lattices.py. A chroma plane also sees the luma plane (and the first chroma plane), which is complete by then.

A prediction is a base value plus a linear map of differences to it, in the integer arithmetic of linear.py. Weights belong to
(component, level, pass); levels above LEVELS share those of the last one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float32, Int32, Intp
from vqcodec.entropy.features import LOGS, MAGNITUDE_MAX, MEAN_MAX
from vqcodec.entropy.lattices import NEIGHBOURS, TARGETS, neighbours

LEVELS: Final = 5
PASSES: Final = 3
_NEAREST: Final = 4
_BASE: Final = (4, 2, 2)
"""Number of first neighbours, by pass, whose average is the base value: those of K."""

FINER_CLASSES: Final = 2
"""Class offset applied when DC codewords are halved. An octave has 3 classes; of the offsets 2, 3 and 4, 2 did best on held-out
photos."""

MEAN_ROWS: Final = tuple(tuple(len(n) + _NEAREST * c for n in NEIGHBOURS) for c in range(3))
"""Number of mean features by component and pass."""
SCALE_ROWS: Final = tuple(2 * (5 + 2 * c) for c in range(3))
"""Number of scale features by component."""
_SCALE_UNITS: Final = np.array((2, 1, 4, 4, 2, 8, 2, 8, 2), np.int32)
"""Factors of the sums of differences and magnitudes before their logarithms; they bring all sums to about the same size."""

_MEAN_BOUNDS: Final = np.int32(-MEAN_MAX), np.int32(MEAN_MAX)
_SCALE_BOUNDS: Final = np.int32(0), np.int32(MAGNITUDE_MAX)


class PassKey(NamedTuple):
    """Key of the weights of a pass. `level` is 0 for the finest level and at most LEVELS - 1."""

    component: int
    level: int
    number: int

    @property
    def name(self) -> str:
        """Name of the weight set; the inverse of `parse`."""
        return f"dc.{self.component}.{self.level}.{self.number}"

    @classmethod
    def parse(cls, name: str) -> PassKey:
        """The key of the weight set `dc.C.L.P`."""
        _, component, level, number = name.split(".")
        return cls(int(component), int(level), int(number))


@dataclass(frozen=True, eq=False)
class Pass:
    """One pass of the pyramid: the cells intp [n] of one lattice."""

    key: PassKey
    stride: int
    cells: Intp

    @property
    def name(self) -> str:
        return self.key.name

    @property
    def component(self) -> int:
        return self.key.component

    @property
    def number(self) -> int:
        return self.key.number


def is_finer(component: int, stride: int) -> bool:
    """Whether fine DCs have half the quantiser step in passes of a stride.

    An error in a coarse pass stays visible over a large area: half a step of 60 grey levels changes each pixel by about 4. Chroma
    is mostly its DCs, so it starts at a smaller stride.
    """
    return stride >= (4 if component == 0 else 2)


def passes(h: int, w: int, component: int, grids: int = 1) -> Iterator[Pass]:
    """All passes of one component after the root cell (0, 0), in coding order, without empty ones.

    With several `grids`, each pass has the cells of the first grid, then those of the next.
    """
    index = np.arange(grids * h * w).reshape(grids, h, w)
    levels = (max(h, w) - 1).bit_length()
    for level in range(levels - 1, -1, -1):
        stride = 1 << level
        for number, target in enumerate(TARGETS):
            cells = index[:, target.row * stride :: 2 * stride, target.column * stride :: 2 * stride].reshape(-1)
            if cells.size:
                yield Pass(PassKey(component, min(level, LEVELS - 1), number), stride, cells)


def pass_keys(component: int) -> list[PassKey]:
    """Keys of all weight sets of a component."""
    return [PassKey(component, level, number) for level in range(LEVELS) for number in range(PASSES)]


def pass_names(component: int) -> list[str]:
    """Names of all weight sets of a component."""
    return [key.name for key in pass_keys(component)]


@dataclass(frozen=True, eq=False)
class Inputs:
    """Features of the n cells of a pass: `base` int32 [n]; `mean` and `scale` float32 [rows, n], integers."""

    base: Int32
    mean: Float32
    scale: Float32


def inputs(planes: Int32, magnitudes: Int32, h: int, w: int, dc_pass: Pass) -> Inputs:
    """Features of a pass, from DC latents `planes` int32 [components, grids * h * w] and the magnitudes of their residuals, int32.

    If there are fewer grids than the pass covers, these are its first ones. Cells that are not decoded yet are never read.
    """
    own = len(NEIGHBOURS[dc_pass.number])
    values = neighbours(planes[dc_pass.component].reshape(-1, h, w), dc_pass.stride, dc_pass.number, own)
    known = [value for value in values[: _BASE[dc_pass.number]] if value is not None]
    base = (sum(known[1:], start=known[0]) + len(known) // 2) // len(known)  # int32 [grids, rows, columns]
    shape, cells = base.shape, dc_pass.cells[: base.size]
    mean = np.zeros((own + _NEAREST * dc_pass.component, *shape), np.int32)
    scale = np.zeros((SCALE_ROWS[dc_pass.component] // 2, *shape), np.int32)
    _subtract(mean[:own], values, base)
    _add_differences(scale, mean[:12], dc_pass.number)
    for size in neighbours(magnitudes[dc_pass.component].reshape(-1, h, w), dc_pass.stride, dc_pass.number, _NEAREST):
        if size is not None:
            scale[4] += size
    for other in range(dc_pass.component):
        plane = planes[other]
        rows = mean[own + _NEAREST * other :][:_NEAREST]
        around = neighbours(plane.reshape(-1, h, w), dc_pass.stride, dc_pass.number, _NEAREST)
        _subtract(rows, around, plane[cells].reshape(shape))
        scale[5 + 2 * other] = magnitudes[other][cells].reshape(shape)
        np.sum(np.abs(rows), axis=0, out=scale[6 + 2 * other])
    mean.clip(*_MEAN_BOUNDS, out=mean)
    return Inputs(base.reshape(-1), mean.reshape(len(mean), -1).astype(np.float32), _logarithms(scale))


def _subtract(rows: Int32, values: list[Int32 | None], base: Int32) -> None:
    """Write the differences of values to the base into rows; rows of missing values keep their zeros."""
    for row, value in zip(rows, values, strict=True):
        if value is not None:
            np.subtract(value, base, out=row)


def _add_differences(scale: Int32, differences: Int32, number: int) -> None:
    """Write the first four scale features of pass `number`: sums over the nearest and the farther neighbours, and the differences
    of two opposite pairs of the nearest."""
    sizes = np.abs(differences)
    first, second = ((0, 3), (1, 2)) if number == 0 else ((0, 1), (2, 3))
    np.sum(sizes[:_NEAREST], axis=0, out=scale[0])
    np.sum(sizes[_NEAREST:], axis=0, out=scale[1])
    np.abs(differences[first[0]] - differences[first[1]], out=scale[2])
    np.abs(differences[second[0]] - differences[second[1]], out=scale[3])


def _logarithms(scale: Int32) -> Float32:
    """Scale features float32 [2 sums, n] of sums of magnitudes int32 [sums, ...], which are changed in place."""
    scale *= _SCALE_UNITS[: len(scale), None, None, None]
    scale.clip(*_SCALE_BOUNDS, out=scale)
    flat = scale.reshape(len(scale), -1)
    logs = np.empty((len(LOGS), *flat.shape), np.float32)
    for row, table in zip(logs, LOGS, strict=True):
        table.take(flat, out=row, mode="clip")
    return logs.reshape(-1, flat.shape[1])

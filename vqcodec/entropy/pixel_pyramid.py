"""Prediction of samples from decoded neighbours: a mean and a scale class for each sample, both exact integers.

Each channel of a tile group is filled from coarse to fine; a channel also sees the channels before it, which are complete. There is
no trained model: the encoder fits the weights to the picture, and the file holds them.

Sample (0, 0) is known. The passes after it, their lattices and the neighbours of each sample in their order are those of the DCs in
container.py, 5.1, with the samples of the group in place of cells: levels k from ceil(log2 max(height, width)) - 1 down to 0, each
with passes 0, 1, 2. Level k uses the weights of level min(k, levels with weights - 1). Only samples that are not in graphic cells
are coded; those in graphic cells are known before, and neighbours like all others.

For a sample of a pass let v_i be the values of its neighbours, b the average of the first 4, 2, 2 of them in passes 0, 1, 2,
rounded half up, and o_i, o the values of the neighbours and of the sample itself in an earlier channel. m are the differences:
v_i - b of all 16, 16, 20 own neighbours, or of the first 4 alone; then for each earlier channel o_i - o of the first 12, or 4,
neighbours. A neighbour that is missing, because its lattice is empty, has the difference 0.

    activity = |m_0| + |m_1| + |m_2| + |m_3|;  context = 1 if activity > threshold, else 0
    mean     = clamp(b + ((sum of the context's mean weights * m + 512) >> 10), 0, 2**depth - 1)
    class    = clamp((sum of scale weights * f + bias) >> 12, 0, 23)

f are the logarithms log16(min(x, 65535) + 1), with the log16 of container.py, section 5, of these x: the activity; the sum of |m_i|
of the other own neighbours in m; |m_0 - m_1| and |m_2 - m_3| (in pass 0 |m_0 - m_3| and |m_1 - m_2|); the sum of the |residuals| of
the first four neighbours; and for each earlier channel the sum of its |o_i - o| in m, 4 times its |residual| at the sample, and the
sum of its |residuals| at the first four neighbours. The residual of a missing neighbour, of sample (0, 0) and of samples in graphic
cells counts as 0.

So that all sums are exact in floating point, weights are an error if, for samples of 8 bits, the sum of the |mean weights| of a
context * 255 + 1024 is 2**24 or more; or if the sum of the |scale weights| of a pass * 256 + |bias| is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Bool, Float32, Int16, Int32, Int64, Intp, UInt8, UInt16
from vqcodec.entropy.features import log16
from vqcodec.entropy.lattices import NEIGHBOURS, TARGETS, neighbours

CLASSES: Final = 24
CLASSES_PER_OCTAVE: Final = 3
MEAN_SHIFT: Final = 10
SCALE_SHIFT: Final = 12
LEVELS: Final = 3
"""Most levels with weights of their own; coarser levels share those of the last one."""
NEAREST: Final = 4
_OTHER: Final = 12
"""Neighbours in each earlier channel, with all neighbours."""
_BASE: Final = (4, 2, 2)
"""Number of first neighbours, by pass, whose average is the base value."""
_OWN_SCALES: Final = 5
_OTHER_SCALES: Final = 3
"""Scale features from the channel itself, and from each earlier channel."""
_SUM_MAX: Final = 65535
_LOGS: Final = log16(np.arange(1, _SUM_MAX + 2)).astype(np.float32)
LOG_MAX: Final = int(_LOGS[-1])
_SAMPLES_AT_ONCE: Final = 1 << 14
"""Samples whose features are computed at once, so that they stay in the cache."""
_FLOAT32_EXACT: Final = 1 << 24

Planes = Int16 | Int32
"""Channels [C, H, W]: int16 for samples of 8 bits, else int32."""
Magnitudes = UInt8 | UInt16
"""Magnitudes of residuals [C, H, W]: uint8 for samples of 8 bits, else uint16."""
Float = NDArray[np.float32 | np.float64]


@dataclass(frozen=True)
class Shape:
    """The extent of the weights."""

    levels: int
    """Levels with weights of their own, 1..LEVELS."""
    all_neighbours: bool
    """Whether all neighbours have weights, or the four nearest alone."""
    contexts: int
    """Contexts with mean weights of their own, 1 or 2."""

    def rows(self, channel: int, number: int) -> int:
        """Number of differences in a pass of a channel."""
        return self.own(number) + self.other * channel

    def own(self, number: int) -> int:
        """Number of the channel's own neighbours in a pass."""
        return len(NEIGHBOURS[number]) if self.all_neighbours else NEAREST

    @property
    def other(self) -> int:
        """Number of neighbours in each earlier channel."""
        return _OTHER if self.all_neighbours else NEAREST


def scale_rows(channel: int) -> int:
    """Number of scale features of a channel, without the bias."""
    return _OWN_SCALES + _OTHER_SCALES * channel


@dataclass(frozen=True, eq=False)
class Weights:
    """Integer weights of a pass: `means` int64 [contexts, rows] in 1/1024, `scales` int64 [scale rows] and `bias` in 1/4096 class.

    `threshold`: largest activity of context 0.
    """

    threshold: int
    means: Int64
    scales: Int64
    bias: int

    def means_are_exact(self, peak: int) -> bool:
        """Whether all sums for means are exact in the floating-point type of samples up to `peak`."""
        return peak >= 256 or np.abs(self.means).sum(axis=1).max() * peak + (1 << MEAN_SHIFT) < _FLOAT32_EXACT

    @property
    def scales_are_exact(self) -> bool:
        """Whether all sums for classes are exact in float32."""
        return int(np.abs(self.scales).sum()) * LOG_MAX + abs(self.bias) < _FLOAT32_EXACT


WeightSets = dict[tuple[int, int, int], Weights]
"""Weights by channel, level below `Shape.levels`, and pass."""


class Pass(NamedTuple):
    """One pass over a quarter of a level's samples, `rows` x `columns` of them."""

    level: int
    number: int
    rows: int
    columns: int

    @property
    def stride(self) -> int:
        return 1 << self.level

    @property
    def lattice(self) -> tuple[slice, slice]:
        """Rows and columns of the samples in the plane."""
        target = TARGETS[self.number]
        return slice(target.row * self.stride, None, 2 * self.stride), slice(target.column * self.stride, None, 2 * self.stride)


def no_magnitudes(planes: Planes) -> Magnitudes:
    """Magnitudes of residuals for channels [C, H, W], all 0."""
    return np.zeros(planes.shape, np.uint8 if planes.dtype == np.int16 else np.uint16)


def passes(height: int, width: int) -> Iterator[Pass]:
    """All passes of a channel after its sample (0, 0), in coding order, without empty ones."""
    for level in range((max(height, width) - 1).bit_length() - 1, -1, -1):
        stride = 1 << level
        for number, target in enumerate(TARGETS):
            rows = -(-(height - target.row * stride) // (2 * stride))
            columns = -(-(width - target.column * stride) // (2 * stride))
            if rows > 0 and columns > 0:
                yield Pass(level, number, rows, columns)


class Expected(NamedTuple):
    """Predictions of n samples: `means` int32 [n], `classes` uint8 [n]."""

    means: Int32
    classes: UInt8


@dataclass(frozen=True, eq=False)
class Inputs:
    """Features of n samples: `base` int32 [n], differences `mean` [rows, n] and logarithms `scale` float32 [scale rows, n]."""

    base: Int32
    activity: Float
    mean: Float
    scale: Float32


class Surroundings:
    """The decoded neighbours of a pass; `inputs` makes features of them, some rows at a time."""

    def __init__(self, planes: Planes, magnitudes: Magnitudes, channel: int, step: Pass, shape: Shape) -> None:
        """`planes` [C, H, W], `magnitudes` of the residuals [C, H, W]. Samples that are not decoded yet are never used."""
        self.channel, self.step, self.shape = channel, step, shape
        self._float = np.float32 if planes.dtype == np.int16 else np.float64
        self._own = neighbours(planes[channel][None], step.stride, step.number, shape.own(step.number))
        self._own_residuals = neighbours(magnitudes[channel][None], step.stride, step.number, NEAREST)
        self._others = [
            (
                planes[other][step.lattice],
                neighbours(planes[other][None], step.stride, step.number, shape.other),
                magnitudes[other][step.lattice],
                neighbours(magnitudes[other][None], step.stride, step.number, NEAREST),
            )
            for other in range(channel)
        ]

    def bands(self) -> Iterator[slice]:
        """Bands of the pass's rows, of about `_SAMPLES_AT_ONCE` samples."""
        rows = max(1, _SAMPLES_AT_ONCE // self.step.columns)
        for top in range(0, self.step.rows, rows):
            yield slice(top, min(top + rows, self.step.rows))

    def inputs(self, band: slice, chosen: Intp | None = None) -> Inputs:
        """Features of the samples of a band of rows; with `chosen`, of these samples of it alone."""
        shape, number = self.shape, self.step.number
        size = (band.stop - band.start, self.step.columns)
        own = shape.own(number)
        differences = np.zeros((shape.rows(self.channel, number), *size), self._float)
        values = [None if value is None else value[0, band] for value in self._own]
        known = [value for value in values[: _BASE[number]] if value is not None]
        base = (sum((value.astype(np.int32) for value in known[1:]), start=known[0].astype(np.int32)) + len(known) // 2) // len(
            known
        )
        for row, value in zip(differences, values, strict=False):
            if value is not None:
                np.subtract(value, base, out=row, casting="unsafe")
        sums = np.zeros((scale_rows(self.channel), *size), np.int32)
        sums[4] = _sum(self._own_residuals, band)
        first = own
        for place, (plane, around, residuals, residuals_around) in enumerate(self._others):
            at = plane[band]
            for row, value in zip(differences[first:], around, strict=False):
                if value is not None:
                    np.subtract(value[0, band], at, out=row, casting="unsafe")
            first += shape.other
            rows = sums[_OWN_SCALES + _OTHER_SCALES * place :]
            np.multiply(residuals[band], 4, out=rows[1], dtype=np.int32)
            rows[2] = _sum(residuals_around, band)
        mean = differences.reshape(len(differences), -1)
        flat = sums.reshape(len(sums), -1)
        base = base.reshape(-1)
        if chosen is not None:
            mean, flat, base = mean[:, chosen], flat[:, chosen], base[chosen]
        activity = self._add_sums(mean, flat, own)
        return Inputs(base, activity, mean, _LOGS.take(np.minimum(flat, _SUM_MAX)))

    def _add_sums(self, mean: Float, sums: Int32, own: int) -> Float:
        """Write the sums of magnitudes of differences into their rows of `sums`; returns the activity [n]."""
        sizes = np.abs(mean)
        activity: Float = sizes[:NEAREST].sum(axis=0)
        sums[0] = activity
        sums[1] = sizes[NEAREST:own].sum(axis=0)
        first, second = ((0, 3), (1, 2)) if self.step.number == 0 else ((0, 1), (2, 3))
        sums[2] = np.abs(mean[first[0]] - mean[first[1]])
        sums[3] = np.abs(mean[second[0]] - mean[second[1]])
        for place in range(self.channel):
            start = own + self.shape.other * place
            sums[_OWN_SCALES + _OTHER_SCALES * place] = sizes[start : start + self.shape.other].sum(axis=0)
        return activity


def _sum(values: Sequence[Planes | Magnitudes | None], band: slice) -> Int32 | int:
    """The sum of neighbours in a band of rows, int32 [rows, columns]; 0 if there are none."""
    return sum((value[0, band].astype(np.int32) for value in values if value is not None), start=0)


def expect_means(inputs: Inputs, weights: Weights, peak: int) -> Int32:
    """Means int32 [n] for features; `peak` is the largest sample."""
    products = weights.means.astype(inputs.mean.dtype) @ inputs.mean  # [contexts, n]
    chosen = products[0]
    if len(products) > 1:
        chosen = np.where(inputs.activity > weights.threshold, products[1], products[0])
    chosen += 1 << (MEAN_SHIFT - 1)
    chosen *= 1 / (1 << MEAN_SHIFT)
    means = np.floor(chosen, out=chosen).astype(np.int32)
    means += inputs.base
    return means.clip(np.int32(0), np.int32(peak), out=means)


def expect_classes(inputs: Inputs, weights: Weights) -> UInt8:
    """Scale classes uint8 [n] for features."""
    score = weights.scales.astype(np.float32) @ inputs.scale
    score += np.float32(weights.bias)
    score *= np.float32(1 / (1 << SCALE_SHIFT))
    return score.clip(np.float32(0), np.float32(CLASSES - 1)).astype(np.uint8)


def expect(surroundings: Surroundings, weights: Weights, peak: int, coded: Bool | None) -> Expected:
    """Predictions of all samples of a pass, row by row; with `coded` bool [rows, columns], of these alone."""
    means, classes = [], []
    for band in surroundings.bands():
        inputs = surroundings.inputs(band, None if coded is None else np.flatnonzero(coded[band]))
        means.append(expect_means(inputs, weights, peak))
        classes.append(expect_classes(inputs, weights))
    return Expected(np.concatenate(means), np.concatenate(classes))


def weights_of(weights: WeightSets, channel: int, step: Pass, shape: Shape) -> Weights:
    """The weights of a pass."""
    return weights[channel, min(step.level, shape.levels - 1), step.number]


def put(lattice: Planes | Magnitudes, where: Bool | None, values: Int32) -> None:
    """Write values [n] into the samples of a lattice [rows, columns], all or those chosen by `where`."""
    if where is None:
        lattice[...] = values.reshape(lattice.shape)
    else:
        lattice[where] = values

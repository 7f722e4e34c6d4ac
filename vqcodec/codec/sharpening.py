"""Sharpening: a refiner adds texture and detail to a decode.

    inputs:  decoded coefficients, latents and log(step / 32), compressed as for the synthesis; noise           float32 [297, n]
    outputs: lapped coefficients in steps, and the standard deviation of grain for those of luma                float32 [256, n]
    coefficient = decoded + strength * step * from_lapped(emphasis * output - repeats + grain)

`repeats` are the part of the output that is the same in neighbouring cells. The arithmetic is floating point, as in the synthesis:
pixels agree within 1 of 255 between machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int16, Intp
from vqcodec.nets import convolution
from vqcodec.nets.convolution import Rows, RunNetwork
from vqcodec.nets.synthesis import GRAIN, INPUTS, NOISE, OUTPUTS, DecodeRows, synthesis_features
from vqcodec.transform.lapped import from_lapped
from vqcodec.transform.layouts import COLOR_8X8, Layout, shared_channels
from vqcodec.weights.refiner import Refiner

DEFAULT_STRENGTH: Final = 0.7
"""Largest default strength."""
_FULL_STEP_LEVELS: Final = 60.0
_ZERO_STEP_LEVELS: Final = 13.0
"""Quantiser steps in grey levels from which on the default strength is full, and up to which it is zero. Photographs have about 0.2
and 1 bit per pixel there."""
_EMPHASIS: Final = {0: (0.0, 4.4), 1: (0.0, 0.6), 2: (0.0, 0.6)}
_EMPHASIS_FREQUENCIES: Final = (1.5, 5)
"""Factors of the lowest and the highest frequencies of each component, and the frequencies (the larger of two) between which they
are interpolated."""
_GRAIN_EMPHASIS: Final = (0.0, 8.0)
_GRAIN_FREQUENCIES: Final = (3, 7)
"""Factors and frequencies of grain."""
_REPEATS_FROM_FREQUENCY: Final = 3
"""Frequency (the larger of two) from which on repeats are removed."""
REPEAT_RADIUS: Final = 2
"""Cells to each side over which repeats are measured."""
REFINER_REACH: Final = 1 + REPEAT_RADIUS
"""Cells around a cell that its texture depends on, besides the network's halo: 1 because basis functions overlap, and the radius of
repeats."""


@dataclass(frozen=True)
class Sharpener:
    """A refiner, and the strength (above 0, at most 1) with which its texture is added."""

    refiner: Refiner
    strength: float
    run: RunNetwork | None = None
    """Runs the network on a GPU, one strip at a time. None: numpy."""

    @property
    def halo(self) -> int:
        """Cells around a cell that its texture depends on."""
        return self.refiner.network.halo + REFINER_REACH

    def sharpen(
        self,
        rows: Rows,
        *,
        decoded: DecodeRows,
        latents: Int16,
        step_levels: float,
        grid: tuple[int, int],
        layout: Layout,
        corner: tuple[int, int],
    ) -> Float32:
        """Sharpened coefficients float32 [C', n] in grey levels of some rows of cells.

        `decoded` gives the coefficients before sharpening, and `latents` int16 [C, h * w] cover the `grid` (h, w). `corner` is the
        (row, column) of the grid's first cell in the picture. DCs, which are the means of the blocks, do not change, so colours do
        not drift.
        """
        h, w = grid
        top, bottom = max(0, rows[0] - self.halo), min(h, rows[1] + self.halo)
        around = decoded((top, bottom))  # float32 [C', n with halo]
        seen = latents[:, top * w : bottom * w]
        inputs = refiner_features(around, seen, layout, step_levels, w, (corner[0] + top, corner[1]))  # float32 [297, n with halo]
        first, last = max(0, rows[0] - REFINER_REACH), min(h, rows[1] + REFINER_REACH)
        run = self.run or self._run_here
        outputs = run(inputs.reshape(len(inputs), bottom - top, w), (first - top, last - top))
        texture = from_lapped(added_coefficients(outputs, (corner[0] + first, corner[1])))  # float32 [192, last - first, w]
        kept = texture[:, rows[0] - first : rows[1] - first].reshape(OUTPUTS, -1)
        out = np.ascontiguousarray(around[:, (rows[0] - top) * w : (rows[1] - top) * w])  # float32 [C', n]
        full, dcs = layout.whole, layout.components
        out[dcs:] += np.float32(self.strength * step_levels) * kept[shared_channels(full, COLOR_8X8)[1][dcs:]]
        return out

    def _run_here(self, x: Float32, kept: Rows | None = None) -> Float32:
        return convolution.run_network(self.refiner.network, x, kept)


def default_strength(step_levels: float) -> float:
    """Strength for a quantiser step in grey levels: 0.7 from 60 on, falling to 0 at 13."""
    share = np.log(step_levels / _ZERO_STEP_LEVELS) / np.log(_FULL_STEP_LEVELS / _ZERO_STEP_LEVELS)
    return DEFAULT_STRENGTH * float(np.clip(share, 0, 1))


# ------------------------------------------------------------------------------------------------ inputs


def refiner_features(
    decoded: Float32, latents: Int16, layout: Layout, step_levels: float, columns: int, corner: tuple[int, int]
) -> Float32:
    """Network inputs float32 [297, n] for decoded coefficients float32 [C', n] in grey levels and their latents int16 [C, n].

    The n cells are whole rows of `columns` cells. `corner` is the (row, column) of the first one in the picture.
    """
    full = layout.whole
    out = np.zeros((INPUTS["refiner"], latents.shape[1]), np.float32)
    x = decoded * np.float32(1 / step_levels)
    out[shared_channels(full, COLOR_8X8)[1]] = np.copysign(np.log1p(np.abs(x)), x)
    out[OUTPUTS:-NOISE] = synthesis_features(latents, layout, step_levels)
    out[-NOISE:] = noise(corner, latents.shape[1] // columns, columns).reshape(NOISE, -1)
    return out


def noise(corner: tuple[int, int], rows: int, columns: int, channels: range = range(NOISE)) -> Float32:
    """Uniform noise float32 [channels, rows, columns] of mean 0 and variance 1.

    It depends only on the channel and on the cell's position in the picture, so a region gets the same noise as the whole picture.
    Mixing function: MurmurHash3 (Appleby 2011).
    """
    row = np.arange(corner[0], corner[0] + rows, dtype=np.uint32)[:, None] * np.uint32(0x9E3779B1)
    column = np.arange(corner[1], corner[1] + columns, dtype=np.uint32) * np.uint32(0x85EBCA6B)
    numbers = np.arange(channels.start + 1, channels.stop + 1, dtype=np.uint32)
    bits = (row ^ column) + numbers[:, None, None] * np.uint32(0xC2B2AE35)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        bits ^= bits >> np.uint32(shift)
        bits *= np.uint32(factor)
    bits ^= bits >> np.uint32(16)
    return (bits.astype(np.float32) * np.float32(2**-32) - np.float32(0.5)) * np.float32(12**0.5)


def grain(corner: tuple[int, int], rows: int, columns: int) -> Float32:
    """Noise float32 [GRAIN, rows, columns] that is added as grain. It is independent of the noise among the inputs."""
    return noise(corner, rows, columns, range(NOISE, NOISE + GRAIN))


# ------------------------------------------------------------------------------------------------ outputs


def added_coefficients(outputs: Float32, corner: tuple[int, int]) -> Float32:
    """Lapped coefficients [192, rows, columns] in steps that are added for a refiner's outputs [256, rows, columns].

    `corner` is the (row, column) of the first cell in the picture. Older refiners have 192 outputs and no grain.
    """
    added = emphasis() * outputs[:OUTPUTS]
    subtract_repeats(added)
    if len(outputs) > OUTPUTS:
        added[grain_channels()] += grain_emphasis() * outputs[OUTPUTS:] * grain(corner, *outputs.shape[1:])
    return added


def subtract_repeats(coefficients: Float32) -> None:
    """Subtract, in place, the mean over 5x5 cells from the high frequencies of lapped coefficients [192, rows, columns].

    A pattern that repeats from cell to cell shows as a screen of dots. Cells beyond an edge count as the outermost ones.
    """
    side, mean = 2 * REPEAT_RADIUS + 1, coefficients[repeat_channels()]
    for axis in (1, 2):
        own = np.moveaxis(mean, axis, 0)
        padded = np.pad(own, ((REPEAT_RADIUS, REPEAT_RADIUS), (0, 0), (0, 0)), mode="edge")
        mean = np.moveaxis(np.add.reduce([padded[i : i + len(own)] for i in range(side)]), 0, axis)
    coefficients[repeat_channels()] -= mean * np.float32(1 / side**2)


@cache
def emphasis() -> Float32:
    """Factors of a refiner's lapped coefficients, float32 [192, 1, 1].

    Low frequencies are left out: texture there moves edges and shades that the decode already has, and similarity falls. The
    decode lacks high frequencies of luma, so these are amplified.
    """
    weights = [np.interp(max(v, u), _EMPHASIS_FREQUENCIES, _EMPHASIS[component]) for component, v, u in COLOR_8X8.positions]
    return np.array(weights, np.float32)[:, None, None]


@cache
def grain_emphasis() -> Float32:
    """Factors of a refiner's grain, float32 [GRAIN, 1, 1]."""
    larger = [max(v, u) for component, v, u in COLOR_8X8.positions if component == 0]
    return np.interp(larger, _GRAIN_FREQUENCIES, _GRAIN_EMPHASIS).astype(np.float32)[:, None, None]


@cache
def repeat_channels() -> Intp:
    """Channels of the high frequencies, from which repeats are subtracted."""
    return np.flatnonzero([max(v, u) >= _REPEATS_FROM_FREQUENCY for _, v, u in COLOR_8X8.positions])


@cache
def grain_channels() -> Intp:
    """Channels that get grain: those of luma, in the order of a refiner's last outputs."""
    return np.flatnonzero([component == 0 for component, _, _ in COLOR_8X8.positions])

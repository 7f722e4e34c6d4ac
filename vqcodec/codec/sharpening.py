"""The inputs of a refiner's network (its noise included), and what its outputs (lapped coefficients and grain) add to a decode.

    inputs: the decoded coefficients and the latents, compressed as the synthesis's; log(step / 32); noise       float32 [297, n]
    outputs: coefficients of the lapped transform, in steps, and the deviation of grain in those of luma         float32 [256, n]
    coefficient = decoded + strength * step * from_lapped(emphasis * (output - what repeats) + grain)

Floating point, as the synthesis is: pixels agree within 1 of 255 between machines.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int16, Intp
from vqcodec.nets.convolution import Rows, RunNetwork
from vqcodec.nets.synthesis import GRAIN, INPUTS, NOISE, OUTPUTS, DecodeRows, synthesis_features
from vqcodec.transform.lapped import from_lapped
from vqcodec.transform.layouts import COLOR_8X8, Layout, shared_channels

DEFAULT_STRENGTH: Final = 0.7
_FULL_STEP: Final = 60.0
_NO_STEP: Final = 13.0
"""Steps in grey levels from which on a refiner has its default strength, and below which it has none: 0.2 and 1 bit per pixel."""
_EMPHASIS: Final = {0: (0.0, 4.4), 1: (0.0, 0.6), 2: (0.0, 0.6)}
_EMPHASIS_FREQUENCIES: Final = (1.5, 5)
"""Factors of the lowest and highest basis functions of a component, and the frequencies (the larger of two) where they begin."""
_GRAIN_EMPHASIS: Final = (0.0, 8.0)
_GRAIN_FREQUENCIES: Final = (3, 7)
"""The same of its grain."""
_REPEATED_FROM: Final = 3
REPEATED_WITHIN: Final = 2
"""Basis functions of which larger frequency lose what repeats from cell to cell, and within how many cells to each side."""
REFINER_REACH: Final = 1 + REPEATED_WITHIN
"""Cells around a cell that what is added there depends on, besides those that the network sees: basis functions overlap."""


def refiner_features(base: Float32, latents: Int16, layout: Layout, step: float, columns: int, corner: tuple[int, int]) -> Float32:
    """Inputs float32 [297, n] of a refiner, for decoded coefficients float32 [C', n] in grey levels and what they came from.

    They are of whole rows of `columns` cells, the first of which is the cell `corner` (row, column) of the picture.
    """
    full = layout.whole
    out = np.zeros((INPUTS["refiner"], latents.shape[1]), np.float32)
    x = base * np.float32(1 / step)
    out[shared_channels(full, COLOR_8X8)[1]] = np.copysign(np.log1p(np.abs(x)), x)
    out[OUTPUTS:-NOISE] = synthesis_features(latents, layout, step)
    out[-NOISE:] = noise(corner, latents.shape[1] // columns, columns).reshape(NOISE, -1)
    return out


def noise(corner: tuple[int, int], rows: int, columns: int, channels: range = range(NOISE)) -> Float32:
    """Noise float32 [channels, rows, columns], uniform, of mean 0 and variance 1, that depends on a cell's place in the picture and
    on the channel's number alone: every decode of it, whole or of a region, is the same. By the mixing of MurmurHash3 (Appleby
    2011)."""
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
    """The noise float32 [GRAIN, rows, columns] that becomes grain; none of it is among a refiner's inputs."""
    return noise(corner, rows, columns, range(NOISE, NOISE + GRAIN))


@cache
def emphasis() -> Float32:
    """What the lapped coefficients that a refiner adds are multiplied by, float32 [192, 1, 1].

    Low ones are where similarity is lost, as they move edges and shades that the decode has; high ones of luma are what it lacks.
    """
    weights = [np.interp(max(v, u), _EMPHASIS_FREQUENCIES, _EMPHASIS[component]) for component, v, u in COLOR_8X8.positions]
    return np.array(weights, np.float32)[:, None, None]


@cache
def repeatable() -> Intp:
    """Channels whose mean over the cells around is the lattice's doing."""
    return np.flatnonzero([max(v, u) >= _REPEATED_FROM for _, v, u in COLOR_8X8.positions])


@cache
def grained() -> Intp:
    """Channels that get grain: those of luma, in the order of a refiner's last outputs."""
    return np.flatnonzero([component == 0 for component, _, _ in COLOR_8X8.positions])


@cache
def grain_emphasis() -> Float32:
    """What a refiner's grain is multiplied by, float32 [GRAIN, 1, 1]."""
    larger = [max(v, u) for component, v, u in COLOR_8X8.positions if component == 0]
    return np.interp(larger, _GRAIN_FREQUENCIES, _GRAIN_EMPHASIS).astype(np.float32)[:, None, None]


def added_coefficients(found: Float32, corner: tuple[int, int]) -> Float32:
    """The lapped coefficients [192, rows, columns], in steps, that the outputs [256, rows, columns] of a refiner add.

    They are its own as `weigh` has them, and noise, of which it gives the deviation. `corner` is the place of the first cell in the
    picture. Old refiners have no grain.
    """
    added = weigh(found[:OUTPUTS])
    if len(found) > OUTPUTS:
        added[grained()] += grain_emphasis() * found[OUTPUTS:] * grain(corner, *found.shape[1:])
    return added


def weigh(found: Float32) -> Float32:
    """Outputs [192, rows, columns] of a refiner as they are added: times `emphasis`, without what repeats from cell to cell, which
    is seen as a screen of dots: the mean of high ones over 5x5 cells (at edges the outermost count again)."""
    weighed = emphasis() * found
    side, mean = 2 * REPEATED_WITHIN + 1, weighed[repeatable()]
    for axis in (1, 2):
        own = np.moveaxis(mean, axis, 0)
        padded = np.pad(own, ((REPEATED_WITHIN, REPEATED_WITHIN), (0, 0), (0, 0)), mode="edge")
        mean = np.moveaxis(np.add.reduce([padded[i : i + len(own)] for i in range(side)]), 0, axis)
    weighed[repeatable()] -= mean * np.float32(1 / side**2)
    return weighed


def sharpen(
    run: RunNetwork,
    halo: int,
    restored: DecodeRows,
    latents: Int16,
    step: float,
    grid: tuple[int, int],
    layout: Layout,
    strength: float,
    corner: tuple[int, int],
    rows: Rows,
) -> Float32:
    """Coefficients of some rows of cells as they are `restored`, and `strength` (0..1) of what the refiner `run` adds to them.
    `corner` is the place of the first cell in the picture.

    DCs, which are the means of the blocks, stay as they are: no colour moves.
    """
    h, w = grid
    top, bottom = max(0, rows[0] - halo), min(h, rows[1] + halo)
    around = restored((top, bottom))
    inputs = refiner_features(around, latents[:, top * w : bottom * w], layout, step, w, (corner[0] + top, corner[1]))
    first, last = max(0, rows[0] - REFINER_REACH), min(h, rows[1] + REFINER_REACH)
    found = run(inputs.reshape(len(inputs), bottom - top, w), (first - top, last - top))
    added = added_coefficients(found, (corner[0] + first, corner[1]))
    kept = from_lapped(added)[:, rows[0] - first : rows[1] - first].reshape(OUTPUTS, -1)
    out = np.ascontiguousarray(around[:, (rows[0] - top) * w : (rows[1] - top) * w])
    full, dcs = layout.whole, layout.components
    out[dcs:] += np.float32(strength * step) * kept[shared_channels(full, COLOR_8X8)[1][dcs:]]
    return out


def default_strength(step: float) -> float:
    """How much of what a refiner adds is added, by the step in grey levels: 0.7 from 60 on, falling to 0 at 13."""
    share = np.log(step / _NO_STEP) / np.log(_FULL_STEP / _NO_STEP)
    return DEFAULT_STRENGTH * float(np.clip(share, 0, 1))

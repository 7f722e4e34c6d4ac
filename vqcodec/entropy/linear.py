"""What a decoder expects of a tile before it reads it: a mean and a scale class, both exact integers.

Everything here is computed from latents that are already decoded, by linear maps with integer weights over integer
features. The features are held in float32 and multiplied by BLAS: every model is checked when it is loaded so that no sum
can leave the 24 bits in which float32 is exact in any order of summation (`check_bounds`).

* Mean features are latents (or differences of DCs) in 1/16 step, clamped to +-MEAN_MAX; mean = (W f + half) >> MEAN_SHIFT.
* Scale features are integer logarithms of magnitudes (`log16`), so the predicted class is a linear function of logs:
  a gamma regression with log link, fitted by train/predictors.py. class = clamp((W f + bias) >> SCALE_SHIFT, 0, 31).

Passes over the grid are two halves of a checkerboard: cells with (row + column) even first; the odd cells then see their
four neighbours' residuals and latents of the very same tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32, Int32, Int64, Intp, UInt8
from vqcodec.errors import ModelError
from vqcodec.transform.layouts import Layout, Tile

LATENT_MAX: Final = 32767
"""Latents are clamped to +-LATENT_MAX sixteenths of a step."""
MEAN_MAX: Final = 4095
MEAN_SHIFT: Final = 10
SCALE_SHIFT: Final = 14
CLASSES: Final = 32
_LATENT_BOUNDS: Final = np.int32(-LATENT_MAX), np.int32(LATENT_MAX)
"""Of the type of what is clipped, as those of classes: so `clip` takes a third of the time of np.minimum and np.maximum."""
_CLASS_BOUNDS: Final = np.float32(0), np.float32(CLASSES - 1)
CLASSES_PER_OCTAVE: Final = 3
CLASS_OF_ONE: Final = 18
"""Class whose lower edge is a mean magnitude of one step."""
MAGNITUDE_MAX: Final = 8191
"""Magnitudes are in 1/128 of a step, so this is 64 steps."""
FLOAT32_EXACT: Final = 1 << 24

_FINE, _COARSE = 8, 64  # offsets of the two logarithms, 1/16 and 1/2 of a step
DC_ROWS, TILE_ROWS = 6, 6
MEAN_SOURCE_COEFS: Final = 15
"""Luma coefficients, in coding order, whose neighbourhoods serve the means of later tiles."""
MEAN_TARGET_TILES: Final = 13
"""Luma tiles, in coding order, that have a predicted mean; later ones have mean zero."""
LUMA_MEAN_ROWS: Final = 8 + 5 * MEAN_SOURCE_COEFS
CHROMA_MEAN_TILES: Final = 2
"""Tiles of each chroma component that have a predicted mean (from the 8 DCs around and, in odd cells, their own)."""


def log16(values: Int64 | int) -> Int64:
    """Integer logarithm of integers >= 1: 16 * e + ((16 * x) >> e) - 16 with e = floor(log2 x); piecewise linear."""
    x = np.asarray(values, dtype=np.int64)
    exponent = np.frexp(x.astype(np.float64))[1].astype(np.int64) - 1
    return 16 * exponent + ((x << 4) >> exponent) - 16


def _log_table(size: int, offset: int) -> Float32:
    return (log16(np.arange(size) + offset) - log16(offset)).astype(np.float32)


LOGS = (_log_table(MAGNITUDE_MAX + 1, _FINE), _log_table(MAGNITUDE_MAX + 1, _COARSE))
_SUM_OF_4 = (_log_table(4 * MAGNITUDE_MAX + 1, 4 * _FINE), _log_table(4 * MAGNITUDE_MAX + 1, 4 * _COARSE))
SCALE_FEATURE_MAX: Final = int(max(table[-1] for table in LOGS + _SUM_OF_4))


@lru_cache
def step_features(step: int) -> tuple[int, int, int]:
    """Bias inputs of a step (1/64 grey levels): 1, its logarithm (0 near 32 grey levels), and the square of that."""
    level = int(log16(step)) - 176
    return 1, level, level * level >> 4


STEP_FEATURE_MAX: Final = (1, 176, 176 * 176 >> 4)


@dataclass(frozen=True)
class Predictor:
    """Integer weights for one tile (or one kind of DC pass), stored in float32 or as Python ints.

    `mean` [2 * T, rows] holds the even pass's T rows, then the odd pass's; `mean_own` [T, 4] are the odd pass's weights of
    left, right, up, down. Both are None where the mean is zero. `scale` [2, rows], `scale_own` [2] (odd pass), `bias`
    [2, 3] with `step_features`. A DC pass has one pass only: T = 1, `mean` [1, rows], `scale` [1, rows], `bias` [1, 3].
    """

    mean: Float32 | None
    mean_own: Float32 | None
    scale: Float32
    scale_own: Float32
    bias: Int64

    def check_bounds(self, name: str) -> None:
        """Raise ModelError unless every sum of products stays exact in float32, whatever the features are."""
        worst = np.abs(self.scale).sum(axis=1)
        worst[-1] += np.abs(self.scale_own).sum()
        biases = (np.abs(self.bias) * np.array(STEP_FEATURE_MAX)).sum(axis=1)
        if not np.all(worst * SCALE_FEATURE_MAX + biases < FLOAT32_EXACT):
            raise ModelError(f"model: scale weights of {name} are too large to be exact")
        if self.mean is not None:
            sums = np.abs(self.mean).sum(axis=1)
            if self.mean_own is not None:
                sums[len(sums) // 2 :] += np.abs(self.mean_own).sum(axis=1)  # of the odd pass
            if not sums.max() * MEAN_MAX + (1 << MEAN_SHIFT) < FLOAT32_EXACT:
                raise ModelError(f"model: mean weights of {name} are too large to be exact")


def clamp_latents(values: Int32) -> Int32:
    """Latents to +-LATENT_MAX, in place."""
    return values.clip(*_LATENT_BOUNDS, out=values)


def classes_of(score: Float32) -> UInt8:
    """Scores float32 [n], integers in 1/2**SCALE_SHIFT of a class, to classes uint8 [n] (floor, clamped)."""
    return (score * np.float32(1.0 / (1 << SCALE_SHIFT))).clip(*_CLASS_BOUNDS).astype(np.uint8)


def means_of(products: Float32) -> Int32:
    """Sums of products float32, integers in 1/2**MEAN_SHIFT of a latent, to latents int32 (rounded half up)."""
    products += np.float32(1 << (MEAN_SHIFT - 1))
    products *= np.float32(1.0 / (1 << MEAN_SHIFT))
    return np.floor(products, out=products).astype(np.int32)


def pad_edge(plane: Int32) -> Int32:
    """[h, w] to [h + 2, w + 2] with its edge cells repeated."""
    h, w = plane.shape
    padded = np.empty((h + 2, w + 2), plane.dtype)
    padded[1:-1, 1:-1] = plane
    padded[1:-1, 0], padded[1:-1, -1] = plane[:, 0], plane[:, -1]
    padded[0], padded[-1] = padded[1], padded[-2]
    return padded


_AROUND = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2))
_CROSS = ((1, 0), (1, 2), (0, 1), (2, 1))  # left, right, up, down


class Grid:
    """The latents decoded so far of one tile group, and the features made from them.

    `latents` int16 [C, h * w] in 1/16 step. Features grow as tiles are decoded; a tile's weights are for the rows that
    exist when its turn comes, so a shorter layout simply stops earlier. Luma never looks at chroma: a grey image and a
    colour image meet the same luma predictor.
    """

    def __init__(self, h: int, w: int, layout: Layout) -> None:
        self.h, self.w, self.layout = h, w, layout
        self.latents = np.zeros((layout.channels, h * w), np.int16)
        luma_tiles = sum(tile.component == 0 for tile in layout.tiles)
        chroma_rows = 2 * DC_ROWS + TILE_ROWS * (len(layout.tiles) - luma_tiles) if layout.components == 3 else 0
        self._activity = [
            np.empty((DC_ROWS + TILE_ROWS * luma_tiles, h * w), np.float32),
            np.empty((chroma_rows, h * w), np.float32),
        ]
        self._activity_rows = [0, 0]
        mean_rows = [LUMA_MEAN_ROWS, 8, 8][: layout.components]
        self._mean = [np.empty((rows, h * w), np.float32) for rows in mean_rows]
        self._mean_rows = [0] * layout.components
        odd = (np.add.outer(np.arange(h), np.arange(w)) & 1).reshape(-1).astype(bool)
        self.halves: tuple[Intp, Intp] = (np.flatnonzero(~odd), np.flatnonzero(odd))
        rows, columns = np.divmod(self.halves[1], w)
        centre = (rows + 1) * (w + 2) + columns + 1
        self._cross_of_odd = np.stack([centre + (y - 1) * (w + 2) + (x - 1) for y, x in _CROSS])

    def put(self, rows: NDArray[Any], half: int, values: NDArray[Any]) -> None:
        """Write the values [..., n] of the cells of a half into rows [..., h * w]: as slices, much faster than by their indices."""
        if self.w % 2:  # rows and columns together are as odd as the cell's number
            rows[..., half::2] = values
            return
        lines, own = rows.reshape(*rows.shape[:-1], self.h, self.w), values.reshape(*values.shape[:-1], self.h, self.w // 2)
        for row in (0, 1):
            lines[..., row::2, (row + half) % 2 :: 2] = own[..., row::2, :]

    def take(self, lines: NDArray[Any], half: int, out: NDArray[Any]) -> None:
        """The inverse of `put`: the cells of a half of lines [..., h, w], into out [..., n]."""
        if self.w % 2:
            out[:] = lines.reshape(*lines.shape[:-2], -1)[..., half::2]
            return
        own = out.reshape(*out.shape[:-1], self.h, self.w // 2)
        for row in (0, 1):
            own[..., row::2, :] = lines[..., row::2, (row + half) % 2 :: 2]

    def dc_done(self) -> None:
        """Make the features of the DC planes; call once when all are decoded."""
        for component in range(self.layout.components):
            plane = self.latents[component].reshape(self.h, self.w).astype(np.int32)
            padded = pad_edge(plane)
            around = np.stack([padded[y : y + self.h, x : x + self.w] - plane for y, x in _AROUND])  # [8, h, w]
            flat = around.reshape(8, -1)
            np.clip(flat, -MEAN_MAX, MEAN_MAX, out=self._mean[component][:8], casting="unsafe")
            self._mean_rows[component] = 8
            steep = np.abs(flat)
            for magnitude in (steep.sum(axis=0), 4 * (steep[3] + steep[4]), 4 * (steep[1] + steep[6])):
                self._add_activity(component, magnitude, LOGS)

    def _add_activity(self, component: int, magnitude: Int32, tables: tuple[Float32, Float32]) -> None:
        bank = min(component, 1)
        rows, places = self._activity[bank], magnitude.astype(np.intp)  # once for both tables
        for table in tables:
            np.take(table, places, out=rows[self._activity_rows[bank]], mode="clip")
            self._activity_rows[bank] += 1

    def activity(self, component: int) -> list[Float32]:
        """Scale features for the next tile: luma's rows so far, and for chroma the chroma rows too; float32 [rows, h * w]."""
        banks = self._activity[: min(component, 1) + 1]
        return [bank[:rows] for bank, rows in zip(banks, self._activity_rows, strict=False)]

    def mean_features(self, component: int) -> Float32:
        """Mean features for the next tile of a component, float32 [rows, h * w]."""
        return self._mean[component][: self._mean_rows[component]]

    def own_activity(self, magnitude: Int32) -> Float32:
        """Scale features of the odd cells from the even cells' magnitudes of the same tile, float32 [2, n odd]."""
        padded = pad_edge(magnitude.reshape(self.h, self.w)).reshape(-1)
        around = padded.take(self._cross_of_odd).sum(axis=0, dtype=np.int32)
        return np.stack([table.take(around) for table in _SUM_OF_4])

    def own_latents(self, channel: int) -> Float32:
        """Mean features of the odd cells from the even cells' latents of the same channel, float32 [4, n odd]."""
        padded = pad_edge(self.latents[channel].reshape(self.h, self.w)).reshape(-1)
        return np.clip(padded.take(self._cross_of_odd), -MEAN_MAX, MEAN_MAX).astype(np.float32)

    def tile_done(self, tile: Tile, magnitude: Int32) -> None:
        """Make the features of a tile; `magnitude` int32 [h * w] is its mean absolute residual in 1/128 step."""
        self._add_activity(tile.component, magnitude, LOGS)
        padded = pad_edge(magnitude.reshape(self.h, self.w))
        sides = padded[1:-1, :-2] + padded[1:-1, 2:]
        cross = (sides + padded[:-2, 1:-1] + padded[2:, 1:-1]).reshape(-1)
        self._add_activity(tile.component, cross, _SUM_OF_4)
        ends = padded[:, :-2] + padded[:, 2:]
        corners = (ends[:-2] + ends[2:]).reshape(-1)
        self._add_activity(tile.component, corners, _SUM_OF_4)
        if tile.component == 0 and self._mean_rows[0] < LUMA_MEAN_ROWS:
            self._add_mean_sources(tile)

    def _add_mean_sources(self, tile: Tile) -> None:
        for channel in range(tile.first, tile.first + tile.size):
            plane = np.clip(self.latents[channel], -MEAN_MAX, MEAN_MAX).reshape(self.h, self.w)
            padded = pad_edge(plane)
            row = self._mean_rows[0]
            for index, (y, x) in enumerate(((1, 1), *_CROSS)):
                self._mean[0][row + index] = padded[y : y + self.h, x : x + self.w].reshape(-1)
            self._mean_rows[0] = row + 5


def has_mean(tile: Tile, order_in_component: int) -> bool:
    """Whether a tile has a predicted mean; `order_in_component` counts the tiles of its component before it."""
    return order_in_component < (MEAN_TARGET_TILES if tile.component == 0 else CHROMA_MEAN_TILES)


@dataclass(frozen=True)
class Products:
    """What the latents before a tile say of both its halves: scores float32 [2, h * w], and products of means [2 T, h * w].

    `activity` (by bank) and `mean` are the rows of features that are in them.
    """

    scores: Float32
    means: Float32 | None
    activity: list[int]
    mean: int


def products(grid: Grid, tiles: Sequence[tuple[Tile, Predictor]]) -> list[Products]:
    """Of tiles to come, from the features that there are: these are read from memory once for all the tiles and both halves."""
    luma, *rest = grid.activity(grid.layout.components - 1)
    scores = np.concatenate([predictor.scale[:, : len(luma)] for _, predictor in tiles]) @ luma  # [2 tiles, h * w]
    weighted = [predictor.mean for tile, predictor in tiles if tile.component == 0 and predictor.mean is not None]
    rows = grid.mean_features(0)
    sums = np.concatenate([weights[:, : len(rows)] for weights in weighted]) @ rows if weighted else scores[:0]
    found, columns = [], len(luma)  # the columns of luma among a chroma tile's weights, when its turn comes
    for place, (tile, predictor) in enumerate(tiles):
        score, means, had = scores[2 * place : 2 * place + 2], None, [len(luma)]
        if tile.component:
            score += predictor.scale[:, columns : columns + len(rest[0])] @ rest[0]
            had.append(len(rest[0]))
        else:
            columns += TILE_ROWS
        if predictor.mean is not None and tile.component:
            means = predictor.mean @ grid.mean_features(tile.component)
        elif predictor.mean is not None:
            means, sums = np.split(sums, [2 * tile.size])
        found.append(Products(score, means, had, len(grid.mean_features(tile.component))))
    return found


def complete(grid: Grid, tile: Tile, predictor: Predictor, given: Products) -> None:
    """Add to a tile's products, in place, the features that have been made since."""
    column = 0
    for rows, had in zip(grid.activity(tile.component), given.activity, strict=True):
        if len(rows) > had:
            given.scores[:] += predictor.scale[:, column + had : column + len(rows)] @ rows[had:]
        column += len(rows)
    rows = grid.mean_features(tile.component)
    if given.means is not None and predictor.mean is not None and len(rows) > given.mean:
        given.means[:] += predictor.mean[:, given.mean :] @ rows[given.mean :]


def expect(
    grid: Grid, tile: Tile, predictor: Predictor, shared: Products, step: int, half: int, magnitude: Int32
) -> tuple[Int32, Float32]:
    """Means int32 [T, n] in 1/16 step and scores float32 [n] of the cells of one half (0 even, 1 odd).

    `magnitude` int32 [h * w] holds this tile's magnitudes of the even cells when the odd half is asked for.
    """
    cells = grid.halves[half]
    score = shared.scores[half].take(cells)
    score += np.float32(predictor.bias[half] @ np.array(step_features(step)))
    if half == 1:
        score += predictor.scale_own @ grid.own_activity(magnitude)
    if shared.means is None or predictor.mean_own is None:
        return np.zeros((tile.size, len(cells)), np.int32), score
    sums = shared.means[half * tile.size : (half + 1) * tile.size].take(cells, axis=1)
    if half == 1:
        for j in range(tile.size):
            sums[j] += predictor.mean_own[j] @ grid.own_latents(tile.first + j)
    return means_of(sums), score

"""The linear predictors' features: integers made from the latents decoded so far, kept in float32.

* Mean features are latents, or differences of DCs, in 1/16 step, clamped to +-MEAN_MAX.
* Scale features are integer logarithms (`log16`) of magnitudes in 1/128 step.

A tile is coded in two checkerboard halves: first the even cells, those with an even row + column, then the odd cells, which also
see the residuals and latents of their four neighbours in the same tile.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Bool, Float32, Int32, Int64, Intp
from vqcodec.transform.layouts import Layout, Tile

MEAN_MAX: Final = 4095
"""Mean features are clamped to +-MEAN_MAX sixteenths of a step."""
MAGNITUDE_MAX: Final = 8191
"""Largest magnitude, in 1/128 step: 64 steps."""
_FINE, _COARSE = 8, 64
"""Offsets of the two logarithms in magnitude units: 1/16 and 1/2 step."""
DC_ROWS: Final = 6
"""Scale features of the DCs of one component."""
TILE_ROWS: Final = 6
"""Scale features of one tile."""
MEAN_SOURCE_COEFS: Final = 15
"""Number of luma coefficients, in coding order, whose neighbourhoods predict the means of later tiles."""
LUMA_MEAN_ROWS: Final = 8 + 5 * MEAN_SOURCE_COEFS
"""Mean features of the last luma tiles: the 8 DCs around, then 5 for each source coefficient."""


def log16(values: Int64 | int) -> Int64:
    """Integer logarithm of integers >= 1: 16 * e + ((16 * x) >> e) - 16 with e = floor(log2 x); piecewise linear."""
    x = np.asarray(values, dtype=np.int64)
    exponent = np.frexp(x.astype(np.float64))[1].astype(np.int64) - 1
    return 16 * exponent + ((x << 4) >> exponent) - 16


class LogTables(NamedTuple):
    """Logarithms of magnitudes 0, 1, ..., float32, with the fine and the coarse offset."""

    fine: Float32
    coarse: Float32


_LOG16: Final = log16(np.arange(1, 4 * (MAGNITUDE_MAX + _COARSE) + 1))
"""Logarithms of 1, 2, ...: computed once for all tables, as this is part of the start-up time."""


def _log_table(size: int, offset: int) -> Float32:
    """log16(x + offset) - log16(offset) for x = 0..size - 1, float32."""
    return (_LOG16[offset - 1 : offset - 1 + size] - _LOG16[offset - 1]).astype(np.float32)


LOGS: Final = LogTables(_log_table(MAGNITUDE_MAX + 1, _FINE), _log_table(MAGNITUDE_MAX + 1, _COARSE))
_SUM_OF_4: Final = LogTables(_log_table(4 * MAGNITUDE_MAX + 1, 4 * _FINE), _log_table(4 * MAGNITUDE_MAX + 1, 4 * _COARSE))
"""Tables for sums of four magnitudes."""
SCALE_FEATURE_MAX: Final = int(max(table[-1] for table in LOGS + _SUM_OF_4))


@lru_cache
def step_features(step_64: int) -> tuple[int, int, int]:
    """Bias inputs for a quantiser step: 1, its logarithm (0 near 32 grey levels), and the logarithm's square."""
    level = int(log16(step_64)) - 176
    return 1, level, level * level >> 4


STEP_FEATURE_MAX: Final = (1, 176, 176 * 176 >> 4)
"""Largest magnitudes of `step_features`."""


def pad_edge(plane: Int32) -> Int32:
    """[h, w] to [h + 2, w + 2] with the edge cells repeated."""
    h, w = plane.shape
    padded = np.empty((h + 2, w + 2), plane.dtype)
    padded[1:-1, 1:-1] = plane
    padded[1:-1, 0], padded[1:-1, -1] = plane[:, 0], plane[:, -1]
    padded[0], padded[-1] = padded[1], padded[-2]
    return padded


_AROUND: Final = ((0, 0), (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1), (2, 2))
"""Rows and columns of a cell's 8 neighbours in a plane of `pad_edge`."""
_CROSS: Final = ((1, 0), (1, 2), (0, 1), (2, 1))
"""Rows and columns of the left, right, upper and lower neighbour."""


class Grid:
    """The latents of one tile group decoded so far, and the features made from them.

    `latents` int16 [C, h * w] in 1/16 step. Each decoded tile adds feature rows. A tile's weights cover the rows that exist when
    the tile is coded, so a layout with fewer tiles just stops earlier. Luma features never depend on chroma: grey and colour
    pictures share the luma predictors.

    Activity is kept in two banks, luma (0) and chroma (1); mean features are kept by component.
    """

    def __init__(self, h: int, w: int, layout: Layout, graphic: Bool | None = None) -> None:
        """`graphic` bool [h, w]: cells that are not coded here; None: none of them."""
        self.h, self.w, self.layout = h, w, layout
        self.graphic = None if graphic is None else graphic.reshape(-1)
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
        """Indices of the even cells and of the odd cells."""
        rows, columns = np.divmod(self.halves[1], w)
        centre = (rows + 1) * (w + 2) + columns + 1
        self._cross_of_odd = np.stack([centre + (y - 1) * (w + 2) + (x - 1) for y, x in _CROSS])

    def put(self, rows: NDArray[Any], half: int, values: NDArray[Any]) -> None:
        """Write the values [..., n] of the cells of a half into rows [..., h * w].

        Slices are much faster than indices.
        """
        if self.w % 2:  # the parity of row + column is that of the cell's index
            rows[..., half::2] = values
            return
        lines, own = rows.reshape(*rows.shape[:-1], self.h, self.w), values.reshape(*values.shape[:-1], self.h, self.w // 2)
        for row in (0, 1):
            lines[..., row::2, (row + half) % 2 :: 2] = own[..., row::2, :]

    def dc_done(self) -> None:
        """Add the features of the DC planes; to be called once, when all DCs are decoded."""
        for component in range(self.layout.components):
            plane = self.latents[component].reshape(self.h, self.w).astype(np.int32)
            padded = pad_edge(plane)
            around = np.stack([padded[y : y + self.h, x : x + self.w] - plane for y, x in _AROUND])  # int32 [8, h, w]
            flat = around.reshape(8, -1)
            np.clip(flat, -MEAN_MAX, MEAN_MAX, out=self._mean[component][:8], casting="unsafe")
            self._mean_rows[component] = 8
            steep = np.abs(flat)
            for magnitude in (steep.sum(axis=0), 4 * (steep[3] + steep[4]), 4 * (steep[1] + steep[6])):
                self._add_activity(component, magnitude, LOGS)

    def _add_activity(self, component: int, magnitude: Int32, tables: LogTables) -> None:
        """Add two rows of scale features, the logarithms of magnitudes int32 [h * w] from both tables."""
        bank = min(component, 1)
        rows, places = self._activity[bank], magnitude.astype(np.intp)  # converted once for both tables
        for table in tables:
            np.take(table, places, out=rows[self._activity_rows[bank]], mode="clip")
            self._activity_rows[bank] += 1

    def activity(self, component: int) -> list[Float32]:
        """Scale features for the next tile of a component, float32 [rows, h * w]: the luma bank, and for chroma the chroma bank."""
        banks = self._activity[: min(component, 1) + 1]
        return [bank[:rows] for bank, rows in zip(banks, self._activity_rows, strict=False)]

    def mean_features(self, component: int) -> Float32:
        """Mean features for the next tile of a component, float32 [rows, h * w]."""
        return self._mean[component][: self._mean_rows[component]]

    def own_activity(self, magnitude: Int32) -> Float32:
        """Scale features of the n odd cells from the even cells' magnitudes in the same tile, float32 [2, n]."""
        padded = pad_edge(magnitude.reshape(self.h, self.w)).reshape(-1)
        around = padded.take(self._cross_of_odd).sum(axis=0, dtype=np.int32)
        return np.stack([table.take(around) for table in _SUM_OF_4])

    def own_latents(self, channel: int) -> Float32:
        """Mean features of the n odd cells from the even cells' latents in the same channel, float32 [4, n]."""
        padded = pad_edge(self.latents[channel].reshape(self.h, self.w)).reshape(-1)
        return np.clip(padded.take(self._cross_of_odd), -MEAN_MAX, MEAN_MAX).astype(np.float32)

    def tile_done(self, tile: Tile, magnitude: Int32) -> None:
        """Add the features of a decoded tile; `magnitude` int32 [h * w] is its mean absolute residual in 1/128 step."""
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
        """Add each latent of a luma tile and its four neighbours to the mean features."""
        for channel in range(tile.first, tile.first + tile.size):
            plane = np.clip(self.latents[channel], -MEAN_MAX, MEAN_MAX).reshape(self.h, self.w)
            padded = pad_edge(plane)
            row = self._mean_rows[0]
            for index, (y, x) in enumerate(((1, 1), *_CROSS)):
                self._mean[0][row + index] = padded[y : y + self.h, x : x + self.w].reshape(-1)
            self._mean_rows[0] = row + 5

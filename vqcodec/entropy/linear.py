"""The linear predictor of a tile: a mean and a scale class for each cell before it is read, both exact integers.

Predictions are linear maps with integer weights of the integer features of features.py. BLAS multiplies them in float32. When a
model is loaded, `Predictor.check_bounds` proves that no sum leaves the 24 bits in which float32 is exact in any order of summation.

* mean = (W f + half) >> MEAN_SHIFT, with mean features f.
* class = clamp((W f + bias) >> SCALE_SHIFT, 0, 31), with scale features f. These are logarithms of magnitudes, so this is a gamma
  regression with a log link; train/predictors.py fits it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float32, Int32, Int64, UInt8
from vqcodec.entropy.features import MEAN_MAX, SCALE_FEATURE_MAX, STEP_FEATURE_MAX, TILE_ROWS, Grid, step_features
from vqcodec.errors import ModelError
from vqcodec.transform.layouts import Tile

LATENT_MAX: Final = 32767
"""Latents are clamped to +-LATENT_MAX sixteenths of a step."""
MEAN_SHIFT: Final = 10
SCALE_SHIFT: Final = 14
"""A score is in 1/2**SCALE_SHIFT of a class."""
CLASSES: Final = 32
NOT_CODED: Final = CLASSES
"""In place of a class: cells whose residuals are zero without a symbol, as those of graphic cells."""
CLASSES_PER_OCTAVE: Final = 3
CLASS_OF_ONE: Final = 18
"""Class whose lower edge is a mean magnitude of one step."""
FLOAT32_EXACT: Final = 1 << 24
"""Integers below this are exact in float32."""
MEAN_TARGET_TILES: Final = 13
"""Number of luma tiles, in coding order, that have a predicted mean; later ones have mean zero."""
CHROMA_MEAN_TILES: Final = 2
"""Number of tiles of each chroma component that have a predicted mean (from the 8 DCs around and, in odd cells, their own
neighbours)."""
_LATENT_BOUNDS: Final = np.int32(-LATENT_MAX), np.int32(LATENT_MAX)
"""Bounds of the array's own type: with these, `clip` takes a third of the time of np.minimum and np.maximum."""
_CLASS_BOUNDS: Final = np.float32(0), np.float32(CLASSES - 1)


@dataclass(frozen=True, eq=False)
class Predictor:
    """Integer weights of one tile, or of one kind of DC pass.

    `mean` float32 [2 * T, rows] holds the T rows of the even half, then those of the odd half; `mean_own` float32 [T, 4] are the
    odd half's weights of the left, right, upper and lower neighbour. Both are None where the mean is zero. `scale` float32 [2,
    rows], `scale_own` float32 [2] (odd half), `bias` int64 [2, 3] of `step_features`. A DC pass has no halves: T = 1, `mean` [1,
    rows], `scale` [1, rows], `bias` [1, 3].
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
                sums[len(sums) // 2 :] += np.abs(self.mean_own).sum(axis=1)  # the odd half's
            if not sums.max() * MEAN_MAX + (1 << MEAN_SHIFT) < FLOAT32_EXACT:
                raise ModelError(f"model: mean weights of {name} are too large to be exact")


def has_mean(tile: Tile, order_in_component: int) -> bool:
    """Whether a tile has a predicted mean; `order_in_component` is the number of earlier tiles of its component."""
    return order_in_component < (MEAN_TARGET_TILES if tile.component == 0 else CHROMA_MEAN_TILES)


def clamp_latents(values: Int32) -> Int32:
    """Clamp latents to +-LATENT_MAX, in place."""
    return values.clip(*_LATENT_BOUNDS, out=values)


def classes_of(score: Float32) -> UInt8:
    """Scale classes uint8 [n] for scores float32 [n], integers in 1/2**SCALE_SHIFT of a class (floor, clamped)."""
    return (score * np.float32(1.0 / (1 << SCALE_SHIFT))).clip(*_CLASS_BOUNDS).astype(np.uint8)


def means_of(products: Float32) -> Int32:
    """Means int32 in 1/16 step for sums of products float32, integers in 1/2**MEAN_SHIFT of that (rounded half up)."""
    products += np.float32(1 << (MEAN_SHIFT - 1))
    products *= np.float32(1.0 / (1 << MEAN_SHIFT))
    return np.floor(products, out=products).astype(np.int32)


@dataclass(frozen=True, eq=False)
class TileSums:
    """Weighted sums of a tile's features, for both halves: `scores` float32 [2, h * w], and `means` float32 [2 T, h * w] or None.

    `activity_rows` (by bank) and `mean_rows` are the numbers of feature rows that the sums include.
    """

    scores: Float32
    means: Float32 | None
    activity_rows: list[int]
    mean_rows: int


def sums_ahead(grid: Grid, tiles: Sequence[tuple[Tile, Predictor]]) -> list[TileSums]:
    """Sums for the next tiles, over the features known so far. One product serves all tiles and halves, so features are read from
    memory once."""
    luma, *chroma = grid.activity(grid.layout.components - 1)
    scores = np.concatenate([predictor.scale[:, : len(luma)] for _, predictor in tiles]) @ luma  # float32 [2 tiles, h * w]
    weighted = [predictor.mean for tile, predictor in tiles if tile.component == 0 and predictor.mean is not None]
    rows = grid.mean_features(0)
    sums = np.concatenate([weights[:, : len(rows)] for weights in weighted]) @ rows if weighted else scores[:0]
    found, columns = [], len(luma)  # a chroma tile's weights start with as many luma columns as there are when it is coded
    for place, (tile, predictor) in enumerate(tiles):
        score, means, included = scores[2 * place : 2 * place + 2], None, [len(luma)]
        if tile.component:
            score += predictor.scale[:, columns : columns + len(chroma[0])] @ chroma[0]
            included.append(len(chroma[0]))
        else:
            columns += TILE_ROWS
        if predictor.mean is not None and tile.component:
            means = predictor.mean @ grid.mean_features(tile.component)
        elif predictor.mean is not None:
            means, sums = np.split(sums, [2 * tile.size])
        found.append(TileSums(score, means, included, len(grid.mean_features(tile.component))))
    return found


def complete_sums(grid: Grid, tile: Tile, predictor: Predictor, sums: TileSums) -> None:
    """Add to a tile's sums, in place, the features that the grid has gained since `sums_ahead`."""
    column = 0
    for rows, included in zip(grid.activity(tile.component), sums.activity_rows, strict=True):
        if len(rows) > included:
            sums.scores[:] += predictor.scale[:, column + included : column + len(rows)] @ rows[included:]
        column += len(rows)
    rows = grid.mean_features(tile.component)
    if sums.means is not None and predictor.mean is not None and len(rows) > sums.mean_rows:
        sums.means[:] += predictor.mean[:, sums.mean_rows :] @ rows[sums.mean_rows :]


class Prediction(NamedTuple):
    """The prediction for n cells: means int32 [T, n] in 1/16 step, and scores float32 [n] in 1/2**SCALE_SHIFT of a class."""

    means: Int32
    score: Float32


def predict(grid: Grid, tile: Tile, predictor: Predictor, sums: TileSums, step_64: int, half: int, magnitude: Int32) -> Prediction:
    """The prediction for the cells of one half (0 even, 1 odd) of a tile, from its complete sums.

    For the odd half, `magnitude` int32 [h * w] holds the magnitudes of the tile's even cells.
    """
    cells = grid.halves[half]
    score = sums.scores[half].take(cells)
    score += np.float32(predictor.bias[half] @ np.array(step_features(step_64)))
    if half == 1:
        score += predictor.scale_own @ grid.own_activity(magnitude)
    if sums.means is None or predictor.mean_own is None:
        return Prediction(np.zeros((tile.size, len(cells)), np.int32), score)
    means = sums.means[half * tile.size : (half + 1) * tile.size].take(cells, axis=1)
    if half == 1:
        for j in range(tile.size):
            means[j] += predictor.mean_own[j] @ grid.own_latents(tile.first + j)
    return Prediction(means_of(means), score)

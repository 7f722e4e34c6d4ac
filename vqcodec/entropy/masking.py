"""Masking: codewords scaled by the visibility of errors (`--tune ssim`, the default).

Eyes notice an error less where a picture is busy, in high frequencies and in chroma, and more where it is flat. The codewords of a
cell's tiles are therefore scaled, by the activity of the cell's DCs, which are decoded first, and by frequency. The header stores
only a strength.

Perceptual encoders use a quantiser step per block (adaptive quantisation, by a power of the block's variance) and quantisation
matrices; SSIM divides errors by the local variance (Wang et al. 2004). The formulas are section 5.5 of the specification
(container.py). Latents stay in sixteenths of one step, so predictions from them need no change.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32, Int32, Int64, Intp
from vqcodec.entropy.codebooks import NATURAL_SIZE
from vqcodec.entropy.features import MEAN_MAX, log16
from vqcodec.transform.layouts import Tile

STRENGTHS: Final = 8
"""Number of strengths. 0 turns masking off; sizes grow with the power strength / 32 of the activity."""
_OCTAVE: Final = 16
"""Levels per octave of codeword sizes. Activity changes sizes by at most one octave either way."""
_FREQUENCY_LEVELS: Final = (0, -3, 0, 2, 4, 6, 7, 8)
"""Levels by the largest frequency f of a tile: sizes of about ((f + 1) / 3) ** 0.35."""
_CHROMA_LEVELS: Final = 4
_LARGEST: Final = 2 * _OCTAVE
_SIZES: Final = np.floor(NATURAL_SIZE * 2.0 ** (np.arange(-_LARGEST, _LARGEST + 1) / _OCTAVE) + 0.5).astype(np.int32)
_SCORE: Final = 2560
"""Score per level: two and a half classes per octave. Size alone would make it three, but a busy cell also has larger
coefficients."""
_UNSEEN: Final = 34560
"""Activity of noise and rounding, added to every cell's: 15 squared grey levels, in 1/2304."""
_TYPICAL: Final = 530000
"""Activity at which codewords keep their natural size: 230 squared grey levels, in 1/2304, the geometric mean of photos with
_UNSEEN added."""


class ScaledCells(NamedTuple):
    """Codeword sizes int32 [n] in 1/256, and changes of the scores, float32 [n]."""

    sizes: Int32
    score_change: Float32


@dataclass(frozen=True, eq=False)
class CodewordSizes:
    """Codeword sizes in a tile group: `levels` int64 [h * w] is each cell's level by its activity, in 1/16 octave."""

    levels: Int64

    def for_cells(self, tile: Tile, cells: Intp) -> ScaledCells:
        """Sizes and score changes of n cells of a tile."""
        levels = self.levels.take(cells)
        levels += _FREQUENCY_LEVELS[max(max(pair) for pair in tile.coefs)] + (_CHROMA_LEVELS if tile.component else 0)
        return ScaledCells(_SIZES.take(levels + _LARGEST), (-_SCORE * levels).astype(np.float32))


def codeword_sizes(dcs: NDArray[np.signedinteger[Any]], step_64: int, strength: int) -> CodewordSizes | None:
    """Codeword sizes of a tile group with luma DC latents [h, w]; None for strength 0."""
    if strength == 0:
        return None
    octaves_16 = log16(activity(dcs, step_64) + _UNSEEN) - log16(_TYPICAL)
    return CodewordSizes(((strength * octaves_16 + 16) >> 5).clip(-_OCTAVE, _OCTAVE))


def activity(dcs: NDArray[np.signedinteger[Any]], step_64: int) -> Int64:
    """Activity int64 [h * w] of cells with DC latents [h, w]: the mean squared difference between the means of adjacent cells,
    within 3x3 cells, in 1/2304 of a squared grey level. Edge cells are repeated."""
    padded = np.pad(dcs.astype(np.int64), 2, mode="edge")
    across, down = (np.diff(padded, axis=axis).clip(-MEAN_MAX, MEAN_MAX) ** 2 for axis in (1, 0))
    squares = across[1:-1, :-1] + across[1:-1, 1:] + down[:-1, 1:-1] + down[1:, 1:-1]  # int64 [h + 2, w + 2]
    for axis in (0, 1):
        squares = sum(np.take(squares, range(i, squares.shape[axis] - 2 + i), axis) for i in range(3))
    found: Int64 = squares.reshape(-1) * step_64**2 >> 20
    return found

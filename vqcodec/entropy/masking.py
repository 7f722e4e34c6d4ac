"""Masking: eyes see less of an error where a picture is busy, more where it is quiet, and less of fine waves and of chroma. So
words of a cell's tiles are larger or smaller, by what its DCs, which come first, say of it, and by frequency: nothing is written
for that but a strength in the header.

Encoders that have the viewer in mind have steps of their own for blocks ("adaptive quantisation", by a power of a block's variance)
and matrices of steps; SSIM divides errors by the variance around (Wang et al. 2004). The formulas are section 5.5 of the
specification (container.py). Latents stay in sixteenths of the one step, so all that is predicted from them is as it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32, Int32, Int64, Intp
from vqcodec.entropy.codebooks import NATURAL
from vqcodec.entropy.linear import MEAN_MAX, log16
from vqcodec.transform.layouts import Tile

STRENGTHS: Final = 8
"""0 is none; sizes grow with the power strength / 32 of the activity."""
_OCTAVE: Final = 16
"""Levels to an octave of sizes; activities make them one at most larger and one smaller."""
_OF_FREQUENCY: Final = (0, -3, 0, 2, 4, 6, 7, 8)
"""Levels by the largest frequency f of a tile: sizes of about ((f + 1) / 3) ** 0.35."""
_OF_CHROMA: Final = 4
_LARGEST: Final = 2 * _OCTAVE
_SIZES: Final = np.floor(NATURAL * 2.0 ** (np.arange(-_LARGEST, _LARGEST + 1) / _OCTAVE) + 0.5).astype(np.int32)
_SCORE: Final = 2560
"""Of a level: two and a half classes to an octave. Three would be those of words; but where a cell is busy, so are its waves."""
_UNSEEN: Final = 34560
_TYPICAL: Final = 530000
"""Activities in 1/2304 of a squared grey level: 15, of noise and rounding, that are added to all, and 230, the geometric mean of
photos with that, where words have their natural size."""


@dataclass(frozen=True)
class Mask:
    """Of every cell the level int64 [h * w] that its activity gives it."""

    levels: Int64

    def words(self, tile: Tile, cells: Intp) -> tuple[Int32, Float32]:
        """For n cells of a tile: sizes int32 [n] of words, in 1/256 of their natural one; and what is added to the scores that
        classes are made from, float32 [n]."""
        levels = self.levels.take(cells)
        levels += _OF_FREQUENCY[max(max(pair) for pair in tile.coefs)] + (_OF_CHROMA if tile.component else 0)
        return _SIZES.take(levels + _LARGEST), (-_SCORE * levels).astype(np.float32)


def mask_of(dcs: NDArray[np.signedinteger[Any]], step: int, strength: int) -> Mask | None:
    """The mask of a tile group with the DC latents [h, w] of luma; `step` is in 1/64 of a grey level. None without strength."""
    if strength == 0:
        return None
    octaves = log16(activity(dcs, step) + _UNSEEN) - log16(_TYPICAL)  # sixteenths of them
    return Mask(((strength * octaves + 16) >> 5).clip(-_OCTAVE, _OCTAVE))


def activity(dcs: NDArray[np.signedinteger[Any]], step: int) -> Int64:
    """How much the means of cells differ from those beside, within 3x3 cells: mean squares int64 [h * w], in 1/2304 of a squared
    grey level, for DC latents [h, w]; edge cells are repeated."""
    padded = np.pad(dcs.astype(np.int64), 2, mode="edge")
    across, down = (np.diff(padded, axis=axis).clip(-MEAN_MAX, MEAN_MAX) ** 2 for axis in (1, 0))
    squares = across[1:-1, :-1] + across[1:-1, 1:] + down[:-1, 1:-1] + down[1:, 1:-1]  # [h + 2, w + 2]
    for axis in (0, 1):
        squares = sum(np.take(squares, range(i, squares.shape[axis] - 2 + i), axis) for i in range(3))
    found: Int64 = squares.reshape(-1) * step**2 >> 20
    return found

"""Colour: 8-bit RGB <-> three planes, by a 3x3 integer matrix that belongs to the model.

The matrix S is the *synthesis*: [R, G, B] - 128 = S @ planes, integers in 1/2**COLOR_SHIFT. Its inverse is only ever used
by the encoder, in floating point. `OPPONENT` has orthogonal columns, so that white noise of the quantiser stays white in
RGB; at equal RGB error it needs 4-5 % fewer bits than YCbCr, whose columns are not orthogonal (docs/decisions.md). Each
column has the length of YCbCr's luma column, sqrt(3), so a step means the same as there.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Float64, Int32

COLOR_SHIFT: Final = 13
COLOR_LIMIT: Final = 4 << COLOR_SHIFT
"""Bound on the sum of |S| over a row: a model beyond it is refused (accumulator bound of dct.py)."""

_COLUMNS = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])


def synthesis_from_directions(directions: Float64) -> Int32:
    """The integer synthesis matrix whose columns are the three rows of `directions`, each scaled to length sqrt(3)."""
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return np.rint(unit.T * np.sqrt(3.0) * (1 << COLOR_SHIFT)).astype(np.int32)  # int32 [3 rgb, 3 planes]


OPPONENT: Final = synthesis_from_directions(_COLUMNS)
"""The default: grey, red-blue, green-magenta."""


def analysis_matrix(synthesis: Int32) -> Float64:
    """Inverse of the synthesis matrix, float64 [3 planes, 3 rgb]; encoder only."""
    return np.linalg.inv(synthesis.astype(np.float64) / (1 << COLOR_SHIFT)).astype(np.float64)

"""Colour: 8-bit RGB <-> three planes, by a 3x3 integer matrix that belongs to the model.

The colour matrix S maps planes to pixels: [R, G, B] - 128 = S @ planes, integers in 1/2**COLOR_SHIFT. Only encoders use its
inverse, in floating point. `OPPONENT` has orthogonal columns, so white quantisation noise stays white in RGB; at equal RGB
error it needs 4-5 % fewer bits than YCbCr, whose columns are not orthogonal (docs/experiments). Each column has the length
of YCbCr's luma column, sqrt(3), so a quantiser step means the same as there.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Float64, Int32

COLOR_SHIFT: Final = 13
COLOR_LIMIT: Final = 4 << COLOR_SHIFT
"""Largest allowed sum of |S| over a row, from the accumulator bound of dct.py; a model above it is refused."""

_COLUMNS = np.array([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]])


def color_matrix_of(directions: Float64) -> Int32:
    """The integer colour matrix whose columns are the three rows of `directions`, each scaled to length sqrt(3)."""
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    return np.rint(unit.T * np.sqrt(3.0) * (1 << COLOR_SHIFT)).astype(np.int32)  # int32 [3 rgb, 3 planes]


OPPONENT: Final = color_matrix_of(_COLUMNS)
"""The default colour matrix; its planes are grey, red-blue and green-magenta."""


def inverse_color_matrix(color_matrix: Int32) -> Float64:
    """The inverse of a colour matrix, float64 [3 planes, 3 rgb]."""
    return np.linalg.inv(color_matrix.astype(np.float64) / (1 << COLOR_SHIFT)).astype(np.float64)

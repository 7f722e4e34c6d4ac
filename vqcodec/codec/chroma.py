"""The choice between COLOR_4X4 and COLOR_8X8: whether coding the high frequencies of chroma pays.

Most photographs have hardly any chroma outside the low 4x4 coefficients. Coloured lettering, thin lines and patterns have most of
their chroma there. A picture gets the larger layout at the coarsest step at which it pays and at all finer ones, so that file size
and quality both grow when the step gets finer.

Coding the high chroma coefficients x (in steps) of one cell saves about

    g = sum over |x| > DEAD_ZONE of  x^2 - 1/12 - LAMBDA * (6 + 2 log2 |x|)              squared steps

Coefficients inside the dead zone are coded as zero. As measured on photographs, screenshots and lettering (docs/experiments),
the larger layout pays for the whole picture if

    sum of max(g - STRONG, 0)  +  WEAK * sum of min(g, STRONG)  >  OVERHEAD

where both sums are over all cells. WEAK is negative if a synthesis follows the decode: it predicts the chroma of weak cells, so
coding it costs more than it saves.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Bool, Float32, Float64

_DEAD_ZONE: Final = 1.2
"""Magnitude in steps below which a coefficient is coded as zero."""
_LAMBDA: Final = 0.13
"""Squared steps per bit."""
_STRONG: Final = 4.0
"""Saving of a cell, in squared steps, above which it counts fully."""
_WEAK: Final = 0.3
_WEAK_RESTORED: Final = -0.8
"""Weights of the savings up to `_STRONG`, without and with a synthesis after the decode."""
_OVERHEAD: Final = 40.0
"""Cost of the additional streams, in squared steps, whatever they hold: about 40 bytes."""


def estimate_gain(high: Float32, steps_levels: Float64) -> Float64:
    """The two sums over cells of the module's docstring, of strong and weak gains, for S steps (grey levels): float64 [S, 2].

    `high` float32 [K, cells] holds the high chroma coefficients in grey levels.
    """
    cells = np.flatnonzero(np.abs(high).max(axis=0) > _DEAD_ZONE * steps_levels.min())
    size = np.abs(high.take(cells, axis=1))  # float32 [K, n]
    gains = np.zeros((len(steps_levels), 2))
    for gain, step_levels in zip(gains, steps_levels, strict=True):
        coefficient, cell = np.nonzero(size > _DEAD_ZONE * step_levels)
        x = size[coefficient, cell] / step_levels
        saved = np.bincount(cell, x * x - 1 / 12 - _LAMBDA * (6 + 2 * np.log2(x)))  # float64 [n]
        gain[:] = np.maximum(saved - _STRONG, 0).sum(), np.minimum(saved, _STRONG).sum()
    return gains


def worth_coding(gains: Float64, restored: Bool) -> Bool:
    """Whether coding high chroma pays at each step, bool [S], for the `estimate_gain` float64 [S, 2] of the whole picture.

    `restored` bool [S] says at which steps a synthesis follows the decode.
    """
    return gains[:, 0] + np.where(restored, _WEAK_RESTORED, _WEAK) * gains[:, 1] > _OVERHEAD

"""Whether coding chroma's high frequencies pays: the choice between the layouts COLOR_4X4 and COLOR_8X8.

Most photographs have hardly any chroma beyond the low 4x4 coefficients. Coloured lettering, thin lines and patterns have most of
it there. A picture gets the larger layout at every step from the coarsest one on at which it pays, so that bytes and quality
grow together when the step becomes finer.

For a cell whose high chroma coefficients are x steps large, coding them saves about

    g = sum over |x| > DEAD_ZONE of  x^2 - 1/12 - LAMBDA * (6 + 2 log2 |x|)              squared steps

where a coefficient below the dead zone is coded as zero. Measured on photographs, screenshots and lettering
(docs/experiments), the whole picture gains where

    sum max(g - STRONG, 0)  +  WEAK * sum min(g, STRONG)  >  OVERHEAD

WEAK is negative where a synthesis is behind the decode: it predicts the chroma of weak cells, so they cost more than they gain.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Bool, Float32, Float64

_DEAD_ZONE: Final = 1.2
"""Steps below which a coefficient is coded as zero."""
_LAMBDA: Final = 0.13
"""Squared steps per bit."""
_STRONG: Final = 4.0
"""Squared steps that a cell saves before it counts as gain."""
_WEAK: Final = 0.3
_WEAK_RESTORED: Final = -0.8
"""How much of its saving a weak cell counts: without and with a synthesis behind the decode."""
_OVERHEAD: Final = 40.0
"""Squared steps that streams of their own cost, whatever is in them: about 40 bytes."""


def gain(high: Float32, steps: Float64) -> Float64:
    """Strong and weak gain [S, 2], in squared steps, of coding coefficients float32 [K, cells] at each of S steps (grey levels)."""
    places = np.flatnonzero(np.abs(high).max(axis=0) > _DEAD_ZONE * steps.min())
    size = np.abs(high.take(places, axis=1))  # float32 [K, n]
    found = np.zeros((len(steps), 2))
    for row, step in zip(found, steps, strict=True):
        coefficient, cell = np.nonzero(size > _DEAD_ZONE * step)
        x = size[coefficient, cell] / step
        saved = np.bincount(cell, x * x - 1 / 12 - _LAMBDA * (6 + 2 * np.log2(x)))  # float64 [n]
        row[:] = np.maximum(saved - _STRONG, 0).sum(), np.minimum(saved, _STRONG).sum()
    return found


def pays(gains: Float64, restored: Bool) -> Bool:
    """Whether coding high chroma makes the picture better for its bytes, bool [S], by its `gain` float64 [S, 2] at each step.

    `restored` bool [S]: there is a synthesis behind the decode at that step.
    """
    return gains[:, 0] + np.where(restored, _WEAK_RESTORED, _WEAK) * gains[:, 1] > _OVERHEAD

"""Plain white, black and saturated colours: decoders clip samples, so an encoder may aim beyond the range at no cost.

A plain block at the end of the range is coded to within a fraction of a step, and every error towards the inside is seen as a faint
pattern on white. With its DC aimed beyond the end, what is decoded is clipped to exactly the plain value.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int32, Pixels
from vqcodec.transform.color import inverse_color_matrix
from vqcodec.transform.dct import to_blocks

_BEYOND: Final = 2.0
"""Steps by which the mean of a plain block is aimed beyond the range, in units of the DC: enough to clip the basis functions that a
predictor expects beside an edge, too. With 1.0 a twentieth of the plain pixels were off; with 3.0 files grow."""


def beyond(pixels: Pixels, color_matrix: Int32, depth: int = 8) -> Float32:
    """Offsets of the DCs of pixels [H, W, components], in steps: float32 [components, h * w], 0 where a block is not plain."""
    blocks = to_blocks(pixels)  # [h, 8, w, 8, components]
    lines = blocks.reshape(len(blocks), blocks.shape[1], -1)  # whole lines first: many times as fast as blocks at once
    least, most = (
        found.reshape(-1, *blocks.shape[2:]) for found in (lines.min(axis=1), lines.max(axis=1))
    )  # [h, w, 8, components]
    highest, lowest = least.min(axis=2) == (1 << depth) - 1, most.max(axis=2) == 0  # bool [h, w, components]
    ends = (highest.astype(np.float32) - lowest).reshape(-1, pixels.shape[2])  # float32 [h * w, components]
    if pixels.shape[2] == 1:
        return _BEYOND * ends.T
    return (_BEYOND * ends @ inverse_color_matrix(color_matrix).T).T.astype(np.float32)

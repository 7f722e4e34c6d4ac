"""Overshoot for plain white, black and saturated blocks: decoders clip samples, so aiming beyond the range costs nothing.

A plain block at the end of the range is coded with an error of a fraction of a step, and every error towards the inside shows as a
faint pattern on white. If its DC is aimed beyond the end, the decoder clips the block to exactly the plain value.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int32, Pixels
from vqcodec.transform.color import inverse_color_matrix
from vqcodec.transform.dct import to_blocks

_OVERSHOOT_STEPS: Final = 2.0
"""Overshoot of a plain block's DC. It also covers the frequencies that a predictor expects next to an edge. With 1.0 one in twenty
plain pixels was not exact; with 3.0 files grow."""


def overshoot(pixels: Pixels, color_matrix: Int32, depth: int = 8) -> Float32:
    """Offsets of the DCs, float32 [components, h * w] in steps, for pixels [H, W, components]; 0 for blocks that are not plain."""
    blocks = to_blocks(pixels)  # [h, 8, w, 8, components]
    lines = blocks.reshape(len(blocks), blocks.shape[1], -1)  # whole lines first: many times faster than single blocks
    minima, maxima = (
        extrema.reshape(-1, *blocks.shape[2:]) for extrema in (lines.min(axis=1), lines.max(axis=1))
    )  # [h, w, 8, components]
    white, black = minima.min(axis=2) == (1 << depth) - 1, maxima.max(axis=2) == 0  # bool [h, w, components]
    ends = (white.astype(np.float32) - black).reshape(-1, pixels.shape[2])  # float32 [h * w, components]
    if pixels.shape[2] == 1:
        return _OVERSHOOT_STEPS * ends.T
    return (_OVERSHOOT_STEPS * ends @ inverse_color_matrix(color_matrix).T).T.astype(np.float32)

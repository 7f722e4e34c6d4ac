"""Colours under transparent pixels: nobody sees them, so the encoder replaces them by what costs least.

Push-pull interpolation (Gortler et al., The Lumigraph, 1996, section 3.4): means of visible pixels at ever smaller sizes; then
each size fills the holes of the next larger one. The result is smooth, and meets visible colours at their edges.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Bool, Float32, Intp, Pixels

_SMOOTHINGS: Final = 2
"""Times that filled pixels become the mean of their neighbours, at each size but the full one."""
_ROWS: Final = 256
"""Rows of the full size that are filled at once: memory does not grow with the picture."""


def filled(picture: Pixels, visible: Bool) -> Pixels:
    """The picture [H, W, components] with smooth colours where `visible` bool [H, W] is false; black where nothing is visible."""
    if visible.all():
        return picture
    if not visible.any():
        return np.zeros_like(picture)
    small = _without_holes(*_halved(picture, visible))
    out = picture.copy()
    for top in range(0, len(picture), _ROWS):
        rows = slice(top, top + _ROWS)
        hidden = ~visible[rows]
        out[rows][hidden] = np.rint(_enlarged(small, top, *hidden.shape)[hidden]).astype(picture.dtype)
    return out


def _without_holes(sums: Float32, weights: Float32) -> Float32:
    """Means float32 [h, w, components] of sums of `weights` float32 [h, w] pixels; where there are none, from smaller sizes."""
    means: Float32 = np.divide(sums, np.maximum(weights, 1)[:, :, None], dtype=np.float32)
    holes = weights == 0
    if not holes.any():
        return means
    means[holes] = _enlarged(_without_holes(*_halved(means, ~holes)), 0, *holes.shape)[holes]
    for _ in range(_SMOOTHINGS):
        means[holes] = _neighbours(means)[holes]
    return means


def _halved(picture: Pixels | Float32, visible: Bool) -> tuple[Float32, Float32]:
    """Sums float32 [h, w, components] and numbers float32 [h, w] of the visible pixels in squares of two by two."""
    height, width, components = picture.shape
    h, w = -(-height // 2), -(-width // 2)
    sums, weights = np.zeros((h, w, components), np.float32), np.zeros((h, w), np.float32)
    for y in (0, 1):
        for x in (0, 1):
            part, seen = picture[y::2, x::2], visible[y::2, x::2]
            rows, columns = seen.shape
            sums[:rows, :columns] += part * seen[:, :, None]
            weights[:rows, :columns] += seen
    return sums, weights


def _enlarged(small: Float32, top: int, rows: int, columns: int) -> Float32:
    """`rows` from row `top` on, and `columns`, of `small` [h, w, components] at twice its size, bilinear."""
    (up, down, share), (left, right, across) = _places(top, rows, len(small)), _places(0, columns, small.shape[1])
    lines = small[up] * (np.float32(1) - share)[:, None, None] + small[down] * share[:, None, None]  # float32 [rows, w, components]
    found: Float32 = lines[:, left] * (np.float32(1) - across)[:, None] + lines[:, right] * across[:, None]
    return found


def _places(first: int, count: int, size: int) -> tuple[Intp, Intp, Float32]:
    """For pixels from `first` on of twice the size: their neighbours on either side in the small one, and the second's share."""
    centre = np.clip((np.arange(first, first + count) + 0.5) / 2 - 0.5, 0, size - 1)
    below = np.floor(centre).astype(np.intp)
    return below, np.minimum(below + 1, size - 1), (centre - below).astype(np.float32)


def _neighbours(picture: Float32) -> Float32:
    """The mean of the four pixels beside each, edges replicated."""
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    mean: Float32 = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) * np.float32(0.25)
    return mean

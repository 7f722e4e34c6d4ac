"""Colours of fully transparent pixels: they are invisible, so the encoder replaces them with colours that cost few bytes.

Push-pull interpolation (Gortler et al., The Lumigraph, 1996, section 3.4): the push averages visible pixels at ever smaller sizes;
the pull fills the holes of each size from the next smaller one. The result is smooth and meets the visible colours at their edges.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Bool, Float32, Intp, Pixels

_SMOOTHINGS: Final = 2
"""Times that filled pixels are replaced by the mean of their neighbours, at each size except the full one."""
_ROWS: Final = 256
"""Full-size rows that are filled at once. It keeps memory independent of the picture's height."""


def fill_hidden(picture: Pixels, visible: Bool) -> Pixels:
    """The picture [H, W, components] with smooth colours where `visible` bool [H, W] is false; black if nothing is visible."""
    if visible.all():
        return picture
    if not visible.any():
        return np.zeros_like(picture)
    small = _fill_holes(*_halve(picture, visible))
    out = picture.copy()
    for top in range(0, len(picture), _ROWS):
        rows = slice(top, top + _ROWS)
        hidden = ~visible[rows]
        out[rows][hidden] = np.rint(_enlarge(small, top, *hidden.shape)[hidden]).astype(picture.dtype)
    return out


def _fill_holes(sums: Float32, counts: Float32) -> Float32:
    """Means float32 [h, w, components] for sums over `counts` float32 [h, w] pixels; interpolated where the count is 0."""
    means: Float32 = np.divide(sums, np.maximum(counts, 1)[:, :, None], dtype=np.float32)
    holes = counts == 0
    if not holes.any():
        return means
    means[holes] = _enlarge(_fill_holes(*_halve(means, ~holes)), 0, *holes.shape)[holes]
    for _ in range(_SMOOTHINGS):
        means[holes] = _neighbour_mean(means)[holes]
    return means


class _Halved(NamedTuple):
    sums: Float32
    """[h, w, components]"""
    counts: Float32
    """[h, w]"""


def _halve(picture: Pixels | Float32, visible: Bool) -> _Halved:
    """Sums and counts of the visible pixels in squares of 2x2."""
    height, width, components = picture.shape
    h, w = -(-height // 2), -(-width // 2)
    sums, counts = np.zeros((h, w, components), np.float32), np.zeros((h, w), np.float32)
    for y in (0, 1):
        for x in (0, 1):
            part, seen = picture[y::2, x::2], visible[y::2, x::2]
            rows, columns = seen.shape
            sums[:rows, :columns] += part * seen[:, :, None]
            counts[:rows, :columns] += seen
    return _Halved(sums, counts)


def _enlarge(small: Float32, top: int, rows: int, columns: int) -> Float32:
    """`small` [h, w, components] at twice its size, bilinear: `rows` rows from row `top` on, and the first `columns` columns."""
    y, x = _taps(top, rows, len(small)), _taps(0, columns, small.shape[1])
    down, right = y.share[:, None, None], x.share[:, None]
    lines = small[y.first] * (np.float32(1) - down) + small[y.second] * down  # float32 [rows, w, components]
    enlarged: Float32 = lines[:, x.first] * (np.float32(1) - right) + lines[:, x.second] * right
    return enlarged


class _Taps(NamedTuple):
    """Linear interpolation along one axis: two samples for each pixel, and the share of the second."""

    first: Intp
    second: Intp
    share: Float32


def _taps(first: int, count: int, size: int) -> _Taps:
    """Taps of `count` pixels from `first` on, at twice the resolution of `size` samples."""
    centre = np.clip((np.arange(first, first + count) + 0.5) / 2 - 0.5, 0, size - 1)
    below = np.floor(centre).astype(np.intp)
    return _Taps(below, np.minimum(below + 1, size - 1), (centre - below).astype(np.float32))


def _neighbour_mean(picture: Float32) -> Float32:
    """The mean of the four neighbours of each pixel; edge pixels are replicated."""
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    mean: Float32 = (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]) * np.float32(0.25)
    return mean

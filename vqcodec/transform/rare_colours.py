"""Prediction of the pixels whose colours are not in the palette. All other pixels are known before these.

With x = 0 outside the picture and outside the graphic cells, the prediction p of a sample x(y, x) is

    0  NONE      0
    1  ABOVE     x(y-1, x)
    2  LEFT      x(y, x-1)
    3  GRADIENT  x(y-1, x) + x(y, x-1) - x(y-1, x-1)
    4  PAETH     the one of x(y, x-1), x(y-1, x) and x(y-1, x-1) that is nearest to GRADIENT's p, not taken modulo anything; of
                 equally near ones the first (PNG specification, section 9.4)

and its difference x - p is taken modulo 2**8 or 2**16. With ABOVE, LEFT and GRADIENT, the difference of the second component is
then subtracted from those of the first and third one, if there are three components or more ("subtract green" of lossless WebP).
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from vqcodec.arrays import Int32, Int64, Intp, Pixels


class Predictor(IntEnum):
    """Neighbours that predict a rare pixel."""

    NONE = 0
    ABOVE = 1
    LEFT = 2
    GRADIENT = 3
    PAETH = 4


def differences(pixels: Pixels, places: Intp, predictor: Predictor) -> Pixels:
    """Differences [n, C] at `places` int [n] (y * W + x) of pixels [H, W, C]; the inverse of `fill`."""
    _, width, components = pixels.shape
    flat = pixels.reshape(-1, components)
    found = flat[places]
    if predictor == Predictor.NONE:
        return found
    if predictor == Predictor.PAETH:
        return found - _paeth(flat, places, width)
    if predictor in (Predictor.ABOVE, Predictor.GRADIENT):
        found -= _above(flat, places, width)
    if predictor in (Predictor.LEFT, Predictor.GRADIENT):
        found -= _left(flat, places, width)
    if predictor == Predictor.GRADIENT:
        found += _corner(flat, places, width)
    if components >= 3:
        found[:, [0, 2]] -= found[:, [1]]
    return found


def fill(pixels: Pixels, places: Intp, found: Pixels, predictor: Predictor) -> None:
    """Write the samples at `places` into pixels [H, W, C], in which all other pixels are known; the inverse of `differences`."""
    components = pixels.shape[2]
    flat = pixels.reshape(-1, components)
    if predictor == Predictor.NONE:
        flat[places] = found
        return
    if predictor == Predictor.PAETH:
        _add_paeth(flat, places, found, pixels.shape[1])
        return
    if components >= 3:
        found = found.copy()
        found[:, [0, 2]] += found[:, [1]]
    order = np.argsort(places, kind="stable")
    places, found = places[order], found[order]
    if predictor == Predictor.ABOVE:
        _add_rows_above(flat, places, found, pixels.shape[1])
    elif predictor == Predictor.LEFT:
        starts, run = _runs(places, pixels.shape[1])
        sums = _sums_of_runs(found, starts, run)
        flat[places] = sums + _left(flat, places[starts], pixels.shape[1])[run]
    else:
        _add_gradients(flat, places, found, pixels.shape[1])


def _runs(places: Intp, width: int) -> tuple[Intp, Intp]:
    """Runs of neighbours in a row: the first member of each run, and the run of each place int [n]."""
    first = np.ones(len(places), np.bool_)
    first[1:] = (np.diff(places) != 1) | (places[1:] % width == 0)
    return np.flatnonzero(first), np.cumsum(first) - 1


def _sums_of_runs(found: Pixels, starts: Intp, run: Intp) -> Pixels:
    """Sums [n, C] of the differences from the start of each run on."""
    sums = np.zeros((len(found) + 1, found.shape[1]), found.dtype)
    np.cumsum(found, axis=0, dtype=found.dtype, out=sums[1:])
    return sums[1:] - sums[starts][run]


def _left(flat: Pixels, places: Intp, width: int) -> Pixels:
    """The samples [n, C] to the left of places; 0 outside the picture."""
    found = flat[places - 1]  # the place -1 exists and is overwritten with 0
    found[places % width == 0] = 0
    return found


def _above(flat: Pixels, places: Intp, width: int) -> Pixels:
    """The samples [n, C] above places; 0 outside the picture."""
    found = flat[np.maximum(places - width, 0)]
    found[places < width] = 0
    return found


def _corner(flat: Pixels, places: Intp, width: int) -> Pixels:
    """The samples [n, C] above and to the left of places; 0 outside the picture."""
    found = flat[np.maximum(places - width - 1, 0)]
    found[(places < width) | (places % width == 0)] = 0
    return found


def _paeth(flat: Pixels, places: Intp, width: int) -> Pixels:
    """The predictions [n, C] of PAETH at places."""
    left, above, corner = (find(flat, places, width).astype(np.int32) for find in (_left, _above, _corner))
    from_left, from_above, from_corner = np.abs(above - corner), np.abs(left - corner), np.abs(left + above - 2 * corner)
    others = np.where(from_above <= from_corner, above, corner)
    found: Int32 = np.where(from_left <= np.minimum(from_above, from_corner), left, others)
    return found.astype(flat.dtype)


def _row_bounds(places: Intp, width: int) -> tuple[Intp, Int64]:
    """Rows with places, rising, and the index of the first place of each; one more index stands at the end."""
    rows, starts = np.unique(places // width, return_index=True)
    return rows, np.append(starts, len(places))


def _add_rows_above(flat: Pixels, places: Intp, found: Pixels, width: int) -> None:
    rows, bounds = _row_bounds(places, width)
    for row, start, end in zip(rows, bounds[:-1], bounds[1:], strict=True):
        own = places[start:end]
        flat[own] = found[start:end] + flat[own - width] if row else found[start:end]


def _add_gradients(flat: Pixels, places: Intp, found: Pixels, width: int) -> None:
    starts, run = _runs(places, width)
    heads = places[starts]
    values = _sums_of_runs(found, starts, run) + _left(flat, heads, width)[run]
    inside = (heads % width != 0).astype(found.dtype)[:, None]
    rows, bounds = _row_bounds(places, width)
    for row, start, end in zip(rows, bounds[:-1], bounds[1:], strict=True):
        own, part = places[start:end], values[start:end]
        if row:
            first, last = run[start], run[end - 1] + 1
            corners = flat[heads[first:last] - width - 1] * inside[first:last]
            part = part + flat[own - width] - corners[run[start:end] - first]
        flat[own] = part


def _add_paeth(flat: Pixels, places: Intp, found: Pixels, width: int) -> None:
    """Fill in places along diagonals y + x = constant: none of their pixels predicts another of them."""
    diagonals = places // width + places % width
    order = np.argsort(diagonals, kind="stable")
    places, found = places[order], found[order]
    starts = np.flatnonzero(np.diff(diagonals[order])) + 1
    for own, part in zip(np.split(places, starts), np.split(found, starts), strict=True):
        flat[own] = part + _paeth(flat, own, width)

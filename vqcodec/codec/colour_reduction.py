"""Fewer colours for graphics: entropy-constrained vector quantisation of a picture's colours (Chou, Lookabaugh, Gray 1989).

Each colour is replaced by the codeword of least |x - c|^2 * weight + lambda * bits, and codewords move to the centroids of their
colours. The commonest colours, those of areas and of letters, stay exact; the shades of smooth edges are merged. Errors in smooth
areas weigh more, since they are seen as contours. The format does not know of this: the encoder codes the changed picture.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Bool, Float64, Intp, Pixels, UInt64
from vqcodec.transform.palette import bands, colour_keys, colours_of_keys

_MOST_COLOURS: Final = 1 << 14
"""Most colours that are changed, the commonest ones. Others stay."""
_LEAST_COVERED: Final = 0.5
"""Share of pixels that have these colours; a picture with less is no graphic."""
_MOST_CODEWORDS: Final = 1 << 10
_FIRST_BINS: Final = 3
"""Codewords at the start: the heaviest colour in each bin, a cube whose side is the quantiser step over this number, or less for
colours of smooth areas."""
_ROUNDS: Final = 6
_SMOOTH_WEIGHT: Final = 16.0
"""Weight of an error in a flat area; it falls to 1 where neighbours differ by much more than a step."""
_SEPARATE: Final = 1e4
"""Factor on differences of alpha: colours of unlike alpha are hardly ever merged, since alpha stays exact."""
_COLOURS_AT_ONCE: Final = 1 << 9


class _Colours(NamedTuple):
    """The colours of a picture."""

    keys: UInt64
    """Rising [n]."""
    counts: Float64
    """Pixels [n]."""
    weights: Float64
    """Sums over the pixels of the weights of their errors [n]."""


def reduce_colours(pixels: Pixels, chosen: Bool | None, *, step_levels: float, lambda_: float, depth: int, alpha: bool) -> Pixels:
    """Samples [H, W, C] with fewer colours where `chosen` bool [H, W] is true (None: everywhere); `pixels` itself if that fails.

    `lambda_`: squared steps per bit of an index's entropy. `alpha`: the last channel is alpha, which stays exact, and hidden
    colours are 0.
    """
    peak = (1 << depth) - 1
    found = _colours_of(pixels, chosen, step_levels * peak / 255)
    if found is None:
        return pixels
    colours = colours_of_keys(found.keys, pixels)  # [n, C]
    samples: Float64 = colours.astype(np.float64) * (255 / peak)  # grey levels
    codeword_of = _quantised(samples, found, step_levels, lambda_ * step_levels**2, alpha=alpha)  # [n]
    codewords = np.rint(_centroids(samples, found.weights, codeword_of) * (peak / 255)).astype(pixels.dtype)  # [K, C]
    leader = _leaders(found.weights, codeword_of)  # [K]
    exact = 2 * found.weights[leader] >= np.bincount(codeword_of, found.weights)  # bool [K]
    codewords[exact] = colours[leader[exact]]
    table = codewords[codeword_of]  # [n, C]
    if alpha:
        table[:, -1] = colours[:, -1]  # also of colours that are left to a codeword of another alpha
    result = pixels.copy()
    for band in bands(pixels):
        own = colour_keys(pixels[band])
        place = np.searchsorted(found.keys, own).clip(max=len(found.keys) - 1)
        changed = found.keys[place] == own
        if chosen is not None:
            changed &= chosen[band]
        result[band][changed] = table[place[changed]]
    return result


def _colours_of(pixels: Pixels, chosen: Bool | None, step: float) -> _Colours | None:
    """The commonest colours of the chosen pixels; None if most pixels have others. `step`: quantiser step in units of a sample."""
    keys: UInt64 = np.zeros(0, np.uint64)
    counts, weights, pixels_seen = np.zeros(0), np.zeros(0), 0
    for band in bands(pixels):
        smooth = np.exp(-np.square(_contrast(pixels, band) / step))  # [h, W]
        own = colour_keys(pixels[band])
        if chosen is not None:
            own, smooth = own[chosen[band]], smooth[chosen[band]]
        more, place_of_pixels = np.unique(own.reshape(-1), return_inverse=True)
        added = np.bincount(place_of_pixels, minlength=len(more)).astype(np.float64)
        heavy = added + (_SMOOTH_WEIGHT - 1) * np.bincount(place_of_pixels, smooth.reshape(-1), len(more))
        keys, place = np.unique(np.concatenate([keys, more]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts, added]), len(keys)).astype(np.float64)
        weights = np.bincount(place, np.concatenate([weights, heavy]), len(keys)).astype(np.float64)
        pixels_seen += len(place_of_pixels)
        if len(keys) > _MOST_COLOURS:
            common = np.argsort(-counts, kind="stable")[: _MOST_COLOURS // 2]
            kept = np.sort(common[counts[common] > 1])
            keys, counts, weights = keys[kept], counts[kept], weights[kept]
    return _Colours(keys, counts, weights) if len(keys) > 1 and counts.sum() >= _LEAST_COVERED * pixels_seen else None


def _contrast(pixels: Pixels, band: slice) -> Float64:
    """The largest difference of a channel between each pixel of a band and the four around it, float64 [h, W]."""
    first, last = max(0, band.start - 1), min(len(pixels), band.stop + 1)
    own = pixels[first:last].astype(np.int32)
    found = np.zeros(own.shape[:2])
    for axis in (0, 1):
        steps = np.abs(np.diff(own, axis=axis)).max(axis=2)
        before, after = (slice(None), slice(None, -1)), (slice(None), slice(1, None))
        if axis == 0:
            before, after = before[::-1], after[::-1]
        np.maximum(found[before], steps, out=found[before])
        np.maximum(found[after], steps, out=found[after])
    inner = found[band.start - first :]
    return inner[: min(len(pixels), band.stop) - band.start]


def _quantised(samples: Float64, found: _Colours, step_levels: float, price: float, *, alpha: bool) -> Intp:
    """The codeword 0..K-1 of each colour [n]. `price`: squared grey levels per bit."""
    places = _places(samples, alpha=alpha)  # [n, C]
    start = _start(places, found, step_levels / _FIRST_BINS)
    codewords, bits = places[start], np.full(len(start), np.log2(len(start)))
    importance = found.weights / found.counts
    codeword_of = np.zeros(len(places), np.intp)
    for _ in range(_ROUNDS):
        squares, rates = np.square(codewords).sum(axis=1), price * bits
        for first in range(0, len(places), _COLOURS_AT_ONCE):
            own = slice(first, first + _COLOURS_AT_ONCE)
            distances = squares - 2 * places[own] @ codewords.T  # without the square of the place, which is the same for all
            codeword_of[own] = (distances * importance[own, None] + rates).argmin(axis=1)
        codeword_of = np.unique(codeword_of, return_inverse=True)[1].reshape(-1)
        shares = np.bincount(codeword_of, found.counts) / found.counts.sum()
        bits = -np.log2(shares)
        codewords = _places(_centroids(samples, found.weights, codeword_of), alpha=alpha)
    return codeword_of


def _places(samples: Float64, *, alpha: bool) -> Float64:
    """Colours as points [n, C] whose distance is that of what is seen: colours are multiplied by alpha."""
    return np.concatenate([samples[:, :-1] * samples[:, -1:] / 255, samples[:, -1:] * _SEPARATE], axis=1) if alpha else samples


def _start(places: Float64, found: _Colours, side: float) -> Intp:
    """The colours [K] that are codewords at the start."""
    order = np.argsort(-found.weights, kind="stable")
    fineness = np.rint(np.log2(found.weights / found.counts) / 2)  # of the bins: an error is to weigh about as much in all
    cubes = np.floor(places * (2**fineness / side)[:, None])
    _, first = np.unique(np.concatenate([cubes, fineness[:, None]], axis=1)[order], axis=0, return_index=True)
    return order[np.sort(first)[:_MOST_CODEWORDS]]


def _centroids(samples: Float64, weights: Float64, codeword_of: Intp) -> Float64:
    """The mean colour [K, C] of each codeword's colours."""
    total = np.bincount(codeword_of, weights)
    return np.stack([np.bincount(codeword_of, weights * channel) / total for channel in samples.T], axis=1)


def _leaders(weights: Float64, codeword_of: Intp) -> Intp:
    """The heaviest colour [K] of each codeword."""
    order = np.argsort(weights, kind="stable")
    leaders = np.zeros(int(codeword_of.max()) + 1, np.intp)
    leaders[codeword_of[order]] = order  # the last one stays
    return leaders

"""The content of a picture: whether it may hold graphics, and which cells are graphic. A guide for the encoder's trials.

The limits were found on 190 training photographs (at most 0.5 % of cells are clear graphics in all but one) and on screenshots,
sprites and drawings (at least 1 %).
"""

from __future__ import annotations

import zlib
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Bool, Int32, Pixels
from vqcodec.transform.palette import CELL, LEVEL, colour_keys

_ROWS_SEEN: Final = 4
"""One row of so many is looked at to tell a photograph."""
_CLEAR_COLOURS, _CLEAR_CONTRAST = 8, 32
"""Most colours of a clearly graphic cell, and the least difference of its darkest and brightest sample in grey levels (of 256)."""
_CLEAR_SHARE, _EQUAL_SHARE = 0.006, 0.65
"""Shares of clearly graphic cells, and of pixels equal to their left neighbour, from which on a picture may hold graphics."""
_PIXELS_COUNTED: Final = 1 << 15
"""About the most pixels whose colours are counted."""
_BAND: Final = 1 << 18
"""Pixels that are looked at at a time."""
SMALL: Final = 1 << 14
"""Pixels up to which trials are thorough: they take little time."""


class Cells(NamedTuple):
    """Facts of the cells of a picture, each [h, w]."""

    colours: Int32
    """Number of colours."""
    contrast: Int32
    """Largest difference of two samples of one channel."""

    def clear(self, depth: int) -> Bool:
        """Cells that are clearly graphic."""
        return (self.colours <= _CLEAR_COLOURS) & (self.contrast >= _CLEAR_CONTRAST << (depth - 8))


def equal_share(pixels: Pixels) -> float:
    """The share of pixels [H, W, C] that equal their left neighbour, in some rows; 1 for a picture one pixel wide."""
    rows = pixels[::_ROWS_SEEN]
    if rows.shape[1] < 2:
        return 1.0
    return float((rows[:, 1:] == rows[:, :-1]).all(axis=2).mean())


def entropy_of_colours(pixels: Pixels, step_levels: float, depth: int) -> float:
    """The entropy in bits of a pixel's colour, quantised to a step in grey levels (of 256), of some rows of [H, W, C]."""
    rows = pixels[:: max(1, len(pixels) * pixels.shape[1] // _PIXELS_COUNTED)].astype(np.float32)
    quantised = np.rint(rows * np.float32(256 / (step_levels * (1 << depth)))).astype(np.uint16)
    keys = np.sort(colour_keys(quantised), axis=None)  # not np.unique: that imports numpy.ma, 10 ms
    counts = np.diff(np.flatnonzero(keys[1:] != keys[:-1]) + 1, prepend=0, append=keys.size)
    shares = counts / keys.size
    return float(-(shares * np.log2(shares)).sum())


def bytes_in_contexts(pixels: Pixels) -> float:
    """Bytes of the colours of pixels [H, W, C] as indices in contexts, about; infinite for more than 256 colours."""
    from vqcodec.format import context_classes  # photographs do not need it

    if pixels.shape[2] == 1 and pixels.itemsize == 1:  # counting takes a tenth of the time of sorting
        known = np.bincount(pixels.reshape(-1), minlength=LEVEL + 1) > 0
        count, indices = int(known.sum()), (np.cumsum(known) - 1)[pixels]
    else:
        colours, indices = np.unique(colour_keys(pixels), return_inverse=True)
        count = len(colours)
    if count > LEVEL + 1:
        return float("inf")
    return context_classes.least_bytes(indices.reshape(pixels.shape[:2]).astype(np.uint8), None, count)


def deflated_bytes(pixels: Pixels) -> int:
    """Bytes of pixels [H, W, C] by zlib, with the best of three of PNG's predictions: left, up, or left and up less up left."""
    left = np.diff(pixels, axis=1, prepend=pixels[:, :1] * 0)
    up = np.diff(pixels, axis=0, prepend=pixels[:1] * 0)
    both = np.diff(left, axis=0, prepend=left[:1] * 0)
    return min(len(zlib.compress(residual.tobytes())) for residual in (left, up, both))


def cells_of(pixels: Pixels) -> Cells:
    """Facts of the cells of pixels [H, W, C]; edges are repeated."""
    rows = max(1, _BAND // (CELL * pixels.shape[1])) * CELL
    bands = [_cells_of_band(pixels[top : top + rows]) for top in range(0, len(pixels), rows)]
    return Cells(*map(np.concatenate, zip(*bands, strict=True)))


def _cells_of_band(pixels: Pixels) -> Cells:
    """`cells_of` some rows of a picture: it needs 20 bytes for each pixel."""
    pixels = _whole_cells(pixels)
    colours = _colours_of_blocks(pixels, CELL)
    contrast = np.zeros(colours.shape, np.int32)
    for channel in range(pixels.shape[2]):
        own = _blocks(pixels[:, :, channel], CELL)
        np.maximum(contrast, own.max(axis=2).astype(np.int32) - own.min(axis=2), out=contrast)
    return Cells(colours, contrast)


def _colours_of_blocks(pixels: Pixels, side: int) -> Int32:
    """The number of colours of each block of `side` x `side` pixels, int32 [h, w], of pixels [H, W, C] in whole blocks."""
    keys: NDArray[Any] = colour_keys(pixels)
    if pixels.shape[2] * pixels.itemsize <= 4:
        keys = keys.astype(np.uint32)  # takes half the time to sort
    blocks = np.sort(_blocks(keys, side), axis=2)
    return 1 + np.count_nonzero(blocks[:, :, 1:] != blocks[:, :, :-1], axis=2).astype(np.int32)


def _whole_cells(pixels: Pixels) -> Pixels:
    """Pixels [H, W, C] whose last row and column are repeated up to whole cells."""
    height, width, _ = pixels.shape
    if height % CELL == width % CELL == 0:
        return pixels
    return np.pad(pixels, ((0, -height % CELL), (0, -width % CELL), (0, 0)), mode="edge")


def _blocks(plane: NDArray[Any], side: int) -> NDArray[Any]:
    """The blocks of a plane [H, W] of whole blocks: [h, w, side * side]."""
    h, w = plane.shape[0] // side, plane.shape[1] // side
    return plane.reshape(h, side, w, side).swapaxes(1, 2).reshape(h, w, side * side)


def _share_of_clear_cells(pixels: Pixels, depth: int) -> float:
    """The share of clearly graphic cells of pixels [H, W, C]. Every fourth pixel tells most other cells, which saves their time."""
    rows = max(1, _BAND // (CELL * pixels.shape[1])) * CELL
    clear = total = 0
    for top in range(0, len(pixels), rows):
        band = _whole_cells(pixels[top : top + rows])
        h, w = len(band) // CELL, band.shape[1] // CELL
        candidates = _colours_of_blocks(band[::2, ::2], CELL // 2) <= _CLEAR_COLOURS
        cells = band.reshape(h, CELL, w, CELL, -1).swapaxes(1, 2)[candidates]  # [n, CELL, CELL, C]
        clear += int(_cells_of_band(cells.reshape(-1, *cells.shape[2:])).clear(depth).sum())
        total += h * w
    return clear / total


def may_hold_graphics(pixels: Pixels, depth: int) -> bool:
    """Whether a picture [H, W, C] may hold graphics: equal neighbours, or clear cells; False for almost all photographs."""
    return equal_share(pixels) >= _EQUAL_SHARE or _share_of_clear_cells(pixels, depth) >= _CLEAR_SHARE


def few_coloured(pixels: Pixels, most: int) -> Bool:
    """The map bool [h, w] of cells of at most `most` colours; single cells that differ from all around them join these."""
    own = cells_of(pixels).colours <= most
    around = _around(own)
    found: Bool = np.where(around == 0, False, np.where(around == 8, True, own))
    return found


def graphic_map(pixels: Pixels, depth: int, most: int) -> Bool:
    """The map bool [h, w] of graphic cells in a mixed picture: contrast and at most `most` colours, and cells of few colours that
    touch these, directly or through others; single cells that differ from all around them join these.
    """
    cells = cells_of(pixels)
    few = cells.colours <= most
    found: Bool = few & (cells.contrast >= _CLEAR_CONTRAST << (depth - 8))
    while True:
        grown = few & ((_around(found) > 0) | found)
        if np.array_equal(grown, found):
            break
        found = grown
    around = _around(found)
    return np.where(around == 0, False, np.where(around == 8, True, found))


def _around(cells: Bool) -> Int32:
    """The number of cells around each one that are set, int32 [h, w]; edges are repeated."""
    padded = np.pad(cells, 1, mode="edge").astype(np.int32)
    h, w = cells.shape
    sums: Int32 = sum(padded[y : y + h, x : x + w] for y in range(3) for x in range(3)) - cells
    return sums

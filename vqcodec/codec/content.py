"""The kind of a picture's content: which cells are graphic, and whether it is a photograph. A guide for the encoder's trials."""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Bool, Int32, Pixels, UInt64
from vqcodec.transform.palette import CELL

_ROWS_SEEN: Final = 4
"""One row of so many is looked at to tell a photograph."""


def equal_share(pixels: Pixels) -> float:
    """The share of pixels [H, W, C] that equal their left neighbour, in some rows; 1 for a picture one pixel wide.

    Photographs have few, except where they are clipped.
    """
    rows = pixels[::_ROWS_SEEN]
    if rows.shape[1] < 2:
        return 1.0
    return float((rows[:, 1:] == rows[:, :-1]).all(axis=2).mean())


def colours_of_cells(pixels: Pixels) -> Int32:
    """The number of colours of each cell, int32 [h, w], of pixels [H, W, C]; edges are repeated."""
    height, width, channels = pixels.shape
    keys: UInt64 = np.zeros((height, width), np.uint64)
    for channel in range(channels):
        keys = keys << np.uint64(8 * pixels.itemsize) | pixels[:, :, channel]
    if channels * pixels.itemsize <= 4:
        keys = keys.astype(np.uint32)  # half the time to sort
    padded = np.pad(keys, ((0, -height % CELL), (0, -width % CELL)), mode="edge")
    h, w = padded.shape[0] // CELL, padded.shape[1] // CELL
    cells = padded.reshape(h, CELL, w, CELL).swapaxes(1, 2).reshape(h, w, CELL * CELL)
    cells = np.sort(cells, axis=2)
    found: Int32 = 1 + np.count_nonzero(cells[:, :, 1:] != cells[:, :, :-1], axis=2).astype(np.int32)
    return found


def few_coloured(pixels: Pixels, most: int) -> Bool:
    """The map bool [h, w] of cells of at most `most` colours; single cells that differ from all around them join these."""
    own = colours_of_cells(pixels) <= most
    padded = np.pad(own, 1, mode="edge").astype(np.int32)
    h, w = own.shape
    around = sum(padded[y : y + h, x : x + w] for y in range(3) for x in range(3)) - own
    found: Bool = np.where(around == 0, False, np.where(around == 8, True, own))
    return found

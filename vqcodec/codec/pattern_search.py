"""The encoder's search for cells that stand in a pattern codebook.

A few displacements should cover many cells. Cells vote for those at which they are found; rare cells know best where they belong.
Displacements are then taken greedily, each with all cells that it fits, as long as these seem to save more than it costs.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Bool, Float64, Int64, Intp, Pixels, UInt16, UInt64
from vqcodec.codec.pattern_book import PatternBook, colours_of, window_hashes
from vqcodec.format.patterns import Copies, no_copies
from vqcodec.transform.palette import CELL

_EDGE_BYTES: Final = 0.25
"""Estimated bytes of a pixel that differs from the one above or to the left."""
_DISPLACEMENT_BYTES: Final = 7.0
"""Estimated bytes of a displacement with a run of cells."""
_MOST_PLACES: Final = 256
"""Most pairs of a place in the picture and one in the sheets for which a content votes."""
_MOST_TRIED: Final = 4000
"""Most displacements that are tried, those with the most votes."""
_FILTER_BITS: Final = 20
_SIDE_BITS: Final = 17
"""Bits of a row or column of a displacement, which may be negative."""
_SIDE: Final = 1 << (_SIDE_BITS - 1)


class Cells(NamedTuple):
    """The whole cells of some pixels."""

    hashes: UInt64
    """uint64 [h, w]."""
    value: Float64
    """Estimated bytes [h, w] that a cell costs; 0 for cells of one colour."""


def cells_of(pixels: Pixels) -> Cells:
    """The whole cells of samples [H, W, 1 to 4] of 8 bits."""
    colours = colours_of(pixels)
    h, w = (side // CELL for side in colours.shape)
    inside = colours[: h * CELL, : w * CELL]
    above, beside = np.zeros(inside.shape, bool), np.zeros(inside.shape, bool)
    np.not_equal(inside[1:], inside[:-1], out=above[1:])
    np.not_equal(inside[:, 1:], inside[:, :-1], out=beside[:, 1:])
    first = inside[::CELL, ::CELL].repeat(CELL, axis=0).repeat(CELL, axis=1)
    mixed = _any_in_cells(inside != first)
    counts = (above | beside).reshape(h, CELL, w, CELL).sum(axis=(1, 3))
    return Cells(window_hashes(inside)[::CELL, ::CELL] if h * w else np.zeros((h, w), np.uint64), mixed * counts * _EDGE_BYTES)


def _any_in_cells(pixels: Bool) -> Bool:
    """Whether any pixel of each cell is set: bool [h, w] of [8 h, 8 w]."""
    h, w = (side // CELL for side in pixels.shape)
    return np.asarray(pixels.reshape(h, CELL, w, CELL).any(axis=(1, 3)), np.bool_)


class HashFilter:
    """A set of hashes uint64 [n], and the places where they occur among others."""

    def __init__(self, hashes: UInt64) -> None:
        self.hashes = hashes
        """Sorted, all different."""
        self._table = np.zeros(1 << _FILTER_BITS, bool)
        self._table[self._low(hashes)] = True

    @staticmethod
    def _low(hashes: UInt64) -> UInt64:
        return hashes >> np.uint64(64 - _FILTER_BITS)

    def find(self, others: UInt64) -> tuple[Intp, Intp]:
        """Places in the flattened `others`, and which of the hashes stand there."""
        flat = others.reshape(-1)
        places = np.flatnonzero(self._table[self._low(flat)])
        numbers = np.searchsorted(self.hashes, flat[places]).clip(max=len(self.hashes) - 1)
        right = self.hashes[numbers] == flat[places]
        return places[right], numbers[right]


def find_copies(pixels: Pixels, book: PatternBook) -> Copies:
    """The cells of a tile group [H, W, 1 to 4] of 8 bits that are worth copying. They are equal to what they copy."""
    shape = (-(-pixels.shape[0] // CELL), -(-pixels.shape[1] // CELL))
    cells = cells_of(pixels)
    h, w = cells.hashes.shape
    wanted = np.flatnonzero(cells.value.reshape(-1))  # whole cells of several colours
    if not len(wanted) or not len(book):
        return no_copies(shape)
    contents, which, counts = np.unique(cells.hashes.reshape(-1)[wanted], return_inverse=True, return_counts=True)
    worth = cells.value.reshape(-1)[wanted] / np.sqrt(counts[which])  # repeats within a picture are cheap
    votes = _votes(contents, which.reshape(-1), wanted, worth, w, book)
    chosen, numbers = [], np.zeros((h, w), np.uint16)
    left = np.zeros((h, w), np.float64)
    left.reshape(-1)[wanted] = worth
    for displacement in votes:
        fits = _fits(displacement, cells.hashes, book)
        gain = float(left[fits].sum())
        if gain > _DISPLACEMENT_BYTES:
            chosen.append(displacement)
            numbers[fits & (left > 0)] = len(chosen)
            left[fits] = 0
    _fill_flat(numbers, chosen, cells, book)
    found = np.zeros(shape, np.uint16)
    found[:h, :w] = numbers
    return _verified(_compact(chosen, found), pixels, book)


def _votes(contents: UInt64, which: Intp, wanted: Intp, worth: Float64, width: int, book: PatternBook) -> Int64:
    """Displacements [n, 3] (sheet, rows, columns), those of the most votes first."""
    known = HashFilter(contents)
    order = np.argsort(which, kind="stable")
    starts = np.searchsorted(which[order], np.arange(len(contents) + 1))
    in_picture = np.diff(starts)
    codes, weights = [np.zeros(0, np.int64)], [np.zeros(0)]
    for sheet, hashes in enumerate(book.windows):
        places, numbers = known.find(hashes)
        in_sheet = np.bincount(numbers, minlength=len(contents))
        votes = (in_sheet * in_picture <= _MOST_PLACES)[numbers]
        places, numbers = places[votes], numbers[votes]
        repeats = in_picture[numbers]
        ends = np.cumsum(repeats)
        members = order[starts[numbers].repeat(repeats) + np.arange(int(repeats.sum())) - (ends - repeats).repeat(repeats)]
        rows, columns = np.divmod(places.repeat(repeats), max(1, hashes.shape[1]))
        own_rows, own_columns = np.divmod(wanted[members], width)
        codes.append(
            (sheet << 2 * _SIDE_BITS) + (rows - CELL * own_rows + _SIDE << _SIDE_BITS) + (columns - CELL * own_columns + _SIDE)
        )
        weights.append(worth[members])
    found, at = np.unique(np.concatenate(codes), return_inverse=True)
    sums = np.bincount(at.reshape(-1), np.concatenate(weights), len(found))
    best = np.argsort(-sums, kind="stable")[:_MOST_TRIED]
    best = best[sums[best] > _DISPLACEMENT_BYTES]
    sides = [found[best] >> _SIDE_BITS & (1 << _SIDE_BITS) - 1, found[best] & (1 << _SIDE_BITS) - 1]
    return np.stack([found[best] >> 2 * _SIDE_BITS, *(side - _SIDE for side in sides)], axis=1)


def _fits(displacement: Int64, hashes: UInt64, book: PatternBook) -> Bool:
    """The cells with these hashes [h, w] that stand in the sheet at a displacement, bool [h, w]."""
    sheet, down, right = displacement.tolist()
    windows = book.windows[sheet]
    fits = np.zeros(hashes.shape, bool)
    spans = []
    for offset, count, most in zip((down, right), hashes.shape, windows.shape, strict=True):
        first = max(0, -(offset // CELL))  # the first cell at 0 or beyond in the sheet
        last = min(count, (most - 1 - offset) // CELL + 1)
        if last <= first:
            return fits
        spans.append((slice(first, last), slice(first * CELL + offset, (last - 1) * CELL + offset + 1, CELL)))
    (rows, sheet_rows), (columns, sheet_columns) = spans
    fits[rows, columns] = windows[sheet_rows, sheet_columns] == hashes[rows, columns]
    return fits


def _fill_flat(numbers: UInt16, chosen: list[Int64], cells: Cells, book: PatternBook) -> None:
    """Copy cells of one colour with the cell to their left where that fits, so that runs of numbers are long."""
    if not chosen:
        return
    fits = np.stack([np.zeros(numbers.shape, bool), *(_fits(one, cells.hashes, book) for one in chosen)])
    rows = np.arange(len(numbers))
    for column in range(1, numbers.shape[1]):
        before = numbers[:, column - 1]
        free = (numbers[:, column] == 0) & (cells.value[:, column] == 0) & fits[before, rows, column]
        numbers[free, column] = before[free]


def _compact(chosen: list[Int64], numbers: UInt16) -> Copies:
    """Copies with those of the chosen displacements that have cells."""
    used, renumbered = np.unique(np.append(0, numbers.reshape(-1)), return_inverse=True)
    table = np.array(chosen, np.int64).reshape(-1, 3)[used[1:].astype(np.intp) - 1]
    return Copies((table & 0xFFFF).astype(np.uint16), renumbered.reshape(-1)[1:].astype(np.uint16).reshape(numbers.shape))


def _verified(copies: Copies, pixels: Pixels, book: PatternBook) -> Copies:
    """Copies without cells that differ from the samples, as those do whose hashes are equal by chance."""
    pasted = pixels.copy()
    book.paste(pasted, copies)
    wrong = np.zeros((copies.numbers.shape[0] * CELL, copies.numbers.shape[1] * CELL), bool)
    wrong[: pixels.shape[0], : pixels.shape[1]] = (pasted != pixels).any(axis=2)
    return copies._replace(numbers=np.where(_any_in_cells(wrong), np.uint16(0), copies.numbers))

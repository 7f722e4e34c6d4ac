"""Samples <-> a table of colours and indices into it. A colour is all samples of a pixel, alpha included."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Bool, Int64, Pixels, UInt8, UInt16, UInt64

CELL: Final = 8
"""Side of a cell in pixels."""
MAX_COLOURS: Final = 4080
"""Most colours of a palette: 16 levels."""
LEVEL: Final = 255
"""Most colours of a level; with an escape its symbols fit into a byte."""
_MOST_COUNTED: Final = 1 << 20
"""Most colours that are counted at a time."""
_BAND: Final = 1 << 18
"""Pixels that are looked at at a time."""
FIRST_LEVELS: Final = (LEVEL, 3, 15)
"""Choices for the size of the first level. With 3 and 15 several symbols fit into a byte."""


@dataclass(frozen=True, eq=False)
class Palette:
    """A table of colours, in levels: the commonest colours are those of the first level."""

    colours: Pixels
    """uint8 or uint16 [n, C], n <= MAX_COLOURS."""
    first: int
    """Colours of the first level, from FIRST_LEVELS, if there are as many."""
    complete: bool
    """Whether the pixels have no other colours."""

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """Numbers of colours of the levels; they sum to n."""
        return level_sizes(len(self.colours), self.first)


class CommonColours(NamedTuple):
    """The commonest colours of some pictures, commonest first."""

    colours: Pixels
    """uint8 or uint16 [n, C], n <= MAX_COLOURS."""
    complete: bool
    """Whether the pictures have no other colours."""

    def ranks(self, picture: Pixels) -> UInt16:
        """The colour of each pixel of a picture [H, W, C], uint16 [H, W]; n for other colours."""
        found = np.full(picture.shape[:2], len(self.colours), np.uint16)
        keys = colour_keys(self.colours)
        order = np.argsort(keys)
        known, ranks = keys[order], order.astype(np.uint16)
        for band in bands(picture) if len(known) else ():
            own = colour_keys(picture[band])
            place = np.searchsorted(known, own).clip(max=len(known) - 1)
            np.copyto(found[band], ranks[place], where=known[place] == own)
        return found


def level_sizes(colours: int, first: int) -> tuple[int, ...]:
    """Sizes of the levels of a palette: `first`, what is missing to LEVEL, and then LEVEL each, until all colours are in one."""
    sizes: list[int] = []
    for size in (first, LEVEL - first, *[LEVEL] * (MAX_COLOURS // LEVEL)):
        take = min(size, colours - sum(sizes))
        if take > 0:
            sizes.append(take)
    return tuple(sizes)


def pixels_of_cells(cells: Bool, height: int, width: int) -> Bool:
    """A map bool [h, w] of cells to pixels bool [height, width]; partial cells at the right and bottom are cropped."""
    return cells.repeat(CELL, axis=0)[:height].repeat(CELL, axis=1)[:, :width]


def common_colours(pictures: Sequence[Pixels], masks: Iterable[Bool | None]) -> CommonColours:
    """The commonest colours of pictures [H, W, C] of one dtype. Only pixels in a mask bool [H, W] count; None counts all.

    Exact for pictures of up to _MOST_COUNTED colours. For more, rare colours are forgotten now and then, and counted anew.
    """
    keys, counts, complete = np.zeros(0, np.uint64), np.zeros(0, np.int64), True
    for picture, mask in zip(pictures, masks, strict=True):
        for band in bands(picture):
            own = colour_keys(picture[band]).reshape(-1) if mask is None else colour_keys(picture[band])[mask[band]]
            keys, counts = _merged(keys, counts, *np.unique(own, return_counts=True))
            if len(keys) > _MOST_COUNTED:
                kept = np.sort(np.argsort(-counts, kind="stable")[: _MOST_COUNTED // 2])
                keys, counts, complete = keys[kept], counts[kept], False
    order = np.argsort(-counts, kind="stable")[:MAX_COLOURS]
    return CommonColours(colours_of_keys(keys[order], pictures[0]), complete and len(keys) <= MAX_COLOURS)


def _merged(keys: UInt64, counts: Int64, more: UInt64, more_counts: Int64) -> tuple[UInt64, Int64]:
    """Sorted keys with their counts, of two such lists together."""
    found, place = np.unique(np.concatenate([keys, more]), return_inverse=True)
    sums = np.bincount(place.reshape(-1), np.concatenate([counts, more_counts]), len(found))
    return found, sums.astype(np.int64)


def bands(picture: Pixels) -> Iterator[slice]:
    """Bands of rows of about `_BAND` pixels."""
    rows = max(1, _BAND // picture.shape[1])
    for top in range(0, len(picture), rows):
        yield slice(top, top + rows)


def palette_of(common: CommonColours, most: int, first: int) -> Palette:
    """The `most` commonest colours as a palette; within a level they keep their order."""
    most = min(most, len(common.colours))
    return Palette(common.colours[:most], first, common.complete and most == len(common.colours))


def to_pixels(indices: UInt8 | UInt16, palette: Palette) -> Pixels:
    """Indices [H, W] into a palette to samples [H, W, C]; index n, of colours that are not in it, becomes 0."""
    colours = palette.colours
    table = np.zeros((len(colours) + 1, colours.shape[1]), colours.dtype)
    table[:-1] = colours
    size = colours.dtype.itemsize * colours.shape[1]
    if size in {1, 2, 4, 8}:  # one lookup for each pixel, not for each sample
        whole = table.view(f"u{size}").reshape(-1)
        return whole[indices].view(colours.dtype).reshape(*indices.shape, -1)
    return table.take(indices, axis=0)


def grey_levels(colours: Pixels) -> UInt8:
    """Grey levels of colours uint8 [n, C] on white paper, from 0 for black to 127, uint8 [n].

    With grey, or else (red + 2 green + blue) // 4, and alpha: (grey * alpha + 255 * (255 - alpha)) // 510.
    """
    samples = colours.astype(np.int32)
    grey = samples[:, 0] if colours.shape[1] < 3 else (samples[:, 0] + 2 * samples[:, 1] + samples[:, 2]) // 4
    alpha = samples[:, -1] if colours.shape[1] % 2 == 0 else np.full(len(colours), 255, np.int32)
    return ((grey * alpha + 255 * (255 - alpha)) // 510).astype(np.uint8)


def colour_keys(picture: Pixels) -> UInt64:
    """One number for each colour: uint64 [...] of samples [..., C], C <= 4."""
    keys = np.zeros(picture.shape[:-1], np.uint64)
    for component in range(picture.shape[-1]):
        keys = keys << np.uint64(8 * picture.dtype.itemsize) | picture[..., component]
    return keys


def colours_of_keys(keys: UInt64, like: Pixels) -> Pixels:
    """Colours [n, C] of keys uint64 [n]; the inverse of `colour_keys`. Components and dtype are those of `like`."""
    bits = 8 * like.dtype.itemsize
    shifts = np.arange(like.shape[-1] - 1, -1, -1, dtype=np.uint64) * np.uint64(bits)
    return (keys[:, None] >> shifts & np.uint64((1 << bits) - 1)).astype(like.dtype)

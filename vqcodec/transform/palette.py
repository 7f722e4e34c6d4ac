"""Samples <-> a table of colours and indices into it. A colour is all samples of a pixel, alpha included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Bool, Int32, Int64, Pixels, UInt8, UInt16, UInt64

CELL: Final = 8
"""Side of a cell in pixels."""
MAX_COLOURS: Final = 4080
"""Most colours of a palette: 16 levels."""
LEVEL: Final = 255
"""Most colours of a level; with an escape its symbols fit into a byte."""
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


class Ranked(NamedTuple):
    """All colours of some pictures, commonest first."""

    colours: Pixels
    """uint8 or uint16 [n, C]."""
    counts: Int64
    """Pixels of each colour, int64 [n], falling."""
    ranks: list[Int32]
    """The colour of each pixel of each picture, int32 [H, W]; 0 outside the graphic cells."""


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


def rank_colours(pictures: Sequence[Pixels], masks: Sequence[Bool | None]) -> Ranked:
    """Colours of pictures [H, W, C] of one dtype. Only pixels in a mask bool [H, W] count; None counts all."""
    keys = [
        _keys(picture).reshape(-1) if mask is None else _keys(picture)[mask] for picture, mask in zip(pictures, masks, strict=True)
    ]
    found, inverse, counts = np.unique(np.concatenate(keys), return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    flat, planes, start = rank[inverse.reshape(-1)], [], 0
    for picture, mask, part in zip(pictures, masks, keys, strict=True):
        own = flat[start : start + len(part)]
        start += len(part)
        plane = own.reshape(picture.shape[:2]) if mask is None else np.zeros(picture.shape[:2], np.int32)
        if mask is not None:
            plane[mask] = own
        planes.append(plane)
    return Ranked(_colours(found[order], pictures[0]), counts[order], planes)


def palette_of(ranked: Ranked, most: int, first: int) -> Palette:
    """The `most` commonest colours as a palette; within a level they keep their order."""
    most = min(most, MAX_COLOURS, len(ranked.colours))
    return Palette(ranked.colours[:most], first, most == len(ranked.colours))


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


def _keys(picture: Pixels) -> UInt64:
    """One number for each colour: uint64 [H, W] of samples [H, W, C], C <= 4."""
    keys = np.zeros(picture.shape[:2], np.uint64)
    for component in range(picture.shape[2]):
        keys = keys << np.uint64(8 * picture.dtype.itemsize) | picture[..., component]
    return keys


def _colours(keys: UInt64, like: Pixels) -> Pixels:
    """Colours [n, C] of keys uint64 [n]; the inverse of `_keys`. Components and dtype are those of `like`."""
    bits = 8 * like.dtype.itemsize
    shifts = np.arange(like.shape[2] - 1, -1, -1, dtype=np.uint64) * np.uint64(bits)
    return (keys[:, None] >> shifts & np.uint64((1 << bits) - 1)).astype(like.dtype)

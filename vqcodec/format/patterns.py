"""Copied cells of a tile group <-> bytes: cells whose pixels stand in the pattern codebook, a list of pictures in the model.

Only files without layers whose flags have bit 1 set have them. There each pixel section begins with

    varint    n: number of displacements, 0..65535
    if n > 0:
    part      the displacements, as planes of n bytes: low bytes of the sheets, high bytes of the sheets, then in the same way the
              rows and the columns; 6 n bytes
    part      low bytes of a number for each cell of the group, row by row: 0 if the cell is not copied, else 1 + its displacement
    part      if n > 255: the high bytes of these numbers

and goes on as in pixel_sections.py. Parts are those of palettes.py, without packing. A displacement is a sheet (a picture of the
model, graphic.py in weights/), rows and columns, each 0..65535. The pixel at (y, x) of the tile group in a copied cell is that of
the sheet at ((y + rows) mod 65536, (x + columns) mod 65536), which must be in the sheet. A sheet has red, green, blue and alpha of
8 bits each: a picture in grey takes the first of them, and one without alpha leaves the last. Samples of more than 8 bits are never
copied: n is 0. At the right and bottom edge only the pixels in the picture are copied. Numbers above n are an error.

A cell that is copied is neither graphic nor predicted, whatever the map of pixel_sections.py says: none of its pixels are stored.
Indices are decoded as if its pixels were 0; then it is copied; then predicted pixels have it as a neighbour like all others.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Bool, UInt16
from vqcodec.errors import CorruptError
from vqcodec.format import zstd_blocks
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.palettes import read_part, write_part

MAX_DISPLACEMENTS: Final = 65535
_ONE_BYTE: Final = 255
"""Most displacements whose numbers have one byte."""
_LEVELS: Final = (19,)


class Copies(NamedTuple):
    """The copied cells of a tile group."""

    displacements: UInt16
    """Sheet, rows and columns of each displacement, uint16 [n, 3]."""
    numbers: UInt16
    """The number of each cell, uint16 [h, w]: 0 if it is not copied, else 1 + its displacement."""

    @property
    def cells(self) -> Bool:
        """The copied cells, bool [h, w]."""
        return self.numbers > 0


def no_copies(cells: tuple[int, int]) -> Copies:
    """The copies of a group of `cells` (rows, columns) without copied cells."""
    return Copies(np.zeros((0, 3), np.uint16), np.zeros(cells, np.uint16))


def write(copies: Copies) -> bytes:
    """The bytes of the copied cells; the inverse of `read`."""
    count = len(copies.displacements)
    if not count:
        return write_varint(0)
    planes = [_planes(copies.displacements.T)]
    stored = np.frombuffer(_planes(copies.numbers.reshape(1, -1)), np.uint8).reshape(2, -1)
    planes += [plane.tobytes() for plane in (stored if count > _ONE_BYTE else stored[:1])]
    return write_varint(count) + b"".join(write_part(zstd_blocks.compress_whole(plane, _LEVELS), 0) for plane in planes)


def read(reader: ByteReader, cells: tuple[int, int]) -> Copies:
    """The copied cells of a group of `cells` (rows, columns). Raises CorruptError, TruncatedError."""
    count = reader.varint()
    if not count:
        return no_copies(cells)
    if count > MAX_DISPLACEMENTS:
        raise CorruptError("corrupt file: too many displacements of copied cells")
    stored = read_part(reader, 6 * count).reshape(3, 2, count).astype(np.uint16)
    displacements = stored[:, 0] | stored[:, 1] << np.uint16(8)
    numbers = read_part(reader, cells[0] * cells[1]).astype(np.uint16)
    if count > _ONE_BYTE:
        numbers |= read_part(reader, cells[0] * cells[1]).astype(np.uint16) << np.uint16(8)
    if int(numbers.max()) > count:
        raise CorruptError("corrupt file: a copied cell has no displacement")
    return Copies(np.ascontiguousarray(displacements.T), numbers.reshape(cells))


def _planes(values: UInt16) -> bytes:
    """The low bytes and then the high bytes of each row of numbers uint16 [rows, n]."""
    return np.stack([values & 255, values >> 8], axis=1).astype(np.uint8).tobytes()

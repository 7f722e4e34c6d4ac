"""Pixel sections: a map of the cells of a tile group, and the bytes of its graphic and of its predicted pixels.

    bytes     with a pattern codebook: the copied cells (patterns.py); none of their pixels are stored below
    1 byte    kind: 0 all cells are graphic, 1 none is, 2 a map follows; others are reserved
    part      if there is a map: one bit for each cell of the group, row by row; most significant bit of each byte first, the last
              byte filled up with zeros
    varint    if there is a map and the file has no layers: bytes of the graphic pixels
    bytes     the graphic pixels, unless the kind is 1 (index_planes.py)
    bytes     all other pixels, unless the kind is 0 or the file has layers (codec/predicted.py)

The section ends with these. A part is that of palettes.py. The bit of a cell is g(y, x) ^ g(y, x-1) ^ g(y-1, x) ^ g(y-1, x-1),
where g is 1 for graphic cells and 0 outside the group: a rectangle of graphic cells has four bits that are 1. A map has cells of
both kinds. In a file with layers the other cells are coded as DCT blocks.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Bool
from vqcodec.errors import CorruptError
from vqcodec.format import patterns, zstd_blocks
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.palettes import read_part, write_part
from vqcodec.format.patterns import Copies

_ALL, _NONE, _MAPPED = range(3)
_LEVELS: Final = (19,)


class PixelSection(NamedTuple):
    """The contents of a pixel section."""

    graphic: Bool
    """The map of graphic cells, bool [h, w]."""
    indices: bytes
    """The graphic pixels, b"" without graphic cells."""
    predicted: bytes
    """The predicted pixels, b"" if there are none."""
    copies: Copies | None = None
    """The copied cells, with a pattern codebook."""

    @property
    def copied(self) -> Bool:
        """The copied cells, bool [h, w]."""
        return np.zeros_like(self.graphic) if self.copies is None else self.copies.cells

    @property
    def drawn(self) -> Bool:
        """The cells whose indices are stored, bool [h, w]: graphic ones that are not copied."""
        return self.graphic & ~self.copied

    @property
    def is_predicted(self) -> Bool:
        """The cells whose pixels are predicted, if there are no layers; bool [h, w]."""
        return ~(self.graphic | self.copied)


def write(section: PixelSection, *, layers: bool) -> bytes:
    """The bytes of a pixel section; the inverse of `read`."""
    graphic, head = section.graphic, b"" if section.copies is None else patterns.write(section.copies)
    if graphic.all():
        return head + bytes((_ALL,)) + section.indices
    if not graphic.any():
        return head + bytes((_NONE,)) + section.predicted
    bits = graphic.copy()
    bits[:, 1:] ^= graphic[:, :-1]
    bits[1:] ^= bits[:-1].copy()
    part = write_part(zstd_blocks.compress_whole(np.packbits(bits).tobytes(), _LEVELS), 0)
    length = b"" if layers else write_varint(len(section.indices))
    return head + bytes((_MAPPED,)) + part + length + section.indices + section.predicted


def read(data: bytes, cells: tuple[int, int], *, layers: bool, copied: bool = False) -> PixelSection:
    """The contents of the pixel section of a tile group of `cells` (rows, columns). Raises CorruptError, TruncatedError.

    `copied`: the file has a pattern codebook.
    """
    reader = ByteReader(data)
    copies = patterns.read(reader, cells) if copied else None
    kind = reader.byte()
    if kind == _ALL:
        return PixelSection(np.ones(cells, bool), data[reader.cursor :], b"", copies)
    if kind == _NONE:
        if layers and len(data) > reader.cursor:
            raise CorruptError("corrupt file: bytes are left over in a pixel section")
        return PixelSection(np.zeros(cells, bool), b"", data[reader.cursor :], copies)
    if kind != _MAPPED:
        raise CorruptError("corrupt file: a reserved value in a pixel section")
    count = cells[0] * cells[1]
    bits = np.unpackbits(read_part(reader, -(-count // 8)))
    if bits[count:].any():
        raise CorruptError("corrupt file: the bits that fill a byte are not 0")
    graphic = np.bitwise_xor.accumulate(np.bitwise_xor.accumulate(bits[:count].reshape(cells), axis=0), axis=1).astype(bool)
    if graphic.all() or not graphic.any():
        raise CorruptError("corrupt file: a map of graphic cells has one kind of cells only")
    if layers:
        return PixelSection(graphic, data[reader.cursor :], b"", copies)
    indices = reader.take(reader.varint())
    return PixelSection(graphic, indices, data[reader.cursor :], copies)

"""Pixel sections: a map of the cells of a tile group, and the bytes of its graphic and of its predicted pixels.

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
from vqcodec.format import zstd_blocks
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.palettes import read_part, write_part

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


def write(section: PixelSection, *, layers: bool) -> bytes:
    """The bytes of a pixel section; the inverse of `read`."""
    graphic = section.graphic
    if graphic.all():
        return bytes((_ALL,)) + section.indices
    if not graphic.any():
        return bytes((_NONE,)) + section.predicted
    bits = graphic.copy()
    bits[:, 1:] ^= graphic[:, :-1]
    bits[1:] ^= bits[:-1].copy()
    part = write_part(zstd_blocks.compress_whole(np.packbits(bits).tobytes(), _LEVELS), 0)
    length = b"" if layers else write_varint(len(section.indices))
    return bytes((_MAPPED,)) + part + length + section.indices + section.predicted


def read(data: bytes, cells: tuple[int, int], *, layers: bool) -> PixelSection:
    """The contents of the pixel section of a tile group of `cells` (rows, columns). Raises CorruptError, TruncatedError."""
    reader = ByteReader(data)
    kind = reader.byte()
    if kind == _ALL:
        return PixelSection(np.ones(cells, bool), data[1:], b"")
    if kind == _NONE:
        if layers and len(data) > 1:
            raise CorruptError("corrupt file: bytes are left over in a pixel section")
        return PixelSection(np.zeros(cells, bool), b"", data[1:])
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
        return PixelSection(graphic, data[reader.cursor :], b"")
    indices = reader.take(reader.varint())
    return PixelSection(graphic, indices, data[reader.cursor :])

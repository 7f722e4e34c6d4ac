"""Palettes <-> their bytes.

    varint     2 n + rare: n colours, 0..4080, at most as many as the picture has pixels; rare is 1 if the pixels also have others
    if n > 0:
    1 byte     bits 0-1: size of the first level, 0: 255, 1: 3, 2: 15 (3 invalid);  bits 2-7: 0
    part       if n is more than that size: the level of each colour from 0 on, n bytes
    part       the differences of the colours, as planes

The bytes end with these. A palette has levels of `first`, 255 - first, 255, 255, ... colours, none of them empty, and the last
level has what is left; other numbers of colours in a level are an error. Colours stand in any order; the encoder chooses one in
which neighbours are alike. The index of a colour is the number of colours of lower levels, plus the number of colours of its own
level before it. A colour is stored as its differences to the one before it (to 0 for the first one), modulo 2**8 or 2**16 for each
sample; with three components or more, the difference of the second one is subtracted from those of the first and third. Planes: the
first component of all colours, then the second, and so on; with 16 bits first the high bytes of a component, then its low bytes.

A part is

    1 byte     bits 0-1: mode, 0 verbatim, 1 zstd frame, 2 block (container.py, section 3; 3 invalid);
               bits 2-7: binary logarithm of the symbols in a byte (index_planes.py; 0 in a palette)
    varint     length of its data in bytes, if the mode is not 0
    bytes      the data

The size before compression is known, and the data must decompress to exactly that. Frames are without their magic number and
without the next two bytes, which are 00 and 8 * (log2 of the window - 10). The window is the smallest power of 2 that holds what
the frame decompresses to; at least 128 KiB, at most 128 MiB.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Intp, Pixels, UInt8, UInt16
from vqcodec.errors import CorruptError
from vqcodec.format import sample_bytes, zstd_blocks
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.zstd_blocks import Mode, StoredPart
from vqcodec.transform.palette import FIRST_LEVELS, MAX_COLOURS, Palette, level_sizes

EMPTY: Final = b"\x01"
"""A palette without colours. Files leave it out."""
_MODES: Final = (Mode.VERBATIM, Mode.FRAME, Mode.BLOCK)


class PackedPalette(NamedTuple):
    """The bytes of a palette."""

    data: bytes
    index_of: UInt16
    """The index, after unpacking, of each colour of the palette that was packed; uint16 [n + 1], the last one is n."""


def pack_palette(palette: Palette, order: Intp, levels: tuple[int, ...]) -> PackedPalette:
    """Bytes of a palette, whose colours may change their order within levels. `levels` are those of zstd.

    `order`: the `chain` of its colours.
    """
    colours = palette.colours
    count = len(colours)
    index_of = np.arange(count + 1, dtype=np.uint16)
    head = write_varint(2 * count + (not palette.complete))
    if not count:
        return PackedPalette(head, index_of)
    own = np.repeat(np.arange(len(palette.levels), dtype=np.uint8), palette.levels)
    index_of[order[np.argsort(own[order], kind="stable")]] = np.arange(count, dtype=np.uint16)
    differences = np.diff(colours[order], axis=0, prepend=np.zeros((1, colours.shape[1]), colours.dtype))
    if colours.shape[1] >= 3:
        differences[:, [0, 2]] -= differences[:, [1]]
    parts = [own[order].tobytes()] if len(palette.levels) > 1 else []
    parts.append(sample_bytes.planes(differences))
    stored = b"".join(write_part(zstd_blocks.compress_whole(part, levels), 0) for part in parts)
    return PackedPalette(head + bytes((FIRST_LEVELS.index(palette.first),)) + stored, index_of)


def chain(colours: Pixels) -> Intp:
    """An order of colours [n, C] in which each one is the nearest of those left to the one before; the darkest is first."""
    if not len(colours):
        return np.zeros(0, np.intp)
    values = colours.astype(np.int32).T  # [C, n]
    at = int(values.sum(axis=0).argmin())
    if len(values) >= 3:
        values = np.concatenate([values, values[[0, 2]] - values[1]])
    values = np.ascontiguousarray(values)
    left, order = np.arange(len(colours)), []
    while True:
        order.append(int(left[at]))
        here, last = values[:, at].copy(), len(left) - 1
        if not last:
            return np.array(order)
        left[at], values[:, at] = left[last], values[:, last]
        left, values = left[:last], values[:, :last]
        at = int(np.abs(values - here[:, None]).sum(axis=0).argmin())


def unpack_palette(data: bytes, components: int, dtype: np.dtype[np.uint8 | np.uint16], most: int) -> Palette:
    """The palette of all of `data`; the inverse of `pack_palette`. Raises CorruptError for more than `most` colours."""
    reader = ByteReader(data)
    count, rare = divmod(reader.varint(), 2)
    if count > min(most, MAX_COLOURS):
        raise CorruptError("corrupt file: a palette has too many colours")
    first, colours = FIRST_LEVELS[0], np.zeros((0, components), dtype)
    if count:
        choice = reader.byte()
        if choice >= len(FIRST_LEVELS):
            raise CorruptError("corrupt file: a palette has an invalid first level")
        first = FIRST_LEVELS[choice]
        colours = _read_colours(reader, level_sizes(count, first), components, dtype)
    if reader.cursor != len(data):
        raise CorruptError("corrupt file: bytes are left over after a palette")
    return Palette(colours, first, not rare)


def _read_colours(reader: ByteReader, sizes: tuple[int, ...], components: int, dtype: np.dtype[np.uint8 | np.uint16]) -> Pixels:
    """Colours [n, components] in the order of their indices."""
    count = sum(sizes)
    own = read_part(reader, count) if len(sizes) > 1 else np.zeros(count, np.uint8)
    if not np.array_equal(np.bincount(own, minlength=len(sizes)), sizes):
        raise CorruptError("corrupt file: the levels of a palette have wrong sizes")
    stored = read_part(reader, count * components * dtype.itemsize)
    differences = sample_bytes.from_planes(stored.tobytes(), components, dtype)
    if components >= 3:
        differences[:, [0, 2]] += differences[:, [1]]
    colours: Pixels = np.cumsum(differences, axis=0, dtype=dtype)[np.argsort(own, kind="stable")]
    return colours


def write_part(part: StoredPart, packing: int) -> bytes:
    """A part with its head; `packing` is the binary logarithm of the symbols in a byte."""
    length = b"" if part.mode == Mode.VERBATIM else write_varint(len(part.data))
    return bytes((_MODES.index(part.mode) | packing << 2,)) + length + part.data


def read_part(reader: ByteReader, size: int) -> UInt8:
    """The `size` bytes uint8 of a part without packing; the inverse of `write_part`. Raises TruncatedError, CorruptError."""
    head = reader.byte()
    if head >> 2:
        raise CorruptError("corrupt file: an invalid part of a palette or its indices")
    return read_data(reader, head, size)


def read_data(reader: ByteReader, head: int, size: int) -> UInt8:
    """The `size` bytes uint8 of a part whose first byte is `head`. Raises TruncatedError, CorruptError."""
    if head & 3 >= len(_MODES):
        raise CorruptError("corrupt file: an invalid part of a palette or its indices")
    mode = _MODES[head & 3]
    stored = reader.take(size if mode == Mode.VERBATIM else reader.varint())
    return np.frombuffer(zstd_blocks.decompress_whole(StoredPart(size, mode, stored)), np.uint8)

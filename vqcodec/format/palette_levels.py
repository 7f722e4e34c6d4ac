"""Indices into a palette <-> parts of symbols, one part for each level of the palette (index_planes.py has the specification)."""

from __future__ import annotations

from functools import cache
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Int32, Intp, UInt8, UInt16
from vqcodec.errors import CorruptError
from vqcodec.format import palettes, zstd_blocks
from vqcodec.format.bits import ByteReader
from vqcodec.transform.palette import LEVEL, Palette


class Level(NamedTuple):
    """A level of a palette."""

    first: int
    """Colours of lower levels."""
    size: int
    """Its colours."""
    symbols: int
    """One for each of its colours, and one more if there are pixels of higher levels or of rare colours."""


def levels_of(palette: Palette) -> list[Level]:
    """The levels of a palette, lowest first."""
    firsts = accumulate(palette.levels, initial=0)
    last = len(palette.levels) - 1
    return [
        Level(first, size, size + (number < last or not palette.complete))
        for number, (first, size) in enumerate(zip(firsts, palette.levels, strict=False))
    ]


def has_symbols(levels: list[Level]) -> bool:
    """Whether the first level has symbols to tell apart."""
    return bool(levels) and levels[0].symbols > 1


def pack_levels(indices: UInt16, palette_levels: list[Level], levels: tuple[int, ...]) -> tuple[bytes, Int32]:
    """Parts of consecutive levels for indices uint16 [n] of these or higher levels, and which of the indices are higher."""
    parts = []
    higher = np.arange(len(indices), dtype=np.int32)
    for level in palette_levels:
        own = np.minimum(indices - np.uint16(level.first), level.size).astype(np.uint8)
        if level.symbols > 1 and len(own):
            parts.append(_pack_symbols(own, level.symbols, levels))
        rest = own == level.size
        indices, higher = indices[rest], higher[rest]
    return b"".join(parts), higher


def unpack_levels(reader: ByteReader, count: int, palette: Palette, first: UInt8 | None) -> tuple[NDArray[Any], Intp]:
    """Indices [count], n for rare colours, and which of them are rare. `first`: the symbols of the first level, if they are known.

    Raises TruncatedError, CorruptError.
    """
    total = len(palette.colours)
    if not total and palette.complete:
        raise CorruptError("corrupt file: a palette without colours")
    dtype = np.uint8 if total <= LEVEL else np.uint16
    indices: NDArray[Any] = np.full(count, total, dtype)
    higher = np.arange(count) if not total else np.zeros(0, np.intp)
    for level in levels_of(palette):
        if level.first or first is None:
            own = _unpack_symbols(reader, len(higher) if level.first else count, level.symbols).astype(dtype, copy=False)
        else:
            own = first.astype(dtype, copy=False)
        rest = np.flatnonzero(own == level.size) if level.symbols > level.size else np.zeros(0, np.intp)
        if level.first:
            indices[higher] = own + np.asarray(level.first, dtype)
            higher = higher[rest]
        else:
            indices, higher = (own if len(palette.levels) == 1 else own.copy()), rest
    return indices, higher


def _pack_symbols(symbols: UInt8, alphabet: int, levels: tuple[int, ...]) -> bytes:
    """A part with symbols uint8 [n] below `alphabet`; the inverse of `_unpack_symbols`."""
    found = [palettes.write_part(zstd_blocks.compress_whole(symbols.tobytes(), levels), 0)]
    packing = _most_packed(alphabet)
    if packing:
        padded = np.zeros(-(-len(symbols) >> packing) << packing, np.uint8)
        padded[: len(symbols)] = symbols
        packed = np.bitwise_or.reduce(padded.reshape(-1, 1 << packing) << _shifts(packing), axis=1)
        found.append(palettes.write_part(zstd_blocks.compress_whole(packed.tobytes(), levels), packing))
    return min(found, key=len)


def _unpack_symbols(reader: ByteReader, count: int, alphabet: int) -> UInt8:
    """Symbols uint8 [count] below `alphabet`. Raises TruncatedError, CorruptError."""
    if alphabet == 1 or not count:
        return np.zeros(count, np.uint8)
    head = reader.byte()
    packing = head >> 2
    if packing > _most_packed(alphabet):
        raise CorruptError("corrupt file: too many symbols in a byte")
    symbols = palettes.read_data(reader, head, -(-count >> packing))
    if packing:
        symbols = _unpacked(packing)[symbols].view(np.uint8)
        if symbols[count:].any():
            raise CorruptError("corrupt file: the bits that fill a byte are not 0")
        symbols = symbols[:count]
    if int(symbols.max()) >= alphabet:
        raise CorruptError("corrupt file: an index is not below the number of colours")
    return symbols


def _most_packed(alphabet: int) -> int:
    """The binary logarithm of the most symbols that fit into a byte."""
    return 3 if alphabet <= 2 else 2 if alphabet <= 4 else 1 if alphabet <= 16 else 0


@cache
@cache
def _unpacked(packing: int) -> NDArray[Any]:
    """The 1 << packing symbols of each byte, together as one unsigned integer; [256]."""
    mask = np.uint8((1 << (8 >> packing)) - 1)
    symbols = np.arange(256, dtype=np.uint8)[:, None] >> _shifts(packing) & mask
    return symbols.view(f"u{1 << packing}").reshape(-1)


def _shifts(packing: int) -> UInt8:
    """The lowest bit of each symbol in a byte, uint8 [1 << packing]."""
    return np.arange(0, 8, 8 >> packing, dtype=np.uint8)

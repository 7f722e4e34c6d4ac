"""Indices of a token file <-> its index section: planes of low and high bits (container.py, section 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vqcodec.arrays import UInt8, UInt16
from vqcodec.errors import CorruptError
from vqcodec.format import zstd_blocks
from vqcodec.format.bits import BitReader, ByteReader, pack_bits, write_varint
from vqcodec.format.zstd_blocks import Mode, StoredPart

_PACKED: Final = 0
_MODES: Final = {Mode.VERBATIM: _PACKED, Mode.FRAME: 1, Mode.BLOCK: 2}
"""Modes of a plane as they are written in the file."""


def pack(indices: UInt16, bits: int, levels: Sequence[int]) -> bytes:
    """Index section of indices uint16 [h, w] of 1..16 bits; the inverse of `unpack`. `levels` are the zstd levels to try."""
    flat = indices.reshape(-1)
    mode, low = _pack_plane(flat & np.uint16(0xFF), min(bits, 8), levels)
    if bits <= 8:
        return bytes((mode,)) + low
    high_mode, high = _pack_plane(flat >> np.uint16(8), bits - 8, levels)
    length = b"" if mode == _PACKED else write_varint(len(low))
    return bytes((mode | high_mode << 2,)) + length + low + high


def unpack(section: bytes, cells: tuple[int, int], bits: int) -> UInt16:
    """Indices uint16 [h, w] below 1 << bits of an index section; the inverse of `pack`. Raises TruncatedError, CorruptError."""
    count = cells[0] * cells[1]
    reader = ByteReader(section)
    modes = reader.byte()
    low_bits, high_bits = min(bits, 8), max(bits - 8, 0)
    low_mode, high_mode = modes & 3, modes >> 2
    if low_mode == 3 or high_mode >= 3 or (high_mode and not high_bits):
        raise CorruptError("corrupt file: invalid modes of its tokens")
    if not high_bits:
        return _unpack_plane(low_mode, section[1:], count, low_bits).astype(np.uint16).reshape(cells)
    length = -(-count * low_bits // 8) if low_mode == _PACKED else reader.varint()
    low = _unpack_plane(low_mode, reader.take(length), count, low_bits)
    high = _unpack_plane(high_mode, section[reader.cursor :], count, high_bits)
    return (low | high.astype(np.uint16) << np.uint16(8)).astype(np.uint16).reshape(cells)


def _pack_plane(values: UInt16, bits: int, levels: Sequence[int]) -> tuple[int, bytes]:
    """Mode and stored bytes of values uint16 [n] of 1..8 bits, in the mode that takes the fewest bytes."""
    packed = pack_bits(values.astype(np.int32), np.full(len(values), bits, np.uint8))
    part = zstd_blocks.compress(values.astype(np.uint8).tobytes(), None, tuple(levels))
    return (_PACKED, packed) if len(packed) <= len(part.data) else (_MODES[part.mode], part.data)


def _unpack_plane(mode: int, stored: bytes, count: int, bits: int) -> UInt8:
    """Values uint8 [n] of a plane; the inverse of `_pack_plane`. Raises CorruptError."""
    if mode == _PACKED:
        if len(stored) != -(-count * bits // 8):
            raise CorruptError("corrupt file: there are not as many tokens as the picture has cells")
        reader = BitReader(stored)
        found = reader.take_array(np.full(count, bits, np.uint8)).astype(np.uint8)
        reader.finish()
        return found
    data = zstd_blocks.decompress(StoredPart(count, Mode.FRAME if mode == _MODES[Mode.FRAME] else Mode.BLOCK, stored), None)
    found = np.frombuffer(data, np.uint8)
    if int(found.max(initial=0)) >> bits:
        raise CorruptError("corrupt file: a token has more bits than tokens have")
    return found

"""Values of a few bits each <-> bytes, most significant bit first."""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Int32, UInt8
from vqcodec.errors import CorruptError

_MOST: Final = 16
_IN_USE: Final = np.arange(_MOST) < np.arange(_MOST + 1)[:, None]
"""Of 16 bits, those that a width has, bool [17, 16]."""


def pack_bits(values: Int32, widths: UInt8) -> bytes:
    """Values int32 [n] of `widths` (0..16) bits each to bytes; the last byte is filled with zeros."""
    left = (values << (_MOST - widths.astype(np.int32))).astype(">u2")
    bits = np.unpackbits(left.view(np.uint8))
    return np.packbits(bits.compress(_IN_USE.take(widths, axis=0).reshape(-1))).tobytes()


class BitReader:
    """The inverse of `pack_bits`, a call at a time."""

    def __init__(self, data: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8))
        self._cursor = 0

    def take(self, widths: UInt8) -> Int32:
        """The next values of `widths` bits each, int32 [n]; raises CorruptError past the end."""
        total = int(widths.sum())
        if self._cursor + total > len(self._bits):
            raise CorruptError("corrupt file: raw bits end too early")
        positions = np.arange(int(widths.max(initial=0)) - 1, -1, -1)
        mask = positions < widths[:, None]
        spread = np.zeros(mask.shape, np.int32)
        spread[mask] = self._bits[self._cursor : self._cursor + total]
        self._cursor += total
        return (spread << positions).sum(axis=1, dtype=np.int32)

    def finish(self) -> None:
        """Raise CorruptError unless less than a byte is left and it is zero."""
        rest = self._bits[self._cursor :]
        if len(rest) >= 8 or rest.any():
            raise CorruptError("corrupt file: raw bits left over")

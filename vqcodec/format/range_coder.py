"""A range coder (Martin 1979): symbols of given frequencies to bytes without loss to whole bits, and back.

Frequencies of an alphabet add up to TOTAL = 2**15. The coder starts with low = 0 and range = 2**32 - 1. To code the slot [first,
first + frequency) of TOTAL, it sets unit = range >> 15, low += unit * first, range = unit * frequency. A value v of w <= 16 bits
is coded with unit = range >> w, low += unit * v, range = unit. Then, as long as range < 2**24, it puts out the byte low >> 24 (a
carry beyond 2**32 is added to the bytes before), low = (low << 8) mod 2**32, and range <<= 8.

At the end, the number with the fewest bytes in [low, low + range) is put out, and bytes 0 at the end are left out. The decoder
takes the number that the bytes make, with bytes 0 after the last one, relative to low. All arithmetic is of integers below 2**40.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

from vqcodec.errors import CorruptError

TOTAL_LOG2: Final = 15
TOTAL: Final = 1 << TOTAL_LOG2
"""Sum of the frequencies of an alphabet."""
_FULL: Final = (1 << 32) - 1
_LEAST: Final = 1 << 24
"""Range below which a byte is put out."""


class RangeEncoder:
    """Codes symbols and values; `to_bytes` ends the code."""

    def __init__(self) -> None:
        self._low, self._range = 0, _FULL
        self._out = bytearray()

    def put(self, symbols: Sequence[int], starts: Sequence[int]) -> None:
        """Code symbols; `starts` are the cumulative frequencies: 0, ..., TOTAL."""
        for symbol in symbols:
            unit = self._range >> TOTAL_LOG2
            self._low += unit * starts[symbol]
            self._range = unit * (starts[symbol + 1] - starts[symbol])
            if self._range < _LEAST:
                self._renormalise()

    def put_value(self, value: int, width: int) -> None:
        """Code a value of `width` bits, 0..16."""
        self._range >>= width
        self._low += self._range * value
        self._renormalise()

    def _renormalise(self) -> None:
        self._carry()
        while self._range < _LEAST:
            self._out.append(self._low >> 24)
            self._low = (self._low << 8) & _FULL
            self._range <<= 8

    def _carry(self) -> None:
        """Add what exceeds 32 bits to the bytes that were put out."""
        if self._low > _FULL:
            self._low &= _FULL
            place = len(self._out) - 1
            while self._out[place] == 255:
                self._out[place] = 0
                place -= 1
            self._out[place] += 1

    def to_bytes(self) -> bytes:
        """The whole code."""
        self._carry()
        for count in range(5):
            unit = 1 << 32 - 8 * count
            value = -(-self._low // unit) * unit
            if value < self._low + self._range:
                self._low = value
                self._carry()
                return bytes(self._out + self._low.to_bytes(4, "big")[:count]).rstrip(b"\0")
        raise AssertionError("a range holds a number of 4 bytes")


class RangeDecoder:
    """The inverse of `RangeEncoder`. Any bytes decode to something; `finish` tells whether all were needed."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._code, self._next = int.from_bytes(data[:4].ljust(4, b"\0"), "big"), 4
        self._range = _FULL

    def take(self, count: int, starts: Sequence[int]) -> bytearray:
        """The next `count` symbols, with cumulative frequencies as for `RangeEncoder.put`."""
        code, width, data, place = self._code, self._range, self._data, self._next
        symbols = bytearray(count)
        for number in range(count):
            unit = width >> TOTAL_LOG2
            slot = code // unit
            symbol = bisect_right(starts, slot) - 1 if slot < TOTAL else len(starts) - 2
            first = starts[symbol]
            code -= unit * first
            width = unit * (starts[symbol + 1] - first)
            while width < _LEAST:
                code = code << 8 | (data[place] if place < len(data) else 0)
                place += 1
                width <<= 8
            symbols[number] = symbol
        self._code, self._range, self._next = code & _FULL, width, place
        return symbols

    def take_value(self, width: int) -> int:
        """The next value of `width` bits, 0..16."""
        self._range >>= width
        value = min(self._code // self._range, (1 << width) - 1)
        self._code -= value * self._range
        while self._range < _LEAST:
            self._code = (self._code << 8 | (self._data[self._next] if self._next < len(self._data) else 0)) & _FULL
            self._next += 1
            self._range <<= 8
        return value

    def finish(self) -> None:
        """Raise CorruptError if bytes are left over, or the last one is 0."""
        if len(self._data) > self._next or self._data[-1:] == b"\0":
            raise CorruptError("corrupt file: bytes are left over in a picture's symbols")

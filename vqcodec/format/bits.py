"""Readers and writers of bits, most significant bit of each byte first, and of byte fields; each reader follows its writer."""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Int32, UInt8
from vqcodec.errors import CorruptError, TruncatedError

_MAX_WIDTH: Final = 16
_USED_BITS: Final = np.arange(_MAX_WIDTH) < np.arange(_MAX_WIDTH + 1)[:, None]
"""The bits that a value of each width keeps after it is shifted to the top of 16 bits, bool [17 widths, 16]."""
_AT_ONCE: Final = 1 << 16
"""Values that are packed or unpacked at once."""
_MAX_GOLOMB_ZEROS: Final = 32


def pack_bits(values: Int32, widths: UInt8) -> bytes:
    """Values int32 [n] of `widths` uint8 [n] bits (0..16) to bytes; the last byte is filled up with zeros."""
    bits = PackedBits()
    bits.put(values, widths)
    return bits.to_bytes()


class PackedBits:
    """Bits of arrays of values, packed into bytes as they come."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._rest: UInt8 = np.zeros(0, np.uint8)  # bits that do not fill a byte

    def put(self, values: Int32, widths: UInt8) -> None:
        """Append values int32 [n] of `widths` uint8 [n] bits (0..16)."""
        for first in range(0, len(values), _AT_ONCE):
            some = widths[first : first + _AT_ONCE]
            left = (values[first : first + _AT_ONCE] << (_MAX_WIDTH - some.astype(np.int32))).astype(">u2")
            bits = np.unpackbits(left.view(np.uint8)).compress(_USED_BITS.take(some, axis=0).reshape(-1))
            bits = np.concatenate([self._rest, bits])
            whole = len(bits) // 8 * 8
            self._packed.append(np.packbits(bits[:whole]).tobytes())
            self._rest = bits[whole:]

    def to_bytes(self) -> bytes:
        """All bits so far; the last byte is filled up with zeros."""
        return b"".join(self._packed) + np.packbits(self._rest).tobytes()


class BitWriter:
    """Bits written one value at a time."""

    def __init__(self) -> None:
        self._bits: list[str] = []

    def put(self, value: int, width: int) -> None:
        """Append a value of `width` bits."""
        if width:
            self._bits.append(f"{value:0{width}b}")

    def to_bytes(self) -> bytes:
        """All bits so far; the last byte is filled up with zeros."""
        bits = "".join(self._bits)
        count = -(-len(bits) // 8)
        return int(bits.ljust(8 * count, "0") or "0", 2).to_bytes(count, "big")


class BitReader:
    """The inverse of `BitWriter` (`take`) and of `pack_bits` (`take_array`)."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._cursor = 0

    def _advance(self, width: int) -> int:
        """The cursor before it moves on by `width` bits; raises CorruptError past the end."""
        start = self._cursor
        if start + width > 8 * len(self._data):
            raise CorruptError("corrupt file: a section ends too early")
        self._cursor += width
        return start

    def take(self, width: int) -> int:
        """The next value of `width` bits; raises CorruptError past the end."""
        start = self._advance(width)
        last = -(-self._cursor // 8)
        value = int.from_bytes(self._data[start // 8 : last], "big") >> (8 * last - self._cursor)
        return value & ((1 << width) - 1)

    def take_array(self, widths: UInt8) -> Int32:
        """The next values of `widths` uint8 [n] bits, int32 [n]; raises CorruptError past the end."""
        some = [self._take_some(widths[first : first + _AT_ONCE]) for first in range(0, len(widths), _AT_ONCE)]
        return some[0] if len(some) == 1 else np.concatenate([np.zeros(0, np.int32), *some])

    def _take_some(self, widths: UInt8) -> Int32:
        """`take_array`, which needs 100 bytes for each value."""
        start = self._advance(int(widths.sum()))
        first = start // 8
        bits = np.unpackbits(np.frombuffer(self._data, np.uint8)[first : -(-self._cursor // 8)])
        positions = np.arange(int(widths.max(initial=0)) - 1, -1, -1)
        mask = positions < widths[:, None]
        spread = np.zeros(mask.shape, np.int32)
        spread[mask] = bits[start - 8 * first : self._cursor - 8 * first]
        return (spread << positions).sum(axis=1, dtype=np.int32)

    def skip_to_byte(self) -> int:
        """The offset of the first whole byte that was not read; raises CorruptError unless the bits before it are 0."""
        if self.take(-self._cursor % 8):
            raise CorruptError("corrupt file: the bits that fill a byte are not 0")
        return self._cursor // 8

    def finish(self) -> None:
        """Raise CorruptError unless less than a byte is left and all its bits are 0."""
        left = 8 * len(self._data) - self._cursor
        if left >= 8 or self.take(left):
            raise CorruptError("corrupt file: raw bits left over")


def write_number(bits: BitWriter, value: int) -> None:
    """The code number(value) of container.py, section 3."""
    width = value.bit_length()
    bits.put(min(width, 15), 4)
    if width >= 15:
        bits.put(width - 15, 5)
    if width:
        bits.put(value - (1 << (width - 1)), width - 1)


def read_number(bits: BitReader) -> int:
    """The inverse of `write_number`."""
    width = bits.take(4)
    width += bits.take(5) if width == 15 else 0
    return 1 << (width - 1) | bits.take(width - 1) if width else 0


def write_golomb(bits: BitWriter, order: int, value: int) -> None:
    """An exponential Golomb code, golomb(order, value) of container.py, section 3 (Teuhola 1978)."""
    high = (value >> order) + 1
    bits.put(high, 2 * high.bit_length() - 1)
    bits.put(value & ((1 << order) - 1), order)


def read_golomb(bits: BitReader, order: int) -> int:
    """The inverse of `write_golomb`."""
    zeros = 0
    while not bits.take(1):
        zeros += 1
        if zeros > _MAX_GOLOMB_ZEROS:
            raise CorruptError("corrupt file: a Golomb code is too long")
    return ((1 << zeros | bits.take(zeros)) - 1) << order | bits.take(order)


def write_varint(value: int) -> bytes:
    """A number of up to 35 bits as unsigned LEB128; the inverse of `ByteReader.varint`."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


class ByteReader:
    """A cursor over bytes that raises TruncatedError at their end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.cursor = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if self.cursor + count > len(self.data):
            raise TruncatedError("truncated file")
        piece = self.data[self.cursor : self.cursor + count]
        self.cursor += count
        return piece

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def integer(self, size: int) -> int:
        """The next little-endian unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def varint(self) -> int:
        """The next unsigned LEB128 number; raises CorruptError if it has more than 5 bytes or a needless last one."""
        value = 0
        for shift in range(0, 35, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if byte == 0 and shift > 0:
                    break
                return value
        raise CorruptError("corrupt file: a varint is malformed")

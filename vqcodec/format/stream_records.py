"""Index sections: records of how each part of each stream is stored, bit by bit, then the parts, then raw bits.

The records' code is described with the rest of the format, in container.py, 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vqcodec.errors import CorruptError
from vqcodec.format.header import StreamRecord

VERBATIM, FRAME, BLOCK, BLOCK_WITH_DICTIONARY = 0, 1, 2, 3
MAX_BLOCK: Final = 1 << 17
"""Bytes that a zstd block can hold."""
SINGLE_BELOW: Final = 1024
"""Bytes from which a block in a dictionary's code is four streams, for speed."""
_JUMP: Final = 6
"""Bytes in front of four streams: the lengths of the first three."""
_MAX_JUMP: Final = 65535
_MAX_ZEROS: Final = 32
"""Of a Golomb code."""


def write_streams(records: Sequence[StreamRecord], means: Sequence[Sequence[int]], raw: bytes) -> bytes:
    """An index section; the inverse of `read_streams`.

    `means` are the mean code lengths of the dictionaries of each stream's parts in 1/2048 bit, 0 where there is none.
    """
    bits = ""
    rest = iter(records)
    for stream in means:
        before = None
        for mean in stream:
            record = next(rest)
            bits += _size_bits(record.size, before)
            bits += _length_bits(record, mean) if record.size else ""
            before = record.size
    count = -(-len(bits) // 8)
    head = int(bits.ljust(8 * count, "0") or "0", 2).to_bytes(count, "big")
    return head + b"".join(record.data[len(record.data) - stored_bytes(record) :] for record in records) + raw


def stored_bytes(record: StreamRecord) -> int:
    """Bytes that the content of a record takes in its section: the lengths in front of four streams follow from the records."""
    return len(record.data) - (_JUMP if record.mode == BLOCK_WITH_DICTIONARY and record.size >= SINGLE_BELOW else 0)


def read_streams(data: bytes, means: Sequence[Sequence[int]], max_size: int) -> tuple[list[StreamRecord], bytes]:
    """The records of an index section, one for each of the means, and the raw bits.

    Raises CorruptError if the sizes add up to more than `max_size`, or a part is not stored in a way that there is.
    """
    bits = _BitReader(data)
    found: list[tuple[int, int, list[int]]] = []
    room = max_size
    for stream in means:
        before = None
        for mean in stream:
            size = _read_size(bits, before)
            if size > room:
                raise CorruptError("corrupt file: the streams are larger than the picture allows")
            room -= size
            found.append((size, *(_read_lengths(bits, size, mean) if size else (VERBATIM, [0]))))
            before = size
    cursor = bits.end()
    records = []
    for size, mode, lengths in found:
        jump = b"".join(length.to_bytes(2, "little") for length in lengths[:-1])
        records.append(StreamRecord(size, mode, jump + data[cursor : cursor + sum(lengths)]))
        cursor += sum(lengths)
    if cursor > len(data):
        raise CorruptError("corrupt file: a section ends within a stream")
    if len(data) - cursor > max_size:
        raise CorruptError("corrupt file: there are more raw bits than the picture allows")
    return records, data[cursor:]


class _BitReader:
    """A cursor over the bits of bytes that raises CorruptError at their end."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.cursor = 0

    def take(self, count: int) -> int:
        start, self.cursor = self.cursor, self.cursor + count
        if self.cursor > 8 * len(self.data):
            raise CorruptError("corrupt file: a section ends within a stream")
        last = -(-self.cursor // 8)
        value = int.from_bytes(self.data[start // 8 : last], "big") >> (8 * last - self.cursor)
        return value & ((1 << count) - 1)

    def end(self) -> int:
        """The offset of the first whole byte that was not read; raises CorruptError if bits before it are not 0."""
        if self.take(-self.cursor % 8):
            raise CorruptError("corrupt file: a section's records do not end with zeros")
        return self.cursor // 8


def _size_bits(size: int, before: int | None) -> str:
    """`before` is the size of the first part, if this is the second."""
    if before is None:
        return _number_bits(size)
    return _golomb_bits(0, before - size) if before else ""


def _read_size(bits: _BitReader, before: int | None) -> int:
    """The inverse of `_size_bits`."""
    if before is None:
        return _read_number(bits)
    size = before - _read_golomb(bits, 0) if before else 0
    if size < 0:
        raise CorruptError("corrupt file: a stream is not stored as it says")
    return size


def _length_bits(record: StreamRecord, mean: int) -> str:
    """Mode and stored lengths of a part that is not empty."""
    if record.mode == VERBATIM:
        return "01"
    if record.mode != BLOCK_WITH_DICTIONARY:
        return ("000" if record.mode == FRAME else "001") + _number_bits(len(record.data))
    sizes = _stream_sizes(record.size)
    lengths = [int.from_bytes(record.data[2 * i : 2 * i + 2], "little") for i in range(len(sizes) - 1)]
    lengths.append(stored_bytes(record) - sum(lengths))
    bits = "1"
    for size, length in zip(sizes, lengths, strict=True):
        excess = length - _expected(size, mean)
        bits += _golomb_bits(_order(size), 2 * excess if excess >= 0 else -2 * excess - 1)
    return bits


def _read_lengths(bits: _BitReader, size: int, mean: int) -> tuple[int, list[int]]:
    """The inverse of `_length_bits`: mode and the stored lengths of a part's streams."""
    if bits.take(1):
        mode, lengths = BLOCK_WITH_DICTIONARY, []
        for count in _stream_sizes(size):
            folded = _read_golomb(bits, _order(count))
            lengths.append(_expected(count, mean) + (-(folded + 1) // 2 if folded & 1 else folded // 2))
    elif bits.take(1):
        mode, lengths = VERBATIM, [size]
    else:
        mode = BLOCK if bits.take(1) else FRAME
        lengths = [_read_number(bits)]
    wrong = mode == BLOCK_WITH_DICTIONARY and not mean
    wrong |= mode in (BLOCK, BLOCK_WITH_DICTIONARY) and size > MAX_BLOCK
    if wrong or min(lengths) < 0 or (len(lengths) > 1 and max(lengths) > _MAX_JUMP):
        raise CorruptError("corrupt file: a stream is not stored as it says")
    return mode, lengths


def _stream_sizes(size: int) -> list[int]:
    """Bytes that each stream of a block in a dictionary's code holds: one stream or, for speed, four."""
    quarter = -(-size // 4)
    return [size] if size < SINGLE_BELOW else [quarter, quarter, quarter, size - 3 * quarter]


def _expected(size: int, mean: int) -> int:
    """Bytes that `size` codes of a mean length in 1/2048 bit are likely to take."""
    return size * mean >> 14


def _order(size: int) -> int:
    """Order of the Golomb code for the difference from the expected length, which grows with the root of the size."""
    return max(0, size.bit_length() // 2 - 1)


def _number_bits(value: int) -> str:
    n = value.bit_length()
    return (f"{n:04b}" if n < 15 else f"1111{n - 15:05b}") + f"{value:b}"[1:]


def _read_number(bits: _BitReader) -> int:
    """The inverse of `_number_bits`."""
    n = bits.take(4)
    n += bits.take(5) if n == 15 else 0
    return 1 << (n - 1) | bits.take(n - 1) if n else 0


def _golomb_bits(order: int, value: int) -> str:
    """Exponential Golomb code of an order."""
    high = f"{(value >> order) + 1:b}"
    return "0" * (len(high) - 1) + high + (f"{value & ((1 << order) - 1):0{order}b}" if order else "")


def _read_golomb(bits: _BitReader, order: int) -> int:
    """The inverse of `_golomb_bits`."""
    zeros = 0
    while not bits.take(1):
        zeros += 1
        if zeros > _MAX_ZEROS:
            raise CorruptError("corrupt file: a number is badly written")
    return ((1 << zeros | bits.take(zeros)) - 1) << order | bits.take(order)

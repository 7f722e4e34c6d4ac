"""Index sections: records that say how each part of each stream is stored, then the parts, then raw bits.

Section 3 of container.py describes the records' code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from vqcodec.errors import CorruptError
from vqcodec.format.bits import BitReader, BitWriter, read_golomb, read_number, write_golomb, write_number
from vqcodec.format.zstd_blocks import FOUR_STREAMS_FROM, JUMP_TABLE_BYTES, MAX_BLOCK, Mode, StoredPart

_MAX_STREAM: Final = 65535
"""Largest length that a jump table can hold, in bytes."""


class _Record(NamedTuple):
    """A part's size before compression, its mode, and its stored lengths: of its four Huffman streams, or a single one."""

    size: int
    mode: Mode
    lengths: list[int]


def write_streams(parts: Sequence[StoredPart], means: Sequence[Sequence[int]], raw: bytes) -> bytes:
    """An index section of the parts of all streams and the raw bits; the inverse of `read_streams`.

    `means` [stream][part] are the mean code lengths of the parts' dictionaries in 1/2048 bit, 0 for a part without a dictionary.
    """
    bits = BitWriter()
    rest = iter(parts)
    for stream in means:
        before = None
        for mean in stream:
            part = next(rest)
            _write_size(bits, part.size, before)
            if part.size:
                _write_lengths(bits, part, mean)
            before = part.size
    return bits.to_bytes() + b"".join(part.data[len(part.data) - stored_bytes(part) :] for part in parts) + raw


def read_streams(data: bytes, means: Sequence[Sequence[int]], max_size: int) -> tuple[list[StoredPart], bytes]:
    """The parts and the raw bits of an index section; `means` as in `write_streams`.

    Raises CorruptError if the sizes add up to more than `max_size` bytes, there are more than `max_size` bytes of raw bits, or a
    record is invalid.
    """
    bits = BitReader(data)
    records: list[_Record] = []
    room = max_size
    for stream in means:
        before = None
        for mean in stream:
            size = _read_size(bits, before)
            if size > room:
                raise CorruptError("corrupt file: the streams are larger than the picture allows")
            room -= size
            records.append(_read_record(bits, size, mean) if size else _Record(0, Mode.VERBATIM, [0]))
            before = size
    cursor = bits.skip_to_byte()
    parts = []
    for size, mode, lengths in records:
        jump_table = b"".join(length.to_bytes(2, "little") for length in lengths[:-1])
        parts.append(StoredPart(size, mode, jump_table + data[cursor : cursor + sum(lengths)]))
        cursor += sum(lengths)
    if cursor > len(data):
        raise CorruptError("corrupt file: a section ends too early")
    if len(data) - cursor > max_size:
        raise CorruptError("corrupt file: there are more raw bits than the picture allows")
    return parts, data[cursor:]


def stored_bytes(part: StoredPart) -> int:
    """The bytes that a part's data takes in an index section. A jump table takes none: its lengths are in the record."""
    four = part.mode == Mode.BLOCK_WITH_DICTIONARY and part.size >= FOUR_STREAMS_FROM
    return len(part.data) - (JUMP_TABLE_BYTES if four else 0)


def _write_size(bits: BitWriter, size: int, before: int | None) -> None:
    """The size of a part; `before` is the size of the stream's first part, or None if this is the first."""
    if before is None:
        write_number(bits, size)
    elif before:
        write_golomb(bits, 0, before - size)


def _read_size(bits: BitReader, before: int | None) -> int:
    """The inverse of `_write_size`."""
    if before is None:
        return read_number(bits)
    size = before - read_golomb(bits, 0) if before else 0
    if size < 0:
        raise CorruptError("corrupt file: an invalid record in an index section")
    return size


def _write_lengths(bits: BitWriter, part: StoredPart, mean: int) -> None:
    """The mode and the stored lengths of a part that is not empty."""
    if part.mode == Mode.VERBATIM:
        bits.put(0b01, 2)
    elif part.mode != Mode.BLOCK_WITH_DICTIONARY:
        bits.put(0b000 if part.mode == Mode.FRAME else 0b001, 3)
        write_number(bits, len(part.data))
    else:
        bits.put(1, 1)
        sizes = _huffman_streams(part.size)
        lengths = [int.from_bytes(part.data[2 * i : 2 * i + 2], "little") for i in range(len(sizes) - 1)]
        lengths.append(stored_bytes(part) - sum(lengths))
        for size, length in zip(sizes, lengths, strict=True):
            excess = length - _expected(size, mean)
            write_golomb(bits, _order(size), 2 * excess if excess >= 0 else -2 * excess - 1)


def _read_record(bits: BitReader, size: int, mean: int) -> _Record:
    """The inverse of `_write_lengths`, with the `size` of the part."""
    if bits.take(1):
        mode, lengths = Mode.BLOCK_WITH_DICTIONARY, []
        for count in _huffman_streams(size):
            folded = read_golomb(bits, _order(count))
            lengths.append(_expected(count, mean) + (-(folded + 1) // 2 if folded & 1 else folded // 2))
    elif bits.take(1):
        mode, lengths = Mode.VERBATIM, [size]
    else:
        mode = Mode.BLOCK if bits.take(1) else Mode.FRAME
        lengths = [read_number(bits)]
    wrong = mode == Mode.BLOCK_WITH_DICTIONARY and not mean
    wrong |= mode in (Mode.BLOCK, Mode.BLOCK_WITH_DICTIONARY) and size > MAX_BLOCK
    if wrong or min(lengths) < 0 or (len(lengths) > 1 and max(lengths) > _MAX_STREAM):
        raise CorruptError("corrupt file: an invalid record in an index section")
    return _Record(size, mode, lengths)


def _huffman_streams(size: int) -> list[int]:
    """The bytes that each Huffman stream of a block with the part's dictionary decodes to: one stream, or four."""
    quarter = -(-size // 4)
    return [size] if size < FOUR_STREAMS_FROM else [quarter, quarter, quarter, size - 3 * quarter]


def _expected(size: int, mean: int) -> int:
    """The expected stored bytes of `size` codes with a mean length in 1/2048 bit."""
    return size * mean >> 14


def _order(size: int) -> int:
    """The order of the Golomb code for the difference from the expected length; it grows with the square root of the size."""
    return max(0, size.bit_length() // 2 - 1)

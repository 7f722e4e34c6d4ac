"""Bytes <-> what is stored of them: themselves, a zstd frame, or the literals of a frame of one block.

Most parts are Huffman-coded literals without any repetition that zstd would refer to. The 12 to 15 bytes of headers around
these follow from two lengths, so such a frame is stored as its *block* of literals only, with a tree of its own or in the code
of the model's dictionary. Dictionaries are Huffman codes and nothing else: their content is 8 zeros. zstd gives up on parts of
less than about 40 bytes, so the encoder writes blocks in a dictionary's code itself, by the code lengths that the model holds
beside it. It is always zstd that reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import zstandard

from vqcodec.arrays import Int32, UInt8
from vqcodec.errors import CorruptError
from vqcodec.format.bits import pack_bits
from vqcodec.format.stream_records import BLOCK, BLOCK_WITH_DICTIONARY, FRAME, MAX_BLOCK, SINGLE_BELOW, VERBATIM

HUFFMAN_MAX_BITS: Final = 11
"""zstd's limit for literals."""
FAST_LEVELS: Final = (1,)
LEVELS: Final = (1, 9, 19)
_FRAME_FROM: Final = 64
"""Bytes below which a tree of its own cannot pay."""
_HEAD: Final = zstandard.FRAME_HEADER + b"\x00\x38"
"""Magic number and header (no content size, checksum or dictionary id; window of 128 KiB), the same for every frame: not stored.

`FORMAT_ZSTD1_MAGICLESS` would make the number needless, but zstandard before 0.24 decompresses no such frame at once.
"""
_WINDOW_LOG: Final = 17
_OWN_TREE, _KNOWN_TREE = 2, 3


@dataclass(frozen=True, eq=False)
class Dictionary:
    """A Huffman code known to both sides: a whole zstd dictionary, and its code length for every byte (0: none), uint8 [256]."""

    content: bytes
    lengths: UInt8

    def __reduce__(self) -> tuple[type[Dictionary], tuple[bytes, UInt8]]:
        return Dictionary, (self.content, self.lengths)  # what is cached can go to no other process

    @cached_property
    def zstd(self) -> zstandard.ZstdCompressionDict:
        return zstandard.ZstdCompressionDict(self.content, dict_type=zstandard.DICT_TYPE_FULLDICT)

    @cached_property
    def codes(self) -> Int32:
        """zstd's canonical code of every byte: longest codes first, and by value among equals; int32 [256]."""
        codes = np.zeros(256, np.int32)
        first = 0
        for length in range(HUFFMAN_MAX_BITS, 0, -1):
            members = np.flatnonzero(self.lengths == length)
            codes[members] = first + np.arange(len(members))
            first = (first + len(members)) >> 1
        return codes

    @cached_property
    def mean(self) -> int:
        """Mean code length, 1/2048 bit, where the bytes are as likely as their codes are short."""
        lengths = self.lengths[self.lengths > 0].astype(np.int64)
        return int((lengths << (HUFFMAN_MAX_BITS - lengths)).sum())

    def check(self) -> None:
        """Raise ValueError unless zstd reads what the code lengths write."""
        alphabet = np.flatnonzero(self.lengths).astype(np.uint8)
        try:
            found = decompress(BLOCK_WITH_DICTIONARY, _literals(alphabet, self), len(alphabet), self)
        except CorruptError as error:
            raise ValueError("a dictionary is not what its code lengths say") from error
        if found != alphabet.tobytes():
            raise ValueError("a dictionary is not what its code lengths say")


def _literals(data: UInt8, dictionary: Dictionary) -> bytes:
    """Bytes uint8 [n] in a dictionary's code: one stream, or four with the sizes of the first three (RFC 8878, 3.1.1.3.1)."""
    if len(data) < SINGLE_BELOW:
        return _stream(data, dictionary)
    quarter = -(-len(data) // 4)
    streams = [_stream(data[i * quarter : (i + 1) * quarter], dictionary) for i in range(4)]
    return b"".join(len(s).to_bytes(2, "little") for s in streams[:3]) + b"".join(streams)


def _literals_size(data: UInt8, dictionary: Dictionary) -> int:
    """About the length of `_literals`; more than any other way takes if a byte has no code."""
    lengths = dictionary.lengths[data]
    if not lengths.all():
        return len(data) + 1
    return int(lengths.sum(dtype=np.int64)) // 8 + (1 if len(data) < SINGLE_BELOW else 5)


def _stream(data: UInt8, dictionary: Dictionary) -> bytes:
    """The codes in order, below a 1 that marks the top of a little-endian number (RFC 8878, 4.2.2)."""
    widths = dictionary.lengths[data]
    fill = 8 - int(widths.sum(dtype=np.int64)) % 8  # the mark and the zeros above it
    values = np.concatenate([np.ones(1, np.int32), dictionary.codes[data]])
    return pack_bits(values, np.concatenate([np.array([fill], np.uint8), widths]))[::-1]


def _frame_of(literals: bytes, size: int, tree: int) -> bytes:
    """The frame, less its head, of one block with these literals of `size` bytes and no sequences (RFC 8878, 3.1.1).

    Raises CorruptError if the literals are longer than their header can say.
    """
    single = 256 if tree == _OWN_TREE else SINGLE_BELOW
    form, width = (0, 10) if size < single else (1, 10) if size < 1024 else (2, 14) if size < 1 << 14 else (3, 18)
    if len(literals) >= 1 << width or len(literals) > MAX_BLOCK:
        raise CorruptError("corrupt file: a block is longer than its content")
    header = tree | form << 2 | size << 4 | len(literals) << (4 + width)
    section = header.to_bytes((4 + 2 * width) // 8, "little") + literals + b"\0"
    return (1 | 2 << 1 | len(section) << 3).to_bytes(3, "little") + section


def _block_of(frame: bytes, size: int) -> bytes | None:
    """The literals of a frame that is nothing but they; the inverse of `_frame_of`."""
    header = 3 if size < 1024 else 4 if size < 1 << 14 else 5
    literals = frame[3 + header : -1]
    if size > MAX_BLOCK or len(literals) >= size or _frame_of(literals, size, _OWN_TREE) != frame:
        return None
    return literals


def compress(data: bytes, dictionary: Dictionary | None, levels: tuple[int, ...]) -> tuple[int, bytes]:
    """The smallest way to store `data`: (mode, bytes), mode as in container.py."""
    found = [(VERBATIM, data)]
    for level in levels if len(data) >= _FRAME_FROM else ():
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level,
            window_log=_WINDOW_LOG,
            write_content_size=0,
            write_checksum=0,
            write_dict_id=0,
        )
        frame = zstandard.ZstdCompressor(compression_params=parameters).compress(data)[len(_HEAD) :]
        block = _block_of(frame, len(data))
        found.append((FRAME, frame) if block is None else (BLOCK, block))
    mode, stored = min(found, key=lambda entry: len(entry[1]))
    symbols = np.frombuffer(data, np.uint8)
    if dictionary is not None and len(data) <= MAX_BLOCK and _literals_size(symbols, dictionary) <= len(stored):
        return BLOCK_WITH_DICTIONARY, _literals(symbols, dictionary)
    return mode, stored


def decompress(mode: int, stored: bytes, size: int, dictionary: Dictionary | None) -> bytes:
    """Exactly `size` bytes out of what `compress` stored; raises CorruptError otherwise.

    The head is ours, so a frame cannot declare a content size of its own: at most `size` bytes are allocated.
    """
    if mode == VERBATIM:
        data = stored
    else:
        frame, given = stored, None
        if mode == BLOCK:
            frame = _frame_of(stored, size, _OWN_TREE)
        elif mode == BLOCK_WITH_DICTIONARY and dictionary is not None:
            frame, given = _frame_of(stored, size, _KNOWN_TREE), dictionary
        try:
            decompressor = zstandard.ZstdDecompressor(dict_data=given.zstd if given else None, max_window_size=1 << _WINDOW_LOG)
            data = decompressor.decompress(_HEAD + frame, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise CorruptError("corrupt file: a zstd frame does not decompress") from error
    if len(data) != size:
        raise CorruptError("corrupt file: a zstd frame has another size than its stream")
    return data

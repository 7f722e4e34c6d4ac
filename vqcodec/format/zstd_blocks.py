"""Bytes <-> parts as they are stored: verbatim, as a zstd frame, or as the literals of a frame with a single block.

Most parts are Huffman-coded literals without any repetition that zstd could refer to. The 12 to 15 bytes of headers around these
follow from two lengths, so only the content of the literals section is stored, called a *block* here. Its Huffman code is described
in it, or is that of the model's dictionary. Dictionaries hold a Huffman code and nothing else: their content is 8 zeros. libzstd
does not compress parts below about 40 bytes, so the encoder writes blocks with a dictionary itself, from the code lengths that the
model holds beside the dictionary. Decompression always goes through libzstd. Field names are those of RFC 8878.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final

import numpy as np
import zstandard

from vqcodec.arrays import Int32, UInt8
from vqcodec.errors import CorruptError
from vqcodec.format.bits import pack_bits

HUFFMAN_MAX_BITS: Final = 11
"""Max_Number_of_Bits of a Huffman code of literals (RFC 8878, 4.2.1)."""
MAX_BLOCK: Final = 1 << 17
"""Largest Regenerated_Size of a block, in bytes."""
FOUR_STREAMS_FROM: Final = 1024
"""Regenerated_Size, in bytes, from which a block with a dictionary has four Huffman streams; they decode faster than one."""
JUMP_TABLE_BYTES: Final = 6
"""Size of the Jump_Table before four streams: the lengths of the first three."""
FAST_LEVELS: Final = (1,)
LEVELS: Final = (1, 9, 19)
"""zstd compression levels to try."""
_FRAME_FROM: Final = 64
"""Bytes from which a Huffman_Tree_Description can pay for itself."""
_WINDOW_LOG: Final = 17
"""Binary logarithm of the window of most frames, in bytes."""
_MAX_WINDOW_LOG: Final = 27
"""Binary logarithm of the largest window that libzstd decompresses by default."""
_MAX_TABLE_LOG: Final = 23
"""Binary logarithm of the most entries of zstd's tables of matches, of 4 bytes each; it has fewer for data below 4 MB."""
_HEAD_BYTES: Final = 6
"""Size of a frame's head, which is not stored."""
_COMPRESSED, _TREELESS = 2, 3
"""Literals_Block_Type: with a Huffman_Tree_Description, and with the dictionary's code."""


class Mode(IntEnum):
    """The ways to store a part (container.py, section 3)."""

    VERBATIM = 0
    FRAME = 1
    BLOCK = 2
    BLOCK_WITH_DICTIONARY = 3


@dataclass(frozen=True)
class StoredPart:
    """A part of a stream, or a plane, as it is stored."""

    size: int
    """Bytes before compression."""
    mode: Mode
    data: bytes
    """The bytes of `mode`; in a block with four streams the jump table comes first."""


@dataclass(frozen=True, eq=False)
class Dictionary:
    """A Huffman code known to encoder and decoder: a zstd dictionary, and its code lengths uint8 [256] (0: no code)."""

    content: bytes
    lengths: UInt8

    def __reduce__(self) -> tuple[type[Dictionary], tuple[bytes, UInt8]]:
        return Dictionary, (self.content, self.lengths)  # cached properties cannot be pickled

    @cached_property
    def zstd(self) -> zstandard.ZstdCompressionDict:
        """The dictionary as libzstd takes it."""
        return zstandard.ZstdCompressionDict(self.content, dict_type=zstandard.DICT_TYPE_FULLDICT)

    @cached_property
    def codes(self) -> Int32:
        """zstd's prefix code of every byte (RFC 8878, 4.2.1.3): longest codes first, then by value; int32 [256]."""
        codes = np.zeros(256, np.int32)
        first = 0
        for length in range(HUFFMAN_MAX_BITS, 0, -1):
            members = np.flatnonzero(self.lengths == length)
            codes[members] = first + np.arange(len(members))
            first = (first + len(members)) >> 1
        return codes

    @cached_property
    def mean(self) -> int:
        """Mean code length in 1/2048 bit, if each byte is as probable as its code length says."""
        lengths = self.lengths[self.lengths > 0].astype(np.int64)
        return int((lengths << (HUFFMAN_MAX_BITS - lengths)).sum())

    def check(self) -> None:
        """Raise ValueError unless libzstd decodes with `content` what `lengths` encode."""
        alphabet = np.flatnonzero(self.lengths).astype(np.uint8)
        part = StoredPart(len(alphabet), Mode.BLOCK_WITH_DICTIONARY, _huffman_coded(alphabet, self))
        try:
            found = decompress(part, self)
        except CorruptError as error:
            raise ValueError("a dictionary does not match its code lengths") from error
        if found != alphabet.tobytes():
            raise ValueError("a dictionary does not match its code lengths")


def _huffman_coded(data: UInt8, dictionary: Dictionary) -> bytes:
    """Bytes uint8 [n] in a dictionary's code: one stream, or a jump table and four streams (RFC 8878, 3.1.1.3.1)."""
    if len(data) < FOUR_STREAMS_FROM:
        return _huffman_stream(data, dictionary)
    quarter = -(-len(data) // 4)
    streams = [_huffman_stream(data[i * quarter : (i + 1) * quarter], dictionary) for i in range(4)]
    return b"".join(len(s).to_bytes(2, "little") for s in streams[:3]) + b"".join(streams)


def _huffman_coded_size(data: UInt8, dictionary: Dictionary) -> int:
    """An estimate of the length of `_huffman_coded`; more than the data itself if a byte has no code."""
    lengths = dictionary.lengths[data]
    if not lengths.all():
        return len(data) + 1
    return int(lengths.sum(dtype=np.int64)) // 8 + (1 if len(data) < FOUR_STREAMS_FROM else 5)


def _huffman_stream(data: UInt8, dictionary: Dictionary) -> bytes:
    """A Huffman-coded stream (RFC 8878, 4.2.2): a little-endian number of the codes, first code on top, below a final 1."""
    widths = dictionary.lengths[data]
    fill = 8 - int(widths.sum(dtype=np.int64)) % 8  # the final 1 and the zeros above it
    values = np.concatenate([np.ones(1, np.int32), dictionary.codes[data]])
    return pack_bits(values, np.concatenate([np.array([fill], np.uint8), widths]))[::-1]


def _frame_of(literals: bytes, size: int, block_type: int) -> bytes:
    """A frame, less its head (`_head`), of one block with a literals section of this content and no sequences (RFC 8878, 3.1.1).

    `size` is the Regenerated_Size. Raises CorruptError if it or the content is too long for the header.
    """
    single = 256 if block_type == _COMPRESSED else FOUR_STREAMS_FROM
    size_format, width = (0, 10) if size < single else (1, 10) if size < 1024 else (2, 14) if size < 1 << 14 else (3, 18)
    if len(literals) >= 1 << width or max(size, len(literals)) > MAX_BLOCK:
        raise CorruptError("corrupt file: a block is longer than its header allows")
    header = block_type | size_format << 2 | size << 4 | len(literals) << (4 + width)
    section = header.to_bytes((4 + 2 * width) // 8, "little") + literals + b"\0"
    return (1 | 2 << 1 | len(section) << 3).to_bytes(3, "little") + section


def _block_of(frame: bytes, size: int) -> bytes | None:
    """The inverse of `_frame_of` for compressed literals; None if the frame holds anything else."""
    header = 3 if size < 1024 else 4 if size < 1 << 14 else 5
    literals = frame[3 + header : -1]
    if size > MAX_BLOCK or len(literals) >= size or _frame_of(literals, size, _COMPRESSED) != frame:
        return None
    return literals


def _head(window_log: int) -> bytes:
    """Magic number and frame header: no content size, checksum or dictionary id; a window of 1 << window_log bytes.

    `FORMAT_ZSTD1_MAGICLESS` would make the magic number needless, but zstandard before 0.24 cannot decompress such a frame in one
    call.
    """
    return zstandard.FRAME_HEADER + bytes((0, (window_log - 10) << 3))


def _window_log_of(size: int) -> int:
    """The binary logarithm of the smallest window, at least 128 KiB and at most 128 MiB, that holds `size` bytes."""
    return min(max(_WINDOW_LOG, (size - 1).bit_length()), _MAX_WINDOW_LOG)


def compress(data: bytes, dictionary: Dictionary | None, levels: tuple[int, ...]) -> StoredPart:
    """The smallest way to store `data`; the inverse of `decompress`. `levels` of zstd are tried."""
    part = StoredPart(len(data), Mode.VERBATIM, data)
    for level in levels if len(data) >= _FRAME_FROM else ():
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level,
            window_log=_WINDOW_LOG,
            write_content_size=0,
            write_checksum=0,
            write_dict_id=0,
        )
        part = min(part, _compressed(data, parameters), key=lambda entry: len(entry.data))
    symbols = np.frombuffer(data, np.uint8)
    if dictionary is not None and len(data) <= MAX_BLOCK and _huffman_coded_size(symbols, dictionary) <= len(part.data):
        return StoredPart(len(data), Mode.BLOCK_WITH_DICTIONARY, _huffman_coded(symbols, dictionary))
    return part


def decompress(part: StoredPart, dictionary: Dictionary | None) -> bytes:
    """The `part.size` bytes of a part; the inverse of `compress`. Raises CorruptError for any other size."""
    return _decompressed(part, dictionary, _WINDOW_LOG)


def compress_whole(data: bytes, levels: tuple[int, ...]) -> StoredPart:
    """The smallest way to store `data` with a window that holds all of it; the inverse of `decompress_whole`.

    `levels` of zstd are tried. Their tables have the size of the data, so level 22 is possible.
    """
    part = StoredPart(len(data), Mode.VERBATIM, data)
    for level in levels if len(data) > _HEAD_BYTES else ():
        usual = zstandard.ZstdCompressionParameters.from_level(level, source_size=len(data))
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level,
            source_size=len(data),
            window_log=_window_log_of(len(data)),
            chain_log=min(usual.chain_log, _MAX_TABLE_LOG),
            hash_log=min(usual.hash_log, _MAX_TABLE_LOG),
            write_content_size=0,
            write_checksum=0,
            write_dict_id=0,
        )
        part = min(part, _compressed(data, parameters), key=lambda entry: len(entry.data))
    return part


def decompress_whole(part: StoredPart) -> bytes:
    """The `part.size` bytes of a part; the inverse of `compress_whole`. Raises CorruptError for any other size."""
    return _decompressed(part, None, _window_log_of(part.size))


def compress_after(data: bytes, content: bytes, level: int) -> bytes:
    """A frame of `data`, without its head, that refers to the raw `content` of a dictionary; the inverse of `decompress_after`."""
    size = len(data) + len(content)
    parameters = zstandard.ZstdCompressionParameters.from_level(
        level, source_size=size, window_log=_window_log_of(size), write_content_size=0, write_checksum=0, write_dict_id=0
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters, dict_data=_raw(content))
    return compressor.compress(data)[_HEAD_BYTES:]


def decompress_after(frame: bytes, size: int, content: bytes) -> bytes:
    """The `size` bytes of a frame that refers to the raw `content` of a dictionary. Raises CorruptError for any other size."""
    window_log = _window_log_of(size + len(content))
    return _decompress_frame(frame, size, _raw(content), window_log)


def _raw(content: bytes) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def _compressed(data: bytes, parameters: zstandard.ZstdCompressionParameters) -> StoredPart:
    """`data` as a frame, or as a block where the frame holds nothing else."""
    frame = zstandard.ZstdCompressor(compression_params=parameters).compress(data)[_HEAD_BYTES:]
    block = _block_of(frame, len(data))
    return StoredPart(len(data), Mode.FRAME, frame) if block is None else StoredPart(len(data), Mode.BLOCK, block)


def _decompressed(part: StoredPart, dictionary: Dictionary | None, window_log: int) -> bytes:
    """The `part.size` bytes of a part. Raises CorruptError for any other size.

    Frames have our own head, so they cannot declare a content size, and at most `part.size` bytes are allocated.
    """
    data = part.data
    if part.mode != Mode.VERBATIM:
        frame, given = part.data, None
        if part.mode == Mode.BLOCK:
            frame = _frame_of(part.data, part.size, _COMPRESSED)
        elif part.mode == Mode.BLOCK_WITH_DICTIONARY and dictionary is not None:
            frame, given = _frame_of(part.data, part.size, _TREELESS), dictionary
        return _decompress_frame(frame, part.size, given.zstd if given else None, window_log)
    if len(data) != part.size:
        raise CorruptError("corrupt file: decompressed data has the wrong size")
    return data


def _decompress_frame(frame: bytes, size: int, dictionary: zstandard.ZstdCompressionDict | None, window_log: int) -> bytes:
    """The `size` bytes of a frame without its head. Raises CorruptError for any other size."""
    try:
        decompressor = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=1 << window_log)
        data = decompressor.decompress(_head(window_log) + frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise CorruptError("corrupt file: a zstd frame does not decompress") from error
    if len(data) != size:
        raise CorruptError("corrupt file: decompressed data has the wrong size")
    return data

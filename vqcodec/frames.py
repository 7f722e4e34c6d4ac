"""Bytes <-> what is stored of them: themselves, a zstd frame, or the one Huffman block of a frame.

The model's dictionaries are Huffman codes and nothing else: their content is 8 zeros. A short part
coded with one needs none of the 12 bytes of headers around it, which all follow from its two lengths: it is stored *bare*.
zstd gives up on parts of less than about 40 bytes, so the encoder writes bare blocks itself, by the code lengths that the
model holds beside each dictionary; it is zstd that reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from vqcodec.bits import pack_bits
from vqcodec.container import BARE, FRAME, FRAME_WITH_DICTIONARY, MAX_BARE, VERBATIM
from vqcodec.errors import CorruptError

HUFFMAN_MAX_BITS: Final = 11
"""zstd's limit for literals."""
FAST_LEVELS: Final = (1,)
LEVELS: Final = (1, 9, 19)
_FRAME_FROM: Final = 64
"""Bytes below which a frame with a code of its own cannot pay."""
_HEAD: Final = bytes((0x00, 0x38))
"""Frame header (no content size, checksum or dictionary id; window of 128 KiB), the same for every frame: not stored."""
_WINDOW_LOG: Final = 17


@dataclass(frozen=True, eq=False)
class Dictionary:
    """A Huffman code known to both sides: a whole zstd dictionary, and its code length for every byte (0: none), uint8 [256]."""

    content: bytes
    lengths: NDArray[np.uint8]

    @cached_property
    def zstd(self) -> zstandard.ZstdCompressionDict:
        return zstandard.ZstdCompressionDict(self.content, dict_type=zstandard.DICT_TYPE_FULLDICT)

    @cached_property
    def codes(self) -> NDArray[np.int32]:
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
        alphabet = np.flatnonzero(self.lengths).astype(np.uint8).tobytes()
        lengths = self.lengths[self.lengths > 0].astype(np.int64)
        whole = 1 << HUFFMAN_MAX_BITS
        if len(alphabet) < 2 or lengths.max() > HUFFMAN_MAX_BITS or (whole >> lengths).sum() != whole:
            raise ValueError("a dictionary's code is not complete")
        try:
            found = decompress(BARE, _bare(alphabet, self), len(alphabet), self)
        except CorruptError as error:
            raise ValueError("a dictionary is not what its code lengths say") from error
        if found != alphabet:
            raise ValueError("a dictionary is not what its code lengths say")


def _bare(data: bytes, dictionary: Dictionary) -> bytes:
    """The literals of a block: the codes in order below a 1 that marks the top of a little-endian number (RFC 8878, 4.2.2)."""
    symbols = np.frombuffer(data, np.uint8)
    widths = dictionary.lengths[symbols]
    fill = 8 - int(widths.sum(dtype=np.int64)) % 8  # the mark and the zeros above it
    values = np.concatenate([np.ones(1, np.int32), dictionary.codes[symbols]])
    return pack_bits(values, np.concatenate([np.array([fill], np.uint8), widths]))[::-1]


def _wrapped(literals: bytes, size: int) -> bytes:
    """A frame of one block of `size` literals in the dictionary's code and no sequences (RFC 8878, 3.1.1); undoes `_bare`."""
    section = (3 | size << 4 | len(literals) << 14).to_bytes(3, "little") + literals + b"\0"
    block = 1 | 2 << 1 | len(section) << 3
    return _HEAD + block.to_bytes(3, "little") + section


def compress(data: bytes, dictionary: Dictionary | None, levels: tuple[int, ...]) -> tuple[int, bytes]:
    """The smallest way to store `data`: (mode, bytes), mode as in container.py."""
    found = [(VERBATIM, data)]
    covered = dictionary is not None and bool(dictionary.lengths[np.frombuffer(data, np.uint8)].all())
    if dictionary is not None and covered and len(data) <= MAX_BARE:
        found.append((BARE, _bare(data, dictionary)))
    for level in levels if len(data) >= _FRAME_FROM else ():
        parameters = zstandard.ZstdCompressionParameters.from_level(
            level,
            window_log=_WINDOW_LOG,
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
            write_content_size=0,
            write_checksum=0,
            write_dict_id=0,
        )
        for mode, given in ((FRAME_WITH_DICTIONARY, dictionary.zstd if dictionary else None), (FRAME, None)):
            if mode == FRAME or (covered and len(data) > MAX_BARE):
                compressor = zstandard.ZstdCompressor(compression_params=parameters, dict_data=given)
                found.append((mode, compressor.compress(data)[len(_HEAD) :]))
    return min(found, key=lambda entry: len(entry[1]))


def decompress(mode: int, stored: bytes, size: int, dictionary: Dictionary | None) -> bytes:
    """Exactly `size` bytes out of what `compress` stored; raises CorruptError otherwise.

    The head is ours, so a frame cannot declare a content size of its own: at most `size` bytes are allocated.
    """
    if mode == VERBATIM:
        data = stored
    else:
        given = None if mode == FRAME or dictionary is None else dictionary.zstd
        frame = _wrapped(stored, size) if mode == BARE else _HEAD + stored
        decompressor = zstandard.ZstdDecompressor(
            dict_data=given, format=zstandard.FORMAT_ZSTD1_MAGICLESS, max_window_size=1 << _WINDOW_LOG
        )
        try:
            data = decompressor.decompress(frame, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise CorruptError("corrupt file: a zstd frame does not decompress") from error
    if len(data) != size:
        raise CorruptError("corrupt file: a zstd frame has another size than its stream")
    return data

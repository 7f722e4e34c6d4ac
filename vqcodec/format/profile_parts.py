"""ICC profiles <-> the section of files with a graphic model: compressed with the profiles of the model as their dictionary.

    varint    size of the profile, 1..2**24 bytes
    bytes     a zstd frame without its magic number and without the next two bytes, which are as in palettes.py; here the window
              holds the profile and the dictionary together

The dictionary is all profiles of the model, one after the other, as raw content; it has 8 bytes or more. The frame decompresses to
exactly the size.
"""

from __future__ import annotations

from typing import Final

from vqcodec.errors import CorruptError
from vqcodec.format import zstd_blocks
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.header import MAX_METADATA

LEAST_CONTENT: Final = 8
"""Least bytes of a dictionary for zstd."""
_LEVEL: Final = 19


def write(profile: bytes, content: bytes) -> bytes:
    """The section of a profile; the inverse of `read`. `content` has LEAST_CONTENT bytes or more."""
    return write_varint(len(profile)) + zstd_blocks.compress_after(profile, content, _LEVEL)


def read(data: bytes, content: bytes) -> bytes:
    """The profile of a section. Raises CorruptError, TruncatedError."""
    reader = ByteReader(data)
    size = reader.varint()
    if not 0 < size <= MAX_METADATA or len(content) < LEAST_CONTENT:
        raise CorruptError("corrupt file: an ICC profile of no or too many bytes, or one that is not in the model")
    return zstd_blocks.decompress_after(data[reader.cursor :], size, content)

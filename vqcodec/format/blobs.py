"""Blobs: bytes with their size in front, compressed. Packs hold their directories in them, packs and files the models inside."""

from __future__ import annotations

from typing import Final

from vqcodec.errors import CorruptError
from vqcodec.format import zstd_blocks
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.palettes import read_part, write_part

_LEVELS: Final = (19,)


def write_blob(data: bytes) -> bytes:
    """A blob; the inverse of `read_blob`."""
    return write_varint(len(data)) + write_part(zstd_blocks.compress_whole(data, _LEVELS), 0)


def read_blob(reader: ByteReader, most: int) -> bytes:
    """The bytes of a blob, at most `most`. Raises CorruptError, TruncatedError."""
    size = reader.varint()
    if size > most:
        raise CorruptError(f"corrupt file: a blob of {size} bytes, of which at most {most} are allowed")
    return read_part(reader, size).tobytes()

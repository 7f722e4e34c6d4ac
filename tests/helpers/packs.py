"""Packs made from bytes, without encoding pictures."""

import io
import zlib
from collections.abc import Sequence

from vqcodec.format import pack
from vqcodec.format.pack import Directory, Entry, PackFile, Record


def pack_of(chunks: Sequence[dict[str, bytes]]) -> bytes:
    """A pack whose chunks hold whole files by name. All chunks are one run."""
    data, records = bytearray(pack.HEAD), list[Record]()
    for files in chunks:
        entries = [Entry(name, 0, len(file), zlib.crc32(file)) for name, file in files.items()]
        record = pack.write_record(pack.CHUNK, pack.write_directory(Directory(entries)), b"".join(files.values()))
        records.append(Record(pack.CHUNK, len(data), len(record), len(entries), entries[0].name))
        data += record
    return bytes(data + pack.write_index(records, [0] if records else [], len(data)))


def opened(data: bytes, *, allow_partial: bool = False) -> PackFile:
    return PackFile(io.BytesIO(data), allow_partial=allow_partial)

"""The .vqzs pack format, version 0.1: many pictures in one file, each of which decodes alone. This docstring is the specification.

Integers, varints, *reserved* and checksums are those of container.py; u32 and u64 have 4 and 8 bytes. `part(n)` is a part of
palettes.py that decompresses to n bytes; `blob` is a varint n and part(n).

1. FILE
=======
    8 bytes   magic               89 56 51 53 0D 0A 1A 0A
    1 byte    version             16 * major + minor: 01
    records                       one after the other, without gaps; the index is the last one
    8 bytes   u64                 offset of the index            )
    u32       checksum            CRC-32 of these 8 bytes        ) footer
    4 bytes   end                 56 51 53 0A                    )

A record can be found by its magic and understood without the others, so a pack that is cut or damaged is read by scanning.
    4 bytes   magic               B1 56 51 and the type: 43 chunk, 49 index, 4D model; others are reserved
    u32       head length         at most 2**26
    u32       body length
    u32       checksum            CRC-32 of the 12 bytes before and of the head
    head
    body                          empty in an index

2. CHUNK
========
A chunk holds pictures that are neighbours in order of name. Its head is the directory, a blob of at most 2**20 bytes; then a u32
for each picture, the CRC-32 of its stored bytes. Its body is the stored bytes of the pictures. The directory has
    varint    n                   number of pictures, 1..1024
    varint    templates           number of templates, at most n; then each: varint length, bytes
  * n names   varint              bytes that the name shares with the one before, varint: further bytes, then these
  * n kinds   varint              0: the stored bytes are a .vqz file; k > 0: the picture is coded with template k - 1
  * n sizes   varint              stored bytes
  * n steps   u16                 for coded pictures only: quantiser step in 1/64 grey level

Names are relative POSIX paths in UTF-8 of at most 4096 bytes, in strictly ascending order of these. Empty parts, the parts . and ..
and the byte 0 are refused. No two pictures of a pack have the same name.

A template is a .vqz file whose index section is empty, with step 1 and merge map 0, without its magic and the checksum of its
header. It has one layer and one tile group, and neither tokens nor other sections. A coded picture has this header with the step of
the directory. Its stored bytes are those of symbol_coder.py, in place of an index section.

3. MODEL
========
The head is 6 bytes, the start of the model's id, and a u32, the CRC-32 of the body. The body is two blobs of at most 2**26 bytes,
model.json and model.safetensors (folder.py). A reader uses the model for pictures that name it, and only if the hash of its tensors
begins with the id.

4. INDEX
========
The head is a varint, the number of records before the index, at most the bytes of the pack / 16; and a blob of at most 4120 bytes
for each of them, with, in their order,
    1 byte    type                bits 0-6 as in the record; bit 7, of chunks: the first of a run
    varint    length              bytes of the whole record
  and for chunks
    varint    pictures
    name      as in the directory; shared bytes are those with the first name of the chunk before

Names ascend from chunk to chunk within a run, so one picture takes the footer, the index, one head and the picture's own bytes.
Appending to a pack writes new chunks in a run of their own in place of the old index, and then a new index.

5. EXAMPLE
==========
A pack with one picture, "a", whose file is the five bytes 01 02 03 04 05 (which no decoder takes), in 84 bytes.

    89 56 51 53 0D 0A 1A 0A   magic
    01                        version 0.1
    B1 56 51 43               a chunk
    0D 00 00 00               13 bytes of head
    05 00 00 00               5 bytes of body
    F8 96 A3 B5               checksum
    07                        the directory has 7 bytes
    00                        part: verbatim
    01 00                     one picture, no templates
    00 01 61                  its name: 0 bytes of the one before, and "a"
    00 05                     a file of 5 bytes
    F4 99 0B 47               its checksum
    01 02 03 04 05            the file
    B1 56 51 49               the index
    09 00 00 00               9 bytes of head
    00 00 00 00               no body
    1E CB B7 AD               checksum
    01                        one record
    06                        the list has 6 bytes
    00                        part: verbatim
    C3 22                     a chunk that begins a run, of 34 bytes
    01                        one picture
    00 01 61                  the first is "a"
    2B 00 00 00 00 00 00 00   offset of the index
    69 A1 3E C1               checksum
    56 51 53 0A               end

6. CHANGES
==========
    0.1   first version
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from io import SEEK_END
from itertools import accumulate
from typing import BinaryIO, Final, NamedTuple

from vqcodec.errors import CorruptError, FormatError, TruncatedError, UnsupportedError, printable
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.blobs import read_blob, write_blob

MAGIC: Final = bytes((0x89, 0x56, 0x51, 0x53, 0x0D, 0x0A, 0x1A, 0x0A))
VERSION: Final = 0x01
HEAD: Final = MAGIC + bytes((VERSION,))
"""The bytes before the first record."""
CHUNK, INDEX, MODEL = b"CIM"
"""Types of records."""
MAX_PICTURES: Final = 1024
"""Most pictures of a chunk."""
MAX_NAME: Final = 4096
"""Most bytes of a name."""
MAX_DIRECTORY: Final = 1 << 20
"""Most bytes of a directory."""
MAX_HEAD: Final = 1 << 26
"""Most bytes of a head."""
ID_BYTES: Final = 6
_RECORD_MAGIC: Final = b"\xb1VQ"
_RECORD_BYTES: Final = 16
"""Bytes of a record before its head."""
_MOST_LISTED: Final = MAX_NAME + 24
"""Most bytes that the index has for a record."""
_END: Final = b"VQS\n"
FOOTER_BYTES: Final = 16
_NEW_RUN: Final = 0x80
_WINDOW_BYTES: Final = 1 << 20
"""Bytes that are searched for a record's magic at a time."""


def check_name(name: str) -> None:
    """Raise CorruptError unless a name is a relative path that stays in its folder."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        size = 0
    parts = name.split("/")
    if not 0 < size <= MAX_NAME or "\0" in name or any(part in ("", ".", "..") for part in parts):
        raise CorruptError(f"corrupt pack: the name {printable(name[:80])!r} is not a relative path")


# ------------------------------------------------------------------------------------------------ records


class Record(NamedTuple):
    """A record of a pack."""

    type: int
    offset: int
    length: int
    """Bytes of the whole record."""
    pictures: int = 0
    first: str = ""
    """Name of the first picture of a chunk."""


def write_record(kind: int, head: bytes, body: bytes = b"") -> bytes:
    """A record."""
    start = _RECORD_MAGIC + bytes((kind,)) + len(head).to_bytes(4, "little") + len(body).to_bytes(4, "little")
    return start + zlib.crc32(head, zlib.crc32(start)).to_bytes(4, "little") + head + body


def _write_name(name: bytes, before: bytes) -> bytes:
    """A name after another one; the inverse of `_read_name`."""
    shared = next((i for i, (a, b) in enumerate(zip(name, before, strict=False)) if a != b), min(len(name), len(before)))
    return write_varint(shared) + write_varint(len(name) - shared) + name[shared:]


def _read_name(reader: ByteReader, before: bytes) -> bytes:
    """The bytes of a name, unchecked. Raises CorruptError, TruncatedError."""
    shared, rest = reader.varint(), reader.varint()
    if shared > len(before) or shared + rest > MAX_NAME:
        raise CorruptError("corrupt pack: an invalid name")
    return before[:shared] + reader.take(rest)


def _text(name: bytes) -> str:
    """A checked name."""
    try:
        text = name.decode()
    except UnicodeDecodeError as error:
        raise CorruptError("corrupt pack: a name is not UTF-8") from error
    check_name(text)
    return text


# ------------------------------------------------------------------------------------------------ chunks


@dataclass(frozen=True)
class Entry:
    """A picture of a chunk."""

    name: str
    kind: int
    """0: the stored bytes are a file; k > 0: coded with template k - 1."""
    size: int
    """Stored bytes."""
    checksum: int
    step_64: int = 0
    """Quantiser step in 1/64 grey level of a coded picture."""


@dataclass(frozen=True)
class Directory:
    """The head of a chunk."""

    entries: list[Entry]
    templates: list[bytes] = field(default_factory=list)


def write_directory(directory: Directory) -> bytes:
    """The head of a chunk; the inverse of `read_directory`."""
    entries = directory.entries
    out = bytearray(write_varint(len(entries)) + write_varint(len(directory.templates)))
    for template in directory.templates:
        out += write_varint(len(template)) + template
    before = b""
    for entry in entries:
        name = entry.name.encode()
        out += _write_name(name, before)
        before = name
    for entry in entries:
        out += write_varint(entry.kind)
    for entry in entries:
        out += write_varint(entry.size)
    for entry in entries:
        out += entry.step_64.to_bytes(2, "little") if entry.kind else b""
    return write_blob(bytes(out)) + b"".join(entry.checksum.to_bytes(4, "little") for entry in entries)


def read_directory(head: bytes) -> Directory:
    """The directory in the head of a chunk. Raises CorruptError, TruncatedError."""
    outer = ByteReader(head)
    reader = ByteReader(read_blob(outer, MAX_DIRECTORY))
    count, templates = reader.varint(), reader.varint()
    if not 1 <= count <= MAX_PICTURES or templates > count:
        raise CorruptError(f"corrupt pack: a chunk of {count} pictures and {templates} templates")
    found = [reader.take(reader.varint()) for _ in range(templates)]
    names, before = list[str](), b""
    for _ in range(count):
        name = _read_name(reader, before)
        if name <= before:
            raise CorruptError("corrupt pack: names are not in order")
        names.append(_text(name))
        before = name
    kinds = [reader.varint() for _ in range(count)]
    sizes = [reader.varint() for _ in range(count)]
    steps = [reader.integer(2) if kind else 0 for kind in kinds]
    checksums = [outer.integer(4) for _ in range(count)]
    wrong = max(kinds) > templates or any(kind and not step for kind, step in zip(kinds, steps, strict=True))
    if wrong or reader.cursor != len(reader.data) or outer.cursor != len(head):
        raise CorruptError("corrupt pack: the directory of a chunk is invalid")
    rows = zip(names, kinds, sizes, checksums, steps, strict=True)
    return Directory([Entry(*row) for row in rows], found)


# ------------------------------------------------------------------------------------------------ index


def write_index(records: Sequence[Record], runs: Sequence[int], offset: int) -> bytes:
    """The index at an offset, and the footer; the inverse of `read_index`. `runs`: numbers of the chunks that begin a run."""
    out, before = bytearray(), b""
    for number, record in enumerate(records):
        out += bytes((record.type | (_NEW_RUN if number in runs else 0),)) + write_varint(record.length)
        if record.type == CHUNK:
            name = record.first.encode()
            out += write_varint(record.pictures) + _write_name(name, before)
            before = name
    place = offset.to_bytes(8, "little")
    footer = place + zlib.crc32(place).to_bytes(4, "little") + _END
    return write_record(INDEX, write_varint(len(records)) + write_blob(bytes(out))) + footer


def read_index(head: bytes, pack_bytes: int) -> tuple[list[Record], list[int]]:
    """The records that an index lists, and the numbers of the chunks that begin a run. Raises CorruptError, TruncatedError."""
    outer = ByteReader(head)
    count = outer.varint()
    reader = ByteReader(read_blob(outer, min(count, pack_bytes // _RECORD_BYTES) * _MOST_LISTED))
    if outer.cursor != len(head) or count > len(reader.data):
        raise CorruptError("corrupt pack: the index is invalid")
    records, runs, offset, before = list[Record](), list[int](), len(HEAD), b""
    for number in range(count):
        kind, length = reader.byte(), reader.varint()
        pictures, first = 0, ""
        if kind & _NEW_RUN:
            runs.append(number)
        if kind & ~_NEW_RUN == CHUNK:
            pictures, before = reader.varint(), _read_name(reader, before)
            first = _text(before)
        elif kind != MODEL:
            raise CorruptError("corrupt pack: the index has a record of an unknown type")
        if length < _RECORD_BYTES:
            raise CorruptError("corrupt pack: the index has a record without content")
        records.append(Record(kind & ~_NEW_RUN, offset, length, pictures, first))
        offset += length
    if reader.cursor != len(reader.data):
        raise CorruptError("corrupt pack: bytes are left over in the index")
    return records, runs


# ------------------------------------------------------------------------------------------------ models


class StoredModel(NamedTuple):
    """A model in a pack: the start of its id, and its bytes (embedded.py in weights/)."""

    model_id: bytes
    data: bytes


def write_model(model: StoredModel) -> bytes:
    """The record of a model."""
    return write_record(MODEL, model.model_id + zlib.crc32(model.data).to_bytes(4, "little"), model.data)


def read_model(head: bytes, body: bytes) -> StoredModel:
    """The inverse of `write_model`. Raises CorruptError."""
    if len(head) != ID_BYTES + 4 or zlib.crc32(body) != int.from_bytes(head[ID_BYTES:], "little"):
        raise CorruptError("corrupt pack: the checksum of a model is wrong")
    return StoredModel(head[:ID_BYTES], body)


# ------------------------------------------------------------------------------------------------ reading


class Place(NamedTuple):
    """A picture in a pack: its chunk and its entry there, and the offset of its bytes."""

    record: Record
    directory: Directory
    entry: Entry
    offset: int


class Lost(NamedTuple):
    """A part of a pack that cannot be read: the name of a picture, or a description; and the reason."""

    name: str
    reason: str


class PackFile:
    """An open pack: its records, and pictures found by name. Chunks are read when a picture of theirs is asked for."""

    def __init__(self, source: BinaryIO, *, allow_partial: bool = False) -> None:
        """Read the index from a seekable stream. Raises FormatError and its subclasses.

        With `allow_partial`, a pack whose index is missing or damaged is scanned; then `scanned` is set.
        """
        self._source = source
        self.size = source.seek(0, SEEK_END)
        self.read_bytes = 0
        """Bytes read so far."""
        self.scanned = False
        self.gaps: list[Lost] = []
        """Ranges that a scan found to be no records."""
        self._check_head()
        try:
            self.records, runs = self._read_index()
        except FormatError:
            if not allow_partial:
                raise
            self.scanned = True
            self.records, runs = self._scan()
        self._runs = self._chunks_by_run(runs)
        self._last: tuple[Record, Directory, list[int]] | None = None

    def _chunks_by_run(self, runs: Sequence[int]) -> list[list[Record]]:
        """The chunks of each run, in order of their first names. Raises CorruptError."""
        starts, found = set(runs), list[list[Record]]()
        for number, record in enumerate(self.records):
            if record.type != CHUNK:
                continue
            if number in starts or not found:
                found.append([])
            elif record.first <= found[-1][-1].first:
                raise CorruptError("corrupt pack: the chunks of the index are not in order")
            found[-1].append(record)
        return found

    def _check_head(self) -> None:
        head = self._read(0, len(HEAD))
        if head[: len(MAGIC)] != MAGIC[: len(head)]:
            raise FormatError("not a .vqzs pack")
        if len(head) < len(HEAD):
            raise TruncatedError("truncated pack")
        if head[-1] != VERSION:
            raise UnsupportedError(
                f"unsupported pack: its format version is {head[-1] >> 4}.{head[-1] & 15}; this vqcodec reads 0.1"
            )

    def _read(self, offset: int, length: int) -> bytes:
        """The `length` bytes from an offset on, or fewer if the file ends before."""
        self._source.seek(offset)
        parts = []
        while length > 0 and (part := self._source.read(length)):
            parts.append(part)
            length -= len(part)
            self.read_bytes += len(part)
        return b"".join(parts)

    def _read_index(self) -> tuple[list[Record], list[int]]:
        footer = self._read(max(0, self.size - FOOTER_BYTES), FOOTER_BYTES)
        place = footer[:8]
        if footer[12:] != _END or zlib.crc32(place) != int.from_bytes(footer[8:12], "little"):
            raise TruncatedError("truncated pack: its end is missing (--allow-partial reads what is left)")
        offset = int.from_bytes(place, "little")
        if not len(HEAD) <= offset <= self.size - FOOTER_BYTES - _RECORD_BYTES:
            raise CorruptError("corrupt pack: its index is outside of it")
        index, head = self._record(offset)
        if index.type != INDEX or index.offset + index.length != self.size - FOOTER_BYTES:
            raise CorruptError("corrupt pack: its index is not at its end")
        records, runs = read_index(head, self.size)
        if (records[-1].offset + records[-1].length if records else len(HEAD)) != offset:
            raise CorruptError("corrupt pack: the records do not end at the index")
        return records, runs

    def _record(self, offset: int) -> tuple[Record, bytes]:
        """The record at an offset, without the facts of a chunk, and its head. Raises CorruptError, TruncatedError."""
        start = self._read(offset, _RECORD_BYTES)
        if len(start) < _RECORD_BYTES:
            raise TruncatedError("truncated pack")
        head_bytes, body_bytes, checksum = (int.from_bytes(start[i : i + 4], "little") for i in (4, 8, 12))
        if start[:3] != _RECORD_MAGIC or start[3] not in (CHUNK, INDEX, MODEL):
            raise CorruptError("corrupt pack: no record where one should be")
        if head_bytes > min(MAX_HEAD, self.size - offset):
            raise CorruptError("corrupt pack: the head of a record is too long")
        head = self._read(offset + _RECORD_BYTES, head_bytes)
        if zlib.crc32(head, zlib.crc32(start[:12])) != checksum:
            raise CorruptError("corrupt pack: the checksum of a record is wrong")
        return Record(start[3], offset, _RECORD_BYTES + head_bytes + body_bytes), head

    def head(self, record: Record) -> bytes:
        """The head of a listed record. Raises CorruptError, TruncatedError."""
        found, head = self._record(record.offset)
        if (found.type, found.length) != (record.type, record.length):
            raise CorruptError("corrupt pack: a record is not that of the index")
        return head

    def body(self, record: Record, head: bytes) -> bytes:
        """The body of a record. Raises TruncatedError."""
        start = record.offset + _RECORD_BYTES + len(head)
        length = record.offset + record.length - start
        body = self._read(start, length) if start + length <= self.size else b""
        if len(body) != length:
            raise TruncatedError("truncated pack")
        return body

    # -------------------------------------------------------------------------------------------- pictures

    def __len__(self) -> int:
        return sum(record.pictures for record in self.records)

    @property
    def end(self) -> int:
        """The offset after the last record before the index."""
        return self.records[-1].offset + self.records[-1].length if self.records else len(HEAD)

    @property
    def chunks(self) -> list[Record]:
        """The chunks in their order in the file."""
        return [record for record in self.records if record.type == CHUNK]

    @property
    def runs(self) -> list[int]:
        """Numbers of the records that begin a run."""
        firsts = {run[0].offset for run in self._runs}
        return [number for number, record in enumerate(self.records) if record.offset in firsts]

    def directory(self, record: Record) -> Directory:
        """The directory of a chunk; that of the last one is kept. Raises CorruptError, TruncatedError."""
        return self._directory(record)[0]

    def _directory(self, record: Record) -> tuple[Directory, list[int]]:
        """The directory of a chunk, and the offset of each picture's bytes."""
        if self._last is not None and self._last[0] is record:
            return self._last[1:]
        head = self.head(record)
        directory = read_directory(head)
        entries = directory.entries
        start = record.offset + _RECORD_BYTES + len(head)
        offsets = [start + before for before in accumulate((entry.size for entry in entries), initial=0)]
        if offsets[-1] != record.offset + record.length:
            raise CorruptError("corrupt pack: the sizes of a chunk are not those of its pictures")
        if (len(entries), entries[0].name) != (record.pictures, record.first):
            raise CorruptError("corrupt pack: a chunk is not that of the index")
        self._last = record, directory, offsets
        return directory, offsets

    def places(self, record: Record) -> list[Place]:
        """The pictures of a chunk. Raises CorruptError, TruncatedError."""
        directory, offsets = self._directory(record)
        return [Place(record, directory, entry, offset) for entry, offset in zip(directory.entries, offsets, strict=False)]

    def find(self, name: str) -> Place | None:
        """The picture with a name; None if there is none. Raises CorruptError, TruncatedError."""
        for run in self._runs:
            number = bisect_right(run, name, key=lambda record: record.first) - 1
            if number < 0:
                continue
            directory, offsets = self._directory(run[number])
            at = bisect_right(directory.entries, name, key=lambda entry: entry.name) - 1
            if directory.entries[at].name == name:
                return Place(run[number], directory, directory.entries[at], offsets[at])
        return None

    def stored(self, place: Place) -> bytes:
        """The stored bytes of a picture. Raises CorruptError, TruncatedError."""
        size = place.entry.size
        data = self._read(place.offset, size) if place.offset + size <= self.size else b""
        if len(data) != size:
            raise TruncatedError("truncated pack: the picture is cut off")
        if zlib.crc32(data) != place.entry.checksum:
            raise CorruptError("corrupt pack: the checksum of the picture is wrong")
        return data

    def models(self) -> Iterator[StoredModel]:
        """The intact models in the pack."""
        for record in self.records:
            if record.type == MODEL:
                with suppress(FormatError):
                    head = self.head(record)
                    yield read_model(head, self.body(record, head))

    # -------------------------------------------------------------------------------------------- damage

    def _scan(self) -> tuple[list[Record], list[int]]:
        """The records that are found without an index, and the numbers of those that begin a run; `gaps` lists what lies between
        them."""
        found, runs, offset, last = list[Record](), list[int](), len(HEAD), b""
        while offset < self.size:
            try:
                record, head = self._record(offset)
                if record.type == CHUNK:
                    entries = read_directory(head).entries
                    record = record._replace(pictures=len(entries), first=entries[0].name)
                    if not runs or record.first.encode() <= last:
                        runs.append(len(found))
                    last = entries[-1].name.encode()
            except FormatError as error:
                after = self._next_magic(offset + 1)
                if after is not None or not self._is_footer(offset):
                    self.gaps.append(Lost(f"bytes {offset} to {self.size if after is None else after}", str(error)))
                offset = self.size if after is None else after
                continue
            if record.type != INDEX:
                found.append(record)
            offset += record.length
        return found, runs

    def _is_footer(self, offset: int) -> bool:
        return self.size - offset == FOOTER_BYTES and self._read(offset + 12, 4) == _END

    def _next_magic(self, offset: int) -> int | None:
        """The offset of the next record's magic from an offset on; None if there is none."""
        while offset < self.size:
            window = self._read(offset, _WINDOW_BYTES)
            at = window.find(_RECORD_MAGIC)
            if at >= 0:
                return offset + at
            offset += max(1, len(window) - len(_RECORD_MAGIC) + 1)
        return None

    def each(self, lost: list[Lost] | None = None) -> Iterator[Place]:
        """All pictures, chunk by chunk. With `lost`, a chunk that cannot be read is added to it, else it is an error."""
        for record in self.chunks:
            try:
                places = self.places(record)
            except FormatError as error:
                if lost is None:
                    raise
                others = f" and {record.pictures - 1} after it" if record.pictures > 1 else ""
                lost.append(Lost(f"{record.first}{others}", str(error)))
                continue
            yield from places

"""Splits .vqz files into the fields of the header, joins them again, and makes broken files."""

import zlib
from collections.abc import Sequence

import numpy as np
import zstandard

from vqcodec.errors import FormatError
from vqcodec.format import container, stream_records
from vqcodec.format.bits import ByteReader
from vqcodec.format.header import Section
from vqcodec.format.zstd_blocks import Mode, StoredPart
from vqcodec.weights.exact import ExactModel

_FIELDS = {"magic": 8, "version": 1, "width": 0, "height": 0, "layout": 1, "flags": 1, "group": 1}
_FIELDS |= {"model": container.ID_BYTES, "step": 2, "map": 1, "grid": 1, "others": 0}
"""Size in bytes of each field of a header, in order; 0 for a varint."""
_TABLED = ("flags", "group", "others")
"""Fields that only a header with a section table has."""

Fields = dict[str, bytes]


def take_apart(data: bytes) -> Fields:
    """The fields of a valid file in order; `table` and `body` (the sections) are last. The header's checksum is left out."""
    _, _, cursor = container.read_header(data)
    fields: Fields = {}
    at = 0
    for name, length in _FIELDS.items():
        tokens = "layout" in fields and fields["layout"][0] & 3 == 3
        there = name not in ("step", "map") if tokens else name != "grid"
        if fields.get("flags", b"\0")[0] & 8 and fields["layout"][0] & 0x30 == 0x30:  # no layers
            there = name not in ("step", "map", "grid") and (name != "model" or bool(fields["flags"][0] & 2))
        if there and (name not in _TABLED or fields["layout"][0] & 0x40):
            end = at + (length or 1)
            while not length and data[end - 1] & 0x80:
                end += 1
            fields[name] = data[at:end]
            at = end
    return fields | {"table": data[at : cursor - 4], "body": data[cursor:]}


def put_together(fields: Fields) -> bytes:
    """A file of any fields, with a valid checksum: the inverse of `take_apart`."""
    head = b"".join(value for name, value in fields.items() if name != "body")
    covered = head if "group" in fields else head + fields["body"]
    return head + zlib.crc32(covered).to_bytes(4, "little") + fields["body"]


def with_synthesis(data: bytes) -> bytes:
    """The file without the statement that "best" is the plain decode, as readers see it that do not know this statement."""
    fields = take_apart(data)
    return put_together(fields | {"flags": bytes((fields["flags"][0] & 0x0F,))} if "flags" in fields else fields)


def resealed(data: bytes) -> bytes:
    """The bytes with right checksums, as far as they have the fields of a file: damage would hardly ever get past these."""
    reader = ByteReader(data)
    try:
        reader.take(9)
        width, height, layout = reader.varint(), reader.varint(), reader.byte()
        flags, group_log2 = (reader.byte(), reader.byte()) if layout & 0x40 else (0, 0)
        layers = (layout >> 4 & 3) + 1
        if layout & 3 == 3 or not flags & 8 or layers < 4:
            reader.take(container.ID_BYTES + (1 if layout & 3 == 3 else 3))
        else:
            layers = 0
            reader.take(container.ID_BYTES if flags & 2 else 0)
        found, fields = bytearray(data), []
        if layout & 0x40:
            others, pixels = reader.varint(), 8 << min(group_log2, 16)
            groups = -(-height // pixels) * -(-width // pixels) if group_log2 else 1
            entries = groups * (layers + (flags >> 3 & 1))
            if entries + others > len(data):
                return data
            for number in range(entries + others):
                reader.take(number >= entries)  # the type
                fields.append((reader.varint(), reader.cursor))
                reader.take(4)
        start = reader.cursor + 4
        for length, place in fields:
            found[place : place + 4] = zlib.crc32(data[start : start + length]).to_bytes(4, "little")
            start += length
        head, rest = found[: reader.cursor], b"" if fields else data[reader.cursor + 4 :]
        reader.take(4)
        found[len(head) : len(head) + 4] = zlib.crc32(rest, zlib.crc32(head)).to_bytes(4, "little")
        return bytes(found)
    except FormatError:
        return data


def index_section(parts: Sequence[bytes | StoredPart], model: ExactModel, merge_map: int, raw: bytes = b"") -> bytes:
    """An index section of the parts of a merge map's streams. Bytes are stored verbatim; missing last parts are empty."""
    means = [stream.means for stream in model.streams[merge_map]]
    found = [p if isinstance(p, StoredPart) else StoredPart(len(p), Mode.VERBATIM, p) for p in parts]
    empty = [StoredPart(0, Mode.VERBATIM, b"")] * (sum(map(len, means)) - len(parts))
    return stream_records.write_streams(found + empty, means, raw)


def bomb(size: int, claimed: int) -> StoredPart:
    """A part that claims a few bytes; its frame is small too but holds `size` zeros."""
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=17, format=zstandard.FORMAT_ZSTD1_MAGICLESS, write_content_size=0, write_checksum=0
    )
    frame = zstandard.ZstdCompressor(compression_params=parameters).compress(bytes(size))
    return StoredPart(claimed, Mode.FRAME, frame[2:])


def broken_files(data: bytes, model: ExactModel) -> dict[str, bytes]:
    """Broken files made of a valid one without a table. The key names the defect."""
    header, sections = container.read_file(data)
    good = take_apart(data)
    tabled = take_apart(container.write_file(header, [*sections, Section(container.ICC, b"profile")]))
    beyond = [part for stream in model.streams[header.merge_map] for part in stream.form.pack(np.array([255], np.uint8))]
    fields = {
        "not-a-vqz": good | {"magic": b"\x89PNG\r\n\x1a\n"},
        "future-version": good | {"version": b"\x90"},
        "no-alpha-plane": tabled | {"flags": b"\x04"},
        "needs-step-map": tabled | {"flags": b"\x01"},
        "no-width": good | {"width": b"\x00"},
        "overlong-number": good | {"width": b"\x81\x00"},
        "too-many-pixels": good | {"width": b"\xff\xff\x03", "height": b"\xff\xff\x03"},
        "unknown-model": good | {"model": bytes(container.ID_BYTES)},
        "critical-section": tabled | {"table": tabled["table"][:-6] + b"\x02" + tabled["table"][-5:]},
        "section-cut-short": tabled | {"body": tabled["body"][:-1]},
        "bomb": good | {"body": index_section([bomb(1 << 24, claimed=100)], model, header.merge_map)},
        "index-not-in-codebook": good | {"body": index_section(beyond, model, header.merge_map)},
    }
    return {name: put_together(each) for name, each in fields.items()} | {"flipped-bit": data[:-1] + bytes((data[-1] ^ 1,))}

"""EXIF data in the form that cameras write."""

import struct

MAKER_NOTE = bytes(range(256)) + b"maker note"
THUMBNAIL = b"\xff\xd8" + b"thumbnail" * 20 + b"\xff\xd9"


def directory(order: str, at: int, entries: dict[int, tuple[int, int, bytes]], following: int) -> bytes:
    """A TIFF directory for offset `at`. Entries are (type, count, value); values over 4 bytes follow the directory."""
    head, values = struct.pack(order + "H", len(entries)), b""
    values_at = at + 2 + 12 * len(entries) + 4
    for tag, (kind, count, value) in sorted(entries.items()):
        head += struct.pack(order + "HHI", tag, kind, count)
        if len(value) > 4:
            head += struct.pack(order + "I", values_at + len(values))
            values += value + b"\0" * (len(value) % 2)
        else:
            head += value.ljust(4, b"\0")
    return head + struct.pack(order + "I", following) + values


def camera(order: str = "<", orientation: int = 6, width: int = 400, height: int = 300, *, thumbnail_last: bool = True) -> bytes:
    """EXIF data with the picture's size in three places, a maker note, and a thumbnail in a second directory."""
    short = lambda value: (3, 1, struct.pack(order + "H", value))  # noqa: E731  # one line says it
    long = lambda value: (4, 1, struct.pack(order + "I", value))  # noqa: E731
    rational = (5, 1, struct.pack(order + "II", 72, 1))
    main_at, exif_at, interop_at, second_at = 8, 300, 800, 900
    thumbnail_at = 1000 if thumbnail_last else 1000 + 50
    main = directory(
        order,
        main_at,
        {
            0x0100: long(width),
            0x0101: long(height),
            0x010F: (2, 6, b"Maker\0"),
            0x0112: short(orientation),
            0x011A: rational,
            0x011B: rational,
            0x0128: short(2),
            0x8769: long(exif_at),
        },
        second_at,
    )
    inner = directory(
        order,
        exif_at,
        {
            0x927C: (7, len(MAKER_NOTE), MAKER_NOTE),
            0xA001: short(1),
            0xA002: long(width),
            0xA003: short(height),
            0xA005: long(interop_at),
        },
        0,
    )
    interop = directory(order, interop_at, {1: (2, 4, b"R98\0"), 0x1001: short(width), 0x1002: short(height)}, 0)
    second = directory(order, second_at, {0x0103: short(6), 0x0201: long(thumbnail_at), 0x0202: long(len(THUMBNAIL))}, 0)
    data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", main_at)
    for at, part in ((main_at, main), (exif_at, inner), (interop_at, interop), (second_at, second), (thumbnail_at, THUMBNAIL)):
        assert len(data) <= at
        data = data.ljust(at, b"\0") + part
    return data if thumbnail_last else data + b"the end"

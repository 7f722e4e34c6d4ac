"""EXIF as bytes, from its TIFF header on: read and changed in place, so that maker notes, whose offsets count from its start, stay
intact (EXIF 2.32, section 4.6). What is broken is given back as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Bool

PREFIX: Final = b"Exif\0\0"
"""Before EXIF in JPEG files, and in Pillow's hands."""
ORIENTATION: Final = 0x0112
EXIF_IFD, GPS_IFD, _INTEROP_IFD = 0x8769, 0x8825, 0xA005
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_COLOUR_SPACE, _INTEROP_INDEX = 0xA001, 0x0001
_THUMBNAIL, _THUMBNAIL_BYTES, _STRIPS, _STRIP_BYTES = 0x0201, 0x0202, 0x0111, 0x0117
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_MOST_ENTRIES: Final = 4096
"""Entries of a directory that are read; later ones are ignored."""

Resolution = tuple[float, float]
"""Pixels per inch, across and down."""


class _Entry(NamedTuple):
    """`at`: where its 12 bytes begin; `value_at`: where its value of `size` bytes does."""

    at: int
    type: int
    value_at: int
    size: int


class _Directory(NamedTuple):
    """`next_at`: where the offset of the directory after it stands."""

    start: int
    entries: dict[int, _Entry]
    next_at: int


class _Tree:
    """The directories of EXIF; raises struct.error or ValueError where not even the first can be read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        if data[:2] not in (b"II", b"MM"):
            raise ValueError("no byte order")
        self.order = "<" if data[:2] == b"II" else ">"
        self.main = self._directory(self.unpack("I", 4))
        self.exif = self._below(self.main, EXIF_IFD)
        self.gps = self._below(self.main, GPS_IFD)
        self.interop = self._below(self.exif, _INTEROP_IFD)

    def unpack(self, format: str, at: int) -> int:
        return struct.unpack_from(self.order + format, self.data, at)[0]

    def _directory(self, start: int) -> _Directory:
        """As many of its entries as there are."""
        entries: dict[int, _Entry] = {}
        count = self.unpack("H", start)
        there = min(count, (len(self.data) - start - 2) // 12, _MOST_ENTRIES)
        block = memoryview(self.data)[start + 2 : start + 2 + 12 * there]
        for number, (tag, kind, values, place) in enumerate(struct.iter_unpack(self.order + "HHII", block)):
            at, size = start + 2 + 12 * number, _TYPE_BYTES.get(kind, 0) * values
            value_at = at + 8 if size <= 4 else place
            if 0 < size <= len(self.data) - value_at:
                entries.setdefault(tag, _Entry(at, kind, value_at, size))
        end = start + 2 + 12 * count
        return _Directory(start, entries, end)

    def _below(self, directory: _Directory | None, tag: int) -> _Directory | None:
        start = self.whole(directory, tag)
        return None if start is None else self._at(start)

    def _at(self, start: int) -> _Directory | None:
        try:
            return self._directory(start)
        except struct.error:
            return None

    @property
    def second(self) -> _Directory | None:
        """The directory of the thumbnail."""
        try:
            start = self.unpack("I", self.main.next_at)
        except struct.error:
            return None
        return self._at(start) if start else None

    def whole(self, directory: _Directory | None, tag: int) -> int | None:
        """The first of an entry's whole numbers."""
        entry = directory.entries.get(tag) if directory else None
        if entry is None or entry.type not in (_SHORT, _LONG, 13):
            return None
        return self.unpack("H" if entry.type == _SHORT else "I", entry.value_at)

    def ranges(self, directory: _Directory | None) -> Iterator[tuple[int, int]]:
        """The bytes that a directory takes, with its values."""
        if directory is not None:
            yield directory.start, directory.next_at + 4
            for entry in directory.entries.values():
                yield entry.value_at, entry.value_at + entry.size


def _parsed(data: bytes) -> _Tree | None:
    try:
        return _Tree(data)
    except (struct.error, ValueError):
        return None


# ------------------------------------------------------------------------------------------------ the picture's shape


def upright(data: bytes, *, turned: bool = False) -> bytes:
    """EXIF of a picture that has been put upright: the orientation says so, and the thumbnail of the turned picture is gone.

    `turned`: it was turned by what `data` does not say.
    """
    tree = _parsed(data)
    if tree is None:
        return data
    changed = bytearray(data)
    if entry := tree.main.entries.get(ORIENTATION):
        _set(changed, tree.order, entry, 1)
    if turned or tree.whole(tree.main, ORIENTATION) in range(2, 9):
        return _without_thumbnail(tree, changed)
    return bytes(changed)


def resized(data: bytes, width: int, height: int) -> bytes:
    """EXIF of a picture of this size: where it gives another, it is corrected, and the thumbnail of the other picture is gone."""
    tree = _parsed(data)
    if tree is None:
        return data
    changed = bytearray(data)
    for directory, across, down in ((tree.main, 0x0100, 0x0101), (tree.exif, 0xA002, 0xA003), (tree.interop, 0x1001, 0x1002)):
        for tag, size in ((across, width), (down, height)):
            if directory is not None and tree.whole(directory, tag) not in (None, size):
                _set(changed, tree.order, directory.entries[tag], size)
    return data if changed == data else _without_thumbnail(tree, changed)


def _set(data: bytearray, order: str, entry: _Entry, value: int) -> None:
    """One whole number, in the entry itself."""
    if value <= 0xFFFF:
        struct.pack_into(order + "HIHH", data, entry.at + 2, _SHORT, 1, value, 0)
    else:
        struct.pack_into(order + "HII", data, entry.at + 2, _LONG, 1, value)


def _without_thumbnail(tree: _Tree, data: bytearray) -> bytes:
    """No second directory, and zeros where it and its picture were, or nothing at the end; what others use is theirs."""
    second = tree.second
    if second is None:
        return bytes(data)
    struct.pack_into(tree.order + "I", data, tree.main.next_at, 0)
    ranges = list(tree.ranges(second))
    for start_tag, bytes_tag in ((_THUMBNAIL, _THUMBNAIL_BYTES), (_STRIPS, _STRIP_BYTES)):
        start, size = tree.whole(second, start_tag), tree.whole(second, bytes_tag)
        if start is not None and size is not None:
            ranges.append((start, start + size))
    others = [(0, 8), *(found for each in (tree.main, tree.exif, tree.gps, tree.interop) for found in tree.ranges(each))]
    gone = _covered(ranges, len(data)) & ~_covered(others, len(data))
    cleared = np.frombuffer(data, np.uint8) * ~gone
    return cleared[: len(gone) - int((~gone)[::-1].argmax())].tobytes()


def _covered(ranges: list[tuple[int, int]], size: int) -> Bool:
    """Which bytes lie in one of the ranges; in time that does not grow by how they overlap."""
    changes = np.zeros(size + 1, np.int32)
    for start, stop in ranges:
        changes[min(start, size)] += 1
        changes[min(stop, size)] -= 1
    return np.cumsum(changes[:size], dtype=np.int32) > 0


# ------------------------------------------------------------------------------------------------ resolution


def resolution(data: bytes) -> Resolution | None:
    """None where it is not told, of no unit, or absurd."""
    tree = _parsed(data)
    if tree is None:
        return None
    unit = tree.whole(tree.main, _RESOLUTION_UNIT)  # inch where it is not told
    found = []
    for tag in (_X_RESOLUTION, _Y_RESOLUTION):
        entry = tree.main.entries.get(tag)
        if entry is None or entry.type != _RATIONAL or unit not in (None, 2, 3):
            return None
        above, below = tree.unpack("I", entry.value_at), tree.unpack("I", entry.value_at + 4)
        if not above or not below:
            return None
        found.append(above / below * (2.54 if unit == 3 else 1))
    return (found[0], found[1]) if all(0.01 <= value < 1e6 for value in found) else None


def with_resolution(data: bytes, wanted: Resolution) -> bytes:
    """EXIF that tells it, made where there is none: the first directory is written anew, at the end."""
    data = data or b"II*\0\x08\0\0\0\0\0\0\0\0\0"
    tree = _parsed(data)
    if tree is None or tree.main.next_at + 4 > len(data):
        return data
    new = (_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT)
    places = {tree.unpack("H", at): at for at in range(tree.main.start + 2, tree.main.next_at, 12)}
    kept = {tag: data[at : at + 12] for tag, at in places.items() if tag not in new}
    body = data[: tree.main.start] if tree.main.next_at + 4 == len(data) else data + bytes(len(data) % 2)
    values_at = len(body) + 2 + 12 * (len(kept) + 3) + 4
    values = b""
    for tag, value in zip(new, wanted, strict=False):
        rational = struct.pack(tree.order + "II", *((round(value), 1) if value == round(value) else (round(1000 * value), 1000)))
        kept[tag] = struct.pack(tree.order + "HHII", tag, _RATIONAL, 1, values_at + (0 if rational == values else len(values)))
        values += b"" if rational == values else rational
    kept[_RESOLUTION_UNIT] = struct.pack(tree.order + "HHIHH", _RESOLUTION_UNIT, _SHORT, 1, 2, 0)
    directory = struct.pack(tree.order + "H", len(kept)) + b"".join(kept[tag] for tag in sorted(kept))
    directory += data[tree.main.next_at : tree.main.next_at + 4] + values
    return body[:4] + struct.pack(tree.order + "I", len(body)) + body[8:] + directory


# ------------------------------------------------------------------------------------------------ colour


def colour_space(data: bytes) -> str:
    """`"adobe"` or `"uncalibrated"` where EXIF says so, else nothing (DCF 2.0, section 3.3.4)."""
    tree = _parsed(data)
    if tree is None:
        return ""
    entry = tree.interop.entries.get(_INTEROP_INDEX) if tree.interop else None
    told = tree.whole(tree.exif, _COLOUR_SPACE)
    if told == 2 or (told == 0xFFFF and entry and data[entry.value_at : entry.value_at + 3] == b"R03"):
        return "adobe"
    return "uncalibrated" if told == 0xFFFF else ""

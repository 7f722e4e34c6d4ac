"""EXIF as bytes, starting at its TIFF header: read, and edited in place, so that maker notes with offsets from the start stay valid
(EXIF 2.32, section 4.6). Damaged EXIF is returned unchanged.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Bool

PREFIX: Final = b"Exif\0\0"
"""Prefix of EXIF in JPEG files and in Pillow's `info`."""
ORIENTATION: Final = 0x0112
EXIF_IFD, GPS_IFD, _INTEROP_IFD = 0x8769, 0x8825, 0xA005
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT = 0x011A, 0x011B, 0x0128
_COLOUR_SPACE, _INTEROP_INDEX = 0xA001, 0x0001
_THUMBNAIL, _THUMBNAIL_BYTES, _STRIPS, _STRIP_BYTES = 0x0201, 0x0202, 0x0111, 0x0117
_SHORT, _LONG, _RATIONAL = 3, 4, 5
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_MOST_ENTRIES: Final = 4096
"""Entries of a directory that are read at most."""

Resolution = tuple[float, float]
"""Pixels per inch, horizontally and vertically."""


class _Entry(NamedTuple):
    """An entry of a directory: offset `at` of its 12 bytes, its type, and offset and size in bytes of its value."""

    at: int
    type: int
    value_at: int
    size: int


class _Directory(NamedTuple):
    """A directory: its offset, its entries by tag, and the offset `next_at` of the pointer to the next directory."""

    start: int
    entries: dict[int, _Entry]
    next_at: int


class _Tree:
    """The directories of EXIF. Raises struct.error or ValueError if the first cannot be read."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        if data[:2] not in (b"II", b"MM"):
            raise ValueError("no byte order")
        self.order = "<" if data[:2] == b"II" else ">"
        self.main = self._directory(self.unpack("I", 4))
        self.exif = self._subdirectory(self.main, EXIF_IFD)
        self.gps = self._subdirectory(self.main, GPS_IFD)
        self.interop = self._subdirectory(self.exif, _INTEROP_IFD)

    def unpack(self, format: str, at: int) -> int:
        return struct.unpack_from(self.order + format, self.data, at)[0]

    def _directory(self, start: int) -> _Directory:
        """The directory at an offset, with the entries that are complete."""
        entries: dict[int, _Entry] = {}
        count = self.unpack("H", start)
        complete = min(count, (len(self.data) - start - 2) // 12, _MOST_ENTRIES)
        block = memoryview(self.data)[start + 2 : start + 2 + 12 * complete]
        for number, (tag, kind, values, place) in enumerate(struct.iter_unpack(self.order + "HHII", block)):
            at, size = start + 2 + 12 * number, _TYPE_BYTES.get(kind, 0) * values
            value_at = at + 8 if size <= 4 else place
            if 0 < size <= len(self.data) - value_at:
                entries.setdefault(tag, _Entry(at, kind, value_at, size))
        end = start + 2 + 12 * count
        return _Directory(start, entries, end)

    def _subdirectory(self, directory: _Directory | None, tag: int) -> _Directory | None:
        start = self.integer(directory, tag)
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

    def integer(self, directory: _Directory | None, tag: int) -> int | None:
        """The first value of an entry of integers; None if there is none."""
        entry = directory.entries.get(tag) if directory else None
        if entry is None or entry.type not in (_SHORT, _LONG, 13):
            return None
        return self.unpack("H" if entry.type == _SHORT else "I", entry.value_at)

    def ranges(self, directory: _Directory | None) -> Iterator[tuple[int, int]]:
        """Byte ranges of a directory and its values, as (start, stop)."""
        if directory is not None:
            yield directory.start, directory.next_at + 4
            for entry in directory.entries.values():
                yield entry.value_at, entry.value_at + entry.size


def _parsed(data: bytes) -> _Tree | None:
    """The directories of EXIF; None if the first cannot be read."""
    try:
        return _Tree(data)
    except (struct.error, ValueError):
        return None


# ------------------------------------------------------------------------------------------------ orientation and size


def upright(data: bytes, *, turned: bool = False) -> bytes:
    """EXIF of a picture that has been turned upright: orientation 1, and no thumbnail if the picture was turned.

    `turned`: the orientation came from somewhere else than `data`.
    """
    tree = _parsed(data)
    if tree is None:
        return data
    changed = bytearray(data)
    if entry := tree.main.entries.get(ORIENTATION):
        _set(changed, tree.order, entry, 1)
    if turned or tree.integer(tree.main, ORIENTATION) in range(2, 9):
        return _without_thumbnail(tree, changed)
    return bytes(changed)


def resized(data: bytes, width: int, height: int) -> bytes:
    """EXIF of a picture of this size. If it states another size, that is corrected and the thumbnail removed."""
    tree = _parsed(data)
    if tree is None:
        return data
    changed = bytearray(data)
    for directory, across, down in ((tree.main, 0x0100, 0x0101), (tree.exif, 0xA002, 0xA003), (tree.interop, 0x1001, 0x1002)):
        for tag, size in ((across, width), (down, height)):
            if directory is not None and tree.integer(directory, tag) not in (None, size):
                _set(changed, tree.order, directory.entries[tag], size)
    return data if changed == data else _without_thumbnail(tree, changed)


def _set(data: bytearray, order: str, entry: _Entry, value: int) -> None:
    """Make an entry a single integer, stored in the entry itself."""
    if value <= 0xFFFF:
        struct.pack_into(order + "HIHH", data, entry.at + 2, _SHORT, 1, value, 0)
    else:
        struct.pack_into(order + "HII", data, entry.at + 2, _LONG, 1, value)


def _without_thumbnail(tree: _Tree, data: bytearray) -> bytes:
    """EXIF without the second directory. Its bytes and those of its picture are zeroed, or cut off at the end, unless other
    directories use them."""
    second = tree.second
    if second is None:
        return bytes(data)
    struct.pack_into(tree.order + "I", data, tree.main.next_at, 0)
    ranges = list(tree.ranges(second))
    for start_tag, bytes_tag in ((_THUMBNAIL, _THUMBNAIL_BYTES), (_STRIPS, _STRIP_BYTES)):
        start, size = tree.integer(second, start_tag), tree.integer(second, bytes_tag)
        if start is not None and size is not None:
            ranges.append((start, start + size))
    others = [(0, 8), *(found for each in (tree.main, tree.exif, tree.gps, tree.interop) for found in tree.ranges(each))]
    gone = _covered(ranges, len(data)) & ~_covered(others, len(data))
    cleared = np.frombuffer(data, np.uint8) * ~gone
    return cleared[: len(gone) - int((~gone)[::-1].argmax())].tobytes()


def _covered(ranges: list[tuple[int, int]], size: int) -> Bool:
    """Mask of the bytes in any of the ranges, bool [size]. The time does not depend on how they overlap."""
    changes = np.zeros(size + 1, np.int32)
    for start, stop in ranges:
        changes[min(start, size)] += 1
        changes[min(stop, size)] -= 1
    return np.cumsum(changes[:size], dtype=np.int32) > 0


# ------------------------------------------------------------------------------------------------ resolution


def resolution(data: bytes) -> Resolution | None:
    """The resolution that EXIF states; None if there is none, it has no unit, or it is out of range."""
    tree = _parsed(data)
    if tree is None:
        return None
    unit = tree.integer(tree.main, _RESOLUTION_UNIT)  # inches by default
    values = []
    for tag in (_X_RESOLUTION, _Y_RESOLUTION):
        entry = tree.main.entries.get(tag)
        if entry is None or entry.type != _RATIONAL or unit not in (None, 2, 3):
            return None
        numerator, denominator = tree.unpack("I", entry.value_at), tree.unpack("I", entry.value_at + 4)
        if not numerator or not denominator:
            return None
        values.append(numerator / denominator * (2.54 if unit == 3 else 1))
    return (values[0], values[1]) if all(0.01 <= value < 1e6 for value in values) else None


def with_resolution(data: bytes, wanted: Resolution) -> bytes:
    """EXIF that states this resolution, new if `data` is empty. The first directory is rewritten at the end."""
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
    """The colour space: "adobe", "uncalibrated", or "" for sRGB and if EXIF does not state one (DCF 2.0, section 3.3.4)."""
    tree = _parsed(data)
    if tree is None:
        return ""
    entry = tree.interop.entries.get(_INTEROP_INDEX) if tree.interop else None
    number = tree.integer(tree.exif, _COLOUR_SPACE)
    if number == 2 or (number == 0xFFFF and entry and data[entry.value_at : entry.value_at + 3] == b"R03"):
        return "adobe"
    return "uncalibrated" if number == 0xFFFF else ""

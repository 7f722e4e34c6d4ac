"""EXIF as bytes: sizes, thumbnails and resolution are changed, all else stays where it was."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from vqcodec.io import exif

MAKER_NOTE = bytes(range(256)) + b"maker note"
THUMBNAIL = b"\xff\xd8" + b"thumbnail" * 20 + b"\xff\xd9"


def directory(order: str, at: int, entries: dict[int, tuple[int, int, bytes]], following: int) -> bytes:
    """A directory for the place `at`; entries are (type, count, value), and what is longer than 4 bytes follows it."""
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
    """As a camera writes it: sizes in three places, a maker note, and a thumbnail in a second directory."""
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


def read(data: bytes) -> dict[Any, Any]:
    """By Pillow: sizes, orientation, and what else there is."""
    found = Image.Exif()
    found.load(data)
    inner, interop = found.get_ifd(0x8769), found.get_ifd(0xA005)
    return {
        "sizes": [
            found.get(0x0100),
            found.get(0x0101),
            inner.get(0xA002),
            inner.get(0xA003),
            interop.get(0x1001),
            interop.get(0x1002),
        ],
        "orientation": found.get(0x0112),
        "maker": found.get(0x010F),
        "note": inner.get(0x927C),
        "index": interop.get(1),
        "thumbnail": found.get_ifd(ExifTags.IFD.IFD1).get(0x0201) is not None,
    }


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("thumbnail_last", [True, False])
def test_a_picture_that_was_turned(order: str, thumbnail_last: bool) -> None:
    data = camera(order, thumbnail_last=thumbnail_last)
    assert read(data)["thumbnail"]
    assert read(data)["note"] == MAKER_NOTE
    changed = exif.resized(exif.upright(data), 300, 400)
    assert read(changed) == {
        "sizes": [300, 400] * 3,
        "orientation": 1,
        "maker": "Maker",
        "note": MAKER_NOTE,
        "index": "R98",
        "thumbnail": False,
    }
    assert changed.index(MAKER_NOTE) == data.index(MAKER_NOTE)
    assert b"thumbnail" not in changed
    if thumbnail_last:
        assert len(changed) == len(data) - len(THUMBNAIL)
    else:
        assert changed.endswith(b"the end")


@pytest.mark.parametrize("orientation", range(2, 9))
def test_any_turn_costs_the_thumbnail(orientation: int) -> None:
    found = read(exif.upright(camera(orientation=orientation)))
    assert (found["orientation"], found["thumbnail"]) == (1, False)


def test_what_was_not_turned_stays_as_it_is() -> None:
    data = camera(orientation=1)
    assert exif.upright(data) == data
    assert exif.resized(data, 400, 300) == data
    assert read(exif.upright(data, turned=True))["thumbnail"] is False  # by what XMP says
    assert read(exif.resized(data, 200, 150))["sizes"] == [200, 150] * 3
    assert read(exif.resized(data, 200, 150))["thumbnail"] is False
    assert read(exif.resized(data, 70_000, 2))["sizes"] == [70_000, 2] * 3


def test_the_orientation_alone_is_one_byte() -> None:
    found = Image.Exif()
    found[0x0112], found[0x010F] = 8, "Maker"
    data = found.tobytes().removeprefix(exif.PREFIX)
    changed = exif.upright(data)
    assert len(changed) == len(data)
    assert sum(a != b for a, b in zip(changed, data, strict=True)) == 1


@pytest.mark.parametrize("data", [b"", b"II", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b"junk" * 9])
def test_what_is_broken_stays_as_it_is(data: bytes) -> None:
    assert exif.upright(data, turned=True) == data
    assert exif.resized(data, 3, 4) == data
    assert exif.resolution(data) is None
    assert exif.colour_space(data) == ""
    assert data == b"" or exif.with_resolution(data, (300, 300)) == data


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_raises_nothing_and_adds_nothing(data: st.DataObject) -> None:
    whole = bytearray(camera(data.draw(st.sampled_from("<>"))))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=12)):
        whole[place] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert len(exif.resized(exif.upright(damaged, turned=True), 70_000, 4)) <= len(damaged)
    exif.colour_space(damaged)
    told = exif.with_resolution(damaged, (150, 300))
    assert exif.resolution(told) in ((150, 300), exif.resolution(damaged))


# ------------------------------------------------------------------------------------------------ resolution


def test_resolution_from_nothing_takes_58_bytes() -> None:
    data = exif.with_resolution(b"", (300, 300))
    assert len(data) == 58
    assert exif.resolution(data) == (300, 300)
    unequal = exif.with_resolution(b"", (300, 199.9))
    assert exif.resolution(unequal) == (300, 199.9)
    found = Image.Exif()
    found.load(unequal)
    assert (found[0x011A], found[0x011B], found[0x0128]) == (300, 199.9, 2)
    assert exif.resolution(exif.with_resolution(unequal, (72, 72))) == (72, 72)


@pytest.mark.parametrize("order", ["<", ">"])
def test_resolution_changes_nothing_else(order: str) -> None:
    data = camera(order)
    assert exif.resolution(data) == (72, 72)
    changed = exif.with_resolution(data, (300, 150))
    assert exif.resolution(changed) == (300, 150)
    assert read(changed) == read(data)
    assert changed.index(MAKER_NOTE) == data.index(MAKER_NOTE)


@pytest.mark.parametrize(("unit", "wanted"), [(1, None), (2, (300, 200)), (3, (762, 508)), (None, (300, 200))])
def test_units(unit: int | None, wanted: tuple[int, int] | None) -> None:
    found = Image.Exif()
    found[0x011A], found[0x011B] = 300.0, 200.0
    if unit:
        found[0x0128] = unit
    assert exif.resolution(found.tobytes().removeprefix(exif.PREFIX)) == wanted
    found[0x011B] = 0.0
    assert exif.resolution(found.tobytes().removeprefix(exif.PREFIX)) is None


# ------------------------------------------------------------------------------------------------ colour


@pytest.mark.parametrize(
    ("space", "index", "wanted"),
    [(1, "R98", ""), (0xFFFF, "R03", "adobe"), (0xFFFF, "R98", "uncalibrated"), (0xFFFF, None, "uncalibrated"), (2, None, "adobe")],
)
def test_colour_space(space: int, index: str | None, wanted: str) -> None:
    found = Image.Exif()
    found.get_ifd(0x8769)[0xA001] = space
    if index:
        found.get_ifd(0x8769)[0xA005] = {1: index}
    assert exif.colour_space(found.tobytes().removeprefix(exif.PREFIX)) == wanted

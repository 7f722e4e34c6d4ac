"""EXIF as bytes: sizes, thumbnails and resolution change, and everything else stays in place."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image

from helpers.exif_data import MAKER_NOTE, THUMBNAIL, camera
from vqcodec.io import exif


def read(data: bytes) -> dict[Any, Any]:
    """Sizes, orientation and other entries, read by Pillow."""
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


def test_exif_of_an_upright_picture_is_unchanged() -> None:
    data = camera(orientation=1)
    assert exif.upright(data) == data
    assert exif.resized(data, 400, 300) == data
    assert read(exif.upright(data, turned=True))["thumbnail"] is False  # orientation from XMP
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
def test_damaged_exif_is_unchanged(data: bytes) -> None:
    assert exif.upright(data, turned=True) == data
    assert exif.resized(data, 3, 4) == data
    assert exif.resolution(data) is None
    assert exif.colour_space(data) == ""
    assert data == b"" or exif.with_resolution(data, (300, 300)) == data


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_raises_nothing_and_adds_nothing(data: st.DataObject) -> None:
    whole = bytearray(camera(data.draw(st.sampled_from("<>"))))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=12)):
        whole[place] = data.draw(st.integers(0, 255))
    damaged = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert len(exif.resized(exif.upright(damaged, turned=True), 70_000, 4)) <= len(damaged)
    exif.colour_space(damaged)
    edited = exif.with_resolution(damaged, (150, 300))
    assert exif.resolution(edited) in ((150, 300), exif.resolution(damaged))


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

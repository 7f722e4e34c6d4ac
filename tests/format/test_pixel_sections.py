"""Pixel sections are read as they were written; damaged ones are refused."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.pixel_files import part_bytes
from helpers.vqz_fields import bomb
from vqcodec.errors import FormatError
from vqcodec.format import pixel_sections
from vqcodec.format.pixel_sections import PixelSection


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_maps_and_bytes_come_back(seed: int, h: int, w: int, layers: bool) -> None:
    rng = np.random.default_rng(seed)
    graphic = rng.random((h, w)) < rng.choice([0, 0.1, 0.9, 1])
    indices = rng.bytes(9) if graphic.any() else b""
    predicted = b"" if layers or graphic.all() else rng.bytes(5)
    found = pixel_sections.read(
        pixel_sections.write(PixelSection(graphic, indices, predicted), layers=layers), (h, w), layers=layers
    )
    assert np.array_equal(found.graphic, graphic)
    assert (found.indices, found.predicted) == (indices, predicted)


def test_the_bytes_of_a_map() -> None:
    graphic = np.zeros((3, 5), bool)
    graphic[1:, 1:4] = True
    data = pixel_sections.write(PixelSection(graphic, b"ab", b"cde"), layers=False)
    # kind; a part, verbatim, of the bits 00000 01001 00000: the corners of the rectangle that are in the group; 2 bytes of indices
    assert data == bytes((2, 0, 0b00000010, 0b01000000, 2)) + b"abcde"
    assert pixel_sections.write(PixelSection(graphic, b"ab", b""), layers=True) == data[:4] + b"ab"


@pytest.mark.parametrize("layers", [False, True])
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\3",
        b"\2",
        b"\2\0\x80",  # half a map
        b"\2\3\0\0",  # mode
        b"\2\4\0\0",  # packing
        b"\2\0\0\1\0",  # bits that fill the byte
        b"\2\0\0\0\0",  # no graphic cells
        b"\2\0\x80\0\0",  # all graphic
        b"\2" + part_bytes(bomb(1 << 20, claimed=2)),
        b"\2" + part_bytes(bomb(1, claimed=2)),
    ],
)
def test_damaged_sections_are_refused(data: bytes, layers: bool) -> None:
    with pytest.raises(FormatError):
        pixel_sections.read(data, (3, 5), layers=layers)


def test_sections_end_with_their_contents() -> None:
    assert pixel_sections.read(b"\1", (3, 5), layers=True).predicted == b""
    with pytest.raises(FormatError, match="left over"):
        pixel_sections.read(b"\1x", (3, 5), layers=True)
    with pytest.raises(FormatError, match="truncated"):
        pixel_sections.read(b"\2\0\2\x40\3ab", (3, 5), layers=False)


def test_a_bomb_allocates_no_more_than_a_map() -> None:
    data = b"\2" + part_bytes(bomb(100_000_000, claimed=100_000_000))
    tracemalloc.start()
    with pytest.raises(FormatError):
        pixel_sections.read(data, (300, 300), layers=False)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20

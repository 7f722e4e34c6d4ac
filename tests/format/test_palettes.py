"""Palettes are read as they were written; damaged ones are refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.errors import CorruptError, FormatError
from vqcodec.format import palettes
from vqcodec.transform.palette import MAX_COLOURS, Palette

LIMIT = 5000


def pack(palette: Palette, levels: tuple[int, ...]) -> palettes.PackedPalette:
    return palettes.pack_palette(palette, palettes.chain(palette.colours), levels)


def random_palette(seed: int, count: int, components: int, dtype: type, first: int) -> Palette:
    rng = np.random.default_rng(seed)
    return Palette(rng.integers(0, np.iinfo(dtype).max + 1, (count, components)).astype(dtype), first, bool(rng.integers(2)))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.one_of(st.integers(0, 40), st.integers(250, 600)),
    st.integers(1, 4),
    st.sampled_from([np.uint8, np.uint16]),
    st.sampled_from([3, 15, 255]),
)
def test_palettes_come_back(seed: int, count: int, components: int, dtype: type, first: int) -> None:
    palette = random_palette(seed, count, components, dtype, first)
    packed = pack(palette, (1,))
    found = palettes.unpack_palette(packed.data, components, np.dtype(dtype), LIMIT)
    assert (found.complete, found.levels) == (palette.complete, palette.levels)
    assert packed.index_of[-1] == count
    np.testing.assert_array_equal(found.colours[packed.index_of[:-1]], palette.colours)
    bounds = np.cumsum(palette.levels)
    np.testing.assert_array_equal(
        np.searchsorted(bounds, packed.index_of[:-1], "right"), np.searchsorted(bounds, np.arange(count), "right")
    )


def test_the_bytes_of_a_palette() -> None:
    palette = Palette(np.array([[10, 20, 30], [11, 21, 32]], np.uint8), 255, complete=False)
    data = pack(palette, (1,)).data
    # 2 * 2 + 1; first level 255; verbatim; differences of the first component less those of the second, and so on
    assert data == bytes((5, 0, 0, 256 - 10, 0, 20, 1, 10, 1))


def test_a_chain_goes_to_the_nearest_colour_left() -> None:
    colours = np.array([[90, 90, 90], [0, 0, 1], [91, 90, 92], [0, 3, 0], [5, 0, 0]], np.uint8)
    assert palettes.chain(colours).tolist() == [1, 3, 4, 0, 2]  # differences of the second component count for all three
    assert palettes.chain(colours[:, :2]).tolist() == [1, 3, 4, 0, 2]
    assert palettes.chain(colours[:0]).tolist() == []


def test_similar_colours_take_few_bytes() -> None:
    greys = np.repeat(np.random.default_rng(0).permutation(256).astype(np.uint8)[:, None], 3, axis=1)
    assert len(pack(Palette(greys[:255], 255, complete=True), (19,)).data) < 40


@pytest.mark.parametrize(
    "data",
    [
        bytes((5, 3, 0, 1, 2, 3, 4, 5, 6)),  # first level
        bytes((5, 4, 0, 1, 2, 3, 4, 5, 6)),  # reserved bits
        bytes((5, 0, 3, 1, 2, 3, 4, 5, 6)),  # mode
        bytes((5, 0, 4, 1, 2, 3, 4, 5, 6)),  # packing
        bytes((5, 0, 0, 1, 2, 3, 4, 5, 6, 7)),  # a byte left over
        bytes((5, 0, 0, 1, 2, 3, 4, 5)),  # a byte too few
        bytes((5, 0, 1, 2, 3, 4)),  # no zstd frame
        bytes((8, 1, 0, 0, 0, 0, 0, 0, *range(12))),  # no colour in the second level
        bytes((8, 1, 0, 0, 0, 0, 2, 0, *range(12))),  # a third level
        bytes((0xFF, 0xFF, 0x01)),  # more colours than pixels
        b"",
        b"\x05",
    ],
)
def test_damaged_palettes_are_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        palettes.unpack_palette(data, 3, np.dtype(np.uint8), 1000)


def test_a_palette_has_no_more_colours_than_pixels() -> None:
    data = pack(random_palette(0, 9, 3, np.uint8, 255), (1,)).data
    assert len(palettes.unpack_palette(data, 3, np.dtype(np.uint8), 9).colours) == 9
    with pytest.raises(CorruptError, match="too many colours"):
        palettes.unpack_palette(data, 3, np.dtype(np.uint8), 8)


def test_the_largest_palette() -> None:
    palette = random_palette(1, MAX_COLOURS, 1, np.uint16, 15)
    packed = pack(palette, (1,))
    found = palettes.unpack_palette(packed.data, 1, np.dtype(np.uint16), LIMIT)
    np.testing.assert_array_equal(found.colours[packed.index_of[:-1]], palette.colours)

"""Colours are ranked and found again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.transform import palette as colour_tables
from vqcodec.transform.palette import MAX_COLOURS, level_sizes


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from([np.uint8, np.uint16]), st.booleans())
def test_samples_come_back_from_ranks(seed: int, components: int, dtype: type, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, np.iinfo(dtype).max + 1, (rng.integers(1, 30), components)).astype(dtype)
    pictures = [table[rng.integers(0, len(table), shape)] for shape in ((5, 9), (8, 3))]
    masks = [rng.integers(0, 2, picture.shape[:2]).astype(bool) if masked else None for picture in pictures]
    ranked = colour_tables.rank_colours(pictures, masks)
    palette = colour_tables.palette_of(ranked, MAX_COLOURS, 3)
    assert palette.complete
    assert (np.diff(ranked.counts) <= 0).all()
    for picture, mask, ranks in zip(pictures, masks, ranked.ranks, strict=True):
        found = colour_tables.to_pixels(ranks.astype(np.uint16), palette)
        kept = np.ones(picture.shape[:2], bool) if mask is None else mask
        np.testing.assert_array_equal(found[kept], picture[kept])
        assert found.dtype == picture.dtype


def test_rare_colours_become_zero() -> None:
    picture = np.array([[[5, 6], [5, 6], [7, 8]]], np.uint8)
    ranked = colour_tables.rank_colours([picture], [None])
    palette = colour_tables.palette_of(ranked, 1, 255)
    assert not palette.complete
    indices = np.minimum(ranked.ranks[0], 1).astype(np.uint16)
    assert colour_tables.to_pixels(indices, palette).tolist() == [[[5, 6], [5, 6], [0, 0]]]


@pytest.mark.parametrize(
    ("colours", "first", "expected"),
    [(0, 255, ()), (3, 3, (3,)), (4, 3, (3, 1)), (255, 255, (255,)), (256, 255, (255, 1)), (300, 15, (15, 240, 45))],
)
def test_levels_are_full_but_the_last(colours: int, first: int, expected: tuple[int, ...]) -> None:
    assert level_sizes(colours, first) == expected


@pytest.mark.parametrize("first", [3, 15, 255])
def test_the_levels_hold_the_largest_palette(first: int) -> None:
    assert sum(level_sizes(MAX_COLOURS, first)) == MAX_COLOURS


def test_partial_cells_are_cropped() -> None:
    mask = colour_tables.pixels_of_cells(np.array([[True, False], [False, True]]), 9, 10)
    assert mask.shape == (9, 10)
    assert mask[:8, :8].all()
    assert mask[8, 8:].all()
    assert mask.sum() == 66

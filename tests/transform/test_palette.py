"""Colours are ranked and found again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.transform import palette as colour_tables
from vqcodec.transform.palette import MAX_COLOURS, level_sizes


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from([np.uint8, np.uint16]), st.booleans())
def test_samples_come_back_from_indices(seed: int, components: int, dtype: type, masked: bool) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, np.iinfo(dtype).max + 1, (rng.integers(1, 30), components)).astype(dtype)
    pictures = [table[rng.integers(0, len(table), shape)] for shape in ((5, 9), (8, 3))]
    masks = [rng.integers(0, 2, picture.shape[:2]).astype(bool) if masked else None for picture in pictures]
    common = colour_tables.common_colours(pictures, masks)
    palette = colour_tables.palette_of(common, MAX_COLOURS, 3)
    assert palette.complete
    kept = [np.ones(picture.shape[:2], bool) if mask is None else mask for picture, mask in zip(pictures, masks, strict=True)]
    counts = sum(np.bincount(common.ranks(p)[k], minlength=len(palette.colours)) for p, k in zip(pictures, kept, strict=True))
    assert counts.min(initial=1) > 0
    assert (np.diff(counts) <= 0).all()
    for picture, own in zip(pictures, kept, strict=True):
        found = colour_tables.to_pixels(common.ranks(picture), palette)
        np.testing.assert_array_equal(found[own], picture[own])
        assert found.dtype == picture.dtype


def test_rare_colours_become_zero() -> None:
    picture = np.array([[[5, 6], [5, 6], [7, 8]]], np.uint8)
    common = colour_tables.common_colours([picture], [None])
    palette = colour_tables.palette_of(common, 1, 255)
    assert not palette.complete
    indices = np.minimum(common.ranks(picture), 1)
    assert colour_tables.to_pixels(indices, palette).tolist() == [[[5, 6], [5, 6], [0, 0]]]


@pytest.mark.parametrize(("components", "dtype"), [(3, np.uint8), (4, np.uint16)])
def test_of_many_colours_the_commonest_are_found(components: int, dtype: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rare colours are forgotten from time to time, so that counting takes little memory."""
    monkeypatch.setattr(colour_tables, "_MOST_COUNTED", 3000)
    monkeypatch.setattr(colour_tables, "_BAND", 1000)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, np.iinfo(dtype).max + 1, (70, 50, components)).astype(dtype) for _ in range(3)]
    usual = rng.integers(0, 256, (40, components)).astype(dtype)
    for picture in pictures:
        picture[::2] = usual[rng.integers(0, 40, (35, 50))]
    common = colour_tables.common_colours(pictures, [None] * 3)
    assert not common.complete
    assert len(common.colours) <= MAX_COLOURS
    assert {tuple(colour) for colour in common.colours[:40].tolist()} == {tuple(colour) for colour in usual.tolist()}
    ranks = common.ranks(pictures[0])
    assert (ranks[::2] < 40).all()
    assert ranks.max() == len(common.colours)
    assert not colour_tables.palette_of(common, MAX_COLOURS, 255).complete


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

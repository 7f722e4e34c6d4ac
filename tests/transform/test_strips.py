"""Pixels come back from strips, and aligned strips follow lines of text."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.transform import strips


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(1, 9))
def test_planes_come_back(heights: list[int], width: int) -> None:
    plane = np.arange(sum(heights) * width, dtype=np.uint16).reshape(-1, width)
    flat = strips.scan(plane, tuple(heights))
    np.testing.assert_array_equal(strips.unscan(flat, tuple(heights), width), plane)


def test_strips_are_scanned_by_columns() -> None:
    plane = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    assert strips.scan(plane, (2, 1)).tolist() == [1, 4, 2, 5, 3, 6, 7, 8, 9]


@pytest.mark.parametrize(("height", "rows", "expected"), [(8, 20, (8, 8, 4)), (8, 16, (8, 8)), (8, 3, (3,)), (1, 2, (1, 1))])
def test_the_last_uniform_strip_has_the_rows_that_are_left(height: int, rows: int, expected: tuple[int, ...]) -> None:
    assert strips.uniform_heights(height, rows) == expected


def test_aligned_strips_repeat_with_the_lines() -> None:
    rng = np.random.default_rng(0)
    glyphs = rng.integers(0, 2, (6, 11, 10)).astype(np.uint8)
    plane = np.zeros((13 * 12, 300), np.uint8)
    for line in range(12):
        for column in range(30):
            plane[13 * line : 13 * line + 11, 10 * column : 10 * column + 10] = glyphs[rng.integers(6)]
    heights = strips.aligned_heights(plane, 60, strips.HEIGHTS)
    assert sum(heights) == len(plane)
    starts = np.cumsum((0, *heights[:-1]))
    assert len({int(start) % 13 for start in starts}) < len(starts) / 3


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (3, 40)])
def test_small_planes_have_aligned_strips(shape: tuple[int, int]) -> None:
    assert sum(strips.aligned_heights(np.zeros(shape, np.uint8), 200, strips.FEW_HEIGHTS)) == shape[0]

"""Rectangles against the sets of elements that they hold."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.transform.rect import Rect

rects = st.builds(Rect, *[st.integers(0, 6)] * 4)


def mask_of(rect: Rect) -> np.ndarray:
    mask = np.zeros((40, 40), bool)
    mask[rect.rows, rect.columns] = True
    return mask


@given(rects, rects)
def test_an_intersection_has_the_common_elements(one: Rect, other: Rect) -> None:
    common = one.intersection(other)
    np.testing.assert_array_equal(mask_of(common), mask_of(one) & mask_of(other))
    assert common.empty == (not mask_of(common).any())
    assert common == other.intersection(one) or common.empty


@given(rects, st.integers(0, 5), st.integers(0, 5))
def test_a_shift_moves_every_element_and_back(rect: Rect, down: int, right: int) -> None:
    moved = rect.shift(down, right)
    np.testing.assert_array_equal(mask_of(moved), np.roll(mask_of(rect), (down, right), (0, 1)))
    assert moved.shape == rect.shape == (rect.height, rect.width)
    assert moved.shift(-down, -right) == rect


@given(rects, st.integers(1, 3))
def test_a_scaled_rect_has_every_element_as_a_square(rect: Rect, factor: int) -> None:
    squares = mask_of(rect)[:13, :13].repeat(factor, axis=0).repeat(factor, axis=1)
    np.testing.assert_array_equal(mask_of(rect.scale(factor))[: len(squares), : len(squares)], squares)

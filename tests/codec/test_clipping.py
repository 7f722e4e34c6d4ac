"""Overshoot of plain blocks at the ends of the range."""

import numpy as np
import pytest

from vqcodec.codec.clipping import overshoot
from vqcodec.transform.color import OPPONENT, inverse_color_matrix


@pytest.mark.parametrize(("depth", "dtype"), [(8, np.uint8), (10, np.uint16), (16, np.uint16)])
def test_only_plain_white_and_black_blocks_overshoot(depth: int, dtype: type) -> None:
    peak = (1 << depth) - 1
    grey = np.repeat(np.array([[0, peak, peak, peak - 1]], dtype), 8, axis=0).repeat(8, axis=1)[:, :, None]
    grey[3, 20] -= 1  # the third block is not plain
    assert overshoot(grey, OPPONENT, depth).tolist() == [[-2, 2, 0, 0]]


def test_overshoot_in_colour_is_that_of_the_components() -> None:
    """A red block: red is at its upper end, green and blue at their lower ones."""
    pixels = np.full((8, 16, 3), 99, np.uint8)
    pixels[:, :8] = 255, 0, 0
    found = overshoot(pixels, OPPONENT)
    np.testing.assert_allclose(found[:, 0], inverse_color_matrix(OPPONENT) @ [2, -2, -2], rtol=1e-6)
    assert not found[:, 1].any()


def test_incomplete_blocks_are_extended() -> None:
    """Edge pixels are repeated, so the 3 white rows at the bottom form plain blocks."""
    pixels = np.full((11, 13, 1), 255, np.uint8)
    pixels[:8] = 7
    assert overshoot(pixels, OPPONENT).tolist() == [[0, 0, 2, 2]]

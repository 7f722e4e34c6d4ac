"""Filling of the colours under transparent pixels."""

import numpy as np

from vqcodec.codec.hidden import fill_hidden


def test_visible_pixels_stay_and_filled_ones_lie_between_them() -> None:
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (1, 9), (13, 1), (37, 50), (64, 64)):
        for share in (0.02, 0.5, 0.97):
            picture = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
            visible = rng.random(shape) < share
            found = fill_hidden(picture, visible)
            np.testing.assert_array_equal(found[visible], picture[visible])
            if visible.any():
                assert (found.min(axis=(0, 1)) >= picture[visible].min(axis=0)).all()
                assert (found.max(axis=(0, 1)) <= picture[visible].max(axis=0)).all()
            else:
                assert not found.any()


def test_a_single_visible_colour_fills_the_picture() -> None:
    one_colour = np.full((40, 40, 3), 255, np.uint8)
    one_colour[10:20, 10:20] = (200, 30, 30)
    visible = np.zeros((40, 40), bool)
    visible[10:20, 10:20] = True
    assert (fill_hidden(one_colour, visible) == (200, 30, 30)).all()

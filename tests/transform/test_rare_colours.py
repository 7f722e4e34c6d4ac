"""Rare pixels come back from their differences to known and rare neighbours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vqcodec.transform import rare_colours
from vqcodec.transform.rare_colours import Predictor


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.sampled_from([np.uint8, np.uint16]),
    st.sampled_from(Predictor),
    st.floats(0, 1),
)
def test_rare_pixels_come_back(seed: int, components: int, dtype: type, predictor: Predictor, share: float) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 12, 2)
    pixels = rng.integers(0, np.iinfo(dtype).max + 1, (height, width, components)).astype(dtype)
    rare = rng.random((height, width)) <= share
    places = rng.permutation(np.flatnonzero(rare))
    found = rare_colours.differences(pixels, places, predictor)
    known = np.where(rare[..., None], 0, pixels).astype(dtype)
    rare_colours.fill(known, places, found, predictor)
    np.testing.assert_array_equal(known, pixels)


@pytest.mark.parametrize(("predictor", "expected"), [(0, 30), (1, 20), (2, 10), (3, 1), (4, 10)])
def test_differences_follow_the_specification(predictor: int, expected: int) -> None:
    pixels = np.array([[[1], [10]], [[20], [30]]], np.uint8)
    assert rare_colours.differences(pixels, np.array([3]), Predictor(predictor)).tolist() == [[expected]]


def test_the_second_component_is_subtracted() -> None:
    pixels = np.array([[[0, 0, 0]], [[9, 4, 1]]], np.uint8)
    assert rare_colours.differences(pixels, np.array([1]), Predictor.ABOVE).tolist() == [[5, 4, 253]]
    assert rare_colours.differences(pixels, np.array([1]), Predictor.NONE).tolist() == [[9, 4, 1]]
    assert rare_colours.differences(pixels, np.array([1]), Predictor.PAETH).tolist() == [[9, 4, 1]]


@pytest.mark.parametrize(
    ("corner", "above", "left", "prediction"),
    [
        (9, 10, 14, 14),  # nearest to 15: left
        (9, 14, 10, 14),  # nearest to 15: above
        (20, 10, 30, 20),  # nearest to 20: the corner
        (50, 90, 80, 90),
        (10, 9, 11, 10),
        (10, 14, 8, 14),  # 12 is as far from above as from the corner
        (14, 14, 10, 10),
        (14, 10, 14, 10),
        (10, 30, 30, 30),
        (65535, 65534, 65535, 65534),
        (0, 65535, 65534, 65535),  # 131069 is not taken modulo 65536
    ],
)
def test_paeth_is_that_of_png(corner: int, above: int, left: int, prediction: int) -> None:
    pixels = np.array([[[corner], [above]], [[left], [0]]], np.uint16)
    assert (-rare_colours.differences(pixels, np.array([3]), Predictor.PAETH)).tolist() == [[prediction]]

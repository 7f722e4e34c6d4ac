"""The network that tells contexts of pixels is exact, and others are refused."""

import numpy as np
import pytest

from helpers.networks import random_pixel_contexts
from vqcodec.entropy.pixel_contexts import PLACES, PixelContexts
from vqcodec.errors import ModelError

TENSORS = random_pixel_contexts()


def test_it_sees_only_pixels_that_come_before() -> None:
    assert len(set(PLACES)) == 36
    assert max(x + 2 * y for y, x in PLACES) < 0


def test_contexts_are_those_of_the_formula() -> None:
    around = np.random.default_rng(1).integers(0, 128, (36, 500))
    units = around
    for name in ("first", "second"):
        sums = TENSORS[f"pixels.{name}"].astype(np.int64) @ units + TENSORS[f"pixels.{name}_bias"][:, None]
        units = np.clip(sums // 1024, 0, 127)
    scores = TENSORS["pixels.out"].astype(np.int64) @ units + TENSORS["pixels.out_bias"][:, None]
    found = PixelContexts.from_tensors(TENSORS).of(list(around.astype(np.uint8)))
    np.testing.assert_array_equal(found, scores.argmax(axis=0))
    assert len(np.unique(found)) > 5


def test_the_first_of_equal_scores_counts() -> None:
    out = {"pixels.out": np.zeros((9, 6), np.int16), "pixels.out_bias": np.array([1, 5, 5, 0, 5, 1, 1, 1, 1], np.int32)}
    assert PixelContexts.from_tensors(TENSORS | out).of([np.zeros(3, np.uint8)] * 36).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"pixels.first": np.full((6, 36), 32767, np.int16)}, "pixels.first is too large to be exact"),
        ({"pixels.out_bias": np.full(12, -(2**24), np.int32)}, "pixels.out is too large to be exact"),
        ({"pixels.first": np.zeros((6, 35), np.int16)}, "pixels.first has a wrong shape"),
        ({"pixels.second": np.zeros((6, 7), np.int16)}, "pixels.second has a wrong shape"),
        ({"pixels.second_bias": np.zeros(5, np.int32)}, "pixels.second has a wrong shape"),
    ],
)
def test_networks_that_are_not_exact_are_refused(changed: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        PixelContexts.from_tensors(TENSORS | changed)


@pytest.mark.parametrize(
    "changed",
    [
        {"pixels.out": np.zeros((0, 6), np.int16), "pixels.out_bias": np.zeros(0, np.int32)},
        {"pixels.out": np.zeros((257, 6), np.int16), "pixels.out_bias": np.zeros(257, np.int32)},
        {"pixels.first": TENSORS["pixels.first"].astype(np.int32)},
        {"pixels.first_bias": TENSORS["pixels.first_bias"].astype(np.int64)},
        {"pixels.second": np.zeros(6, np.int16)},
    ],
)
def test_wrong_tensors_are_refused(changed: dict[str, np.ndarray]) -> None:
    with pytest.raises(ValueError, match=r"pixels\."):
        PixelContexts.from_tensors(TENSORS | changed)

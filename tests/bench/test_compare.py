"""Tests of bench/compare.py: figures and the picture of the difference, with and without alpha planes."""

import math

import numpy as np
import pytest

from vqcodec.bench.compare import compare, undefined
from vqcodec.errors import InputError


def test_the_difference_is_signed_and_the_largest_is_absolute():
    first = np.full((4, 5, 3), 100, np.uint8)
    second = first.copy()
    second[1, 2] = (90, 103, 100)
    for one, other, sign in ((first, second, 1), (second, first, -1)):
        figures, difference, _ = compare(one, other)
        assert (figures["largest_difference"], figures["pixels_that_differ"]) == (10, 1)
        assert difference[1, 2].tolist() == [128 - sign * 80, 128 + sign * 24, 128]
        assert (np.delete(difference.reshape(-1, 3), 7, axis=0) == 128).all()


def test_transparent_pictures_are_compared_on_the_background_with_the_larger_error():
    colours = np.full((20, 20, 4), 255, np.uint8)
    opaque, transparent = colours.copy(), colours.copy()
    transparent[..., 3] = 0
    figures, difference, _ = compare(opaque, transparent)
    assert figures["background"] == "black"  # on white both are white
    assert figures["psnr"] == 0
    assert figures["psnr_alpha"] == 0
    assert (difference == 0).all()


def test_a_picture_without_alpha_is_opaque_and_grey_is_compared_as_colour():
    grey = np.full((20, 20), 90, np.uint8)
    colour = np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=2)
    figures, difference, _ = compare(grey, colour)
    assert figures["psnr"] == figures["psnr_alpha"] == math.inf
    assert difference.shape == (20, 20, 3)


def test_pictures_of_different_sizes_are_refused():
    with pytest.raises(InputError, match="5 x 4 and 4 x 4"):
        compare(np.zeros((4, 5), np.uint8), np.zeros((4, 4), np.uint8))


@pytest.mark.parametrize(("side", "names"), [(10, ["SSIM", "MS-SSIM"]), (11, ["MS-SSIM"]), (161, [])])
def test_notes_name_the_metrics_that_are_undefined(side, names):
    assert [note.split()[0] for note in undefined((side, 300, 3))] == names


def test_pictures_of_16_bits_have_a_peak_of_65535():
    rng = np.random.default_rng(0)
    first = rng.integers(0, 65536, (24, 20, 4)).astype(np.uint16)
    second = np.clip(first + rng.normal(0, 500, first.shape), 0, 65535).astype(np.uint16)
    first[..., 3] = second[..., 3] = 65535
    figures, difference, _ = compare(first, second)
    error = second.astype(float) - first
    assert figures["psnr"] == pytest.approx(10 * math.log10(65535**2 / np.square(error[..., :3]).mean()))
    assert figures["largest_difference"] == np.abs(error).max()
    assert figures["psnr_alpha"] == math.inf
    assert np.abs(difference.astype(float) - np.clip(128 + 8 * error[..., :3] / 257, 0, 255)).max() <= 1
    assert 0 < figures["ssim"] < 1
    second[..., 3] = 0
    figures, _, _ = compare(first, second)
    assert figures["psnr_alpha"] == 0


def test_8_bits_are_compared_with_16_as_16():
    shallow = np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8)
    deep = shallow * np.uint16(257)
    for pair in ((shallow, deep), (deep, shallow)):
        assert compare(*pair).figures["psnr"] == math.inf
    deep[3, 4, 1] -= 300 if deep[3, 4, 1] > 300 else -300
    for pair in ((shallow, deep), (deep, shallow)):
        assert compare(*pair).figures["largest_difference"] == 300

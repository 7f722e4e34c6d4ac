"""Pictures ready to be coded: tile groups, and the layout that follows the picture."""

from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from helpers.layers import encode_blocks
from helpers.paths import REPOSITORY
from helpers.pictures import photo, psnr_db
from vqcodec import api
from vqcodec.codec import rate_control
from vqcodec.codec.pipeline import Encoder
from vqcodec.options import EncodeOptions
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8
from vqcodec.weights import registry

SAMPLES = REPOSITORY / "samples"
Pixels = np.ndarray
BOTH_MODELS = ["photo-lite", "photo"]


def test_large_pictures_are_in_tile_groups() -> None:
    """A region can then be read without the rest, and memory stays small."""
    large, lite = np.zeros((2049, 2048, 1), np.uint8), registry.find("photo-lite")
    assert len(Encoder(large, lite, EncodeOptions(threads=1)).header(64).groups) == 6
    assert len(Encoder(large[:2048], lite, EncodeOptions(threads=1)).header(64).groups) == 1
    assert len(Encoder(large, lite, EncodeOptions(threads=1, tile=1 << 16)).header(64).groups) == 1


def stripes(colours: tuple[tuple[int, int, int], tuple[int, int, int]], width: int, samples: Path) -> Pixels:
    odd = np.mgrid[:128, :128][1] // width % 2
    return np.where(odd[..., None], np.uint8(colours[0]), np.uint8(colours[1]))


def lettering(samples: Path) -> Pixels:
    """Coloured letters on a photograph."""
    image = Image.fromarray(photo())
    draw = ImageDraw.Draw(image)
    for row, colour in enumerate(("red", "lime", "blue", "yellow", "magenta", "cyan")):
        draw.text((6, 4 + 30 * row), "Coloured lettering 0123", fill=colour, font_size=16)
    return np.asarray(image)


COLOURED: dict[str, Callable[[Path], Pixels]] = {
    "blue and yellow": lambda samples: stripes(((0, 0, 255), (255, 255, 0)), 2, samples),
    "red and cyan": lambda samples: stripes(((255, 0, 0), (0, 255, 255)), 1, samples),
    "green and magenta": lambda samples: stripes(((0, 200, 0), (200, 0, 200)), 1, samples).swapaxes(0, 1),
    "lettering": lettering,
}
COLOURED_CASES = pytest.mark.parametrize(("name", "model"), list(product(COLOURED, BOTH_MODELS)))


@pytest.mark.slow
@COLOURED_CASES
def test_quality_is_monotone_on_coloured_detail(name: str, model: str, samples: Path) -> None:
    """Without the choice of layouts, red and cyan columns had 2860 bytes (6.9 dB) at quality 60 and 2024 bytes (44.5 dB) at 80.

    All blocks of stripes are equal, so PSNR ripples with the ratio of step and coefficients; the bounds allow for it.
    """
    pixels = COLOURED[name](samples)
    files = [
        encode_blocks(pixels, quality=quality, model=model, tune="psnr", threads=1)
        for quality in (10, 30, 50, 60, 70, 75, 80, 85, 90)
    ]
    quality = [psnr_db(pixels, api.decode(data)) for data in files]
    assert all(len(after) > 0.93 * len(before) for before, after in pairwise(files))
    assert all(-2.5 < after - before < 12 for before, after in pairwise(quality))
    assert quality[3] > 29
    if name == "lettering":
        assert [len(data) for data in files] == sorted(len(data) for data in files)
        assert quality == sorted(quality)


@pytest.mark.slow
@COLOURED_CASES
def test_targets_are_met_on_coloured_detail(name: str, model: str, samples: Path) -> None:
    pixels = COLOURED[name](samples)
    for target in (24.0, 30.0, 38.0):
        assert target <= psnr_db(pixels, api.decode(encode_blocks(pixels, psnr=target, model=model, threads=1))) < target + 3
    largest = len(encode_blocks(pixels, quality=90, model=model, tune="psnr", threads=1))
    for size in (largest // 4, largest // 2):
        assert 0.9 * size <= len(encode_blocks(pixels, size=size, model=model, tune="psnr", threads=1)) <= size


@pytest.mark.slow
def test_targets_between_the_layouts_are_met() -> None:
    """The first file with 8x8 chroma is a quarter larger than the last without: sizes between them were out of reach."""
    image = Image.new("RGB", (160, 96), (250, 250, 120))
    draw = ImageDraw.Draw(image)
    for row, colour in enumerate(((255, 0, 0), (0, 0, 255), (0, 150, 0), (200, 0, 200))):
        draw.text((6, 2 + 23 * row), "Coloured 0123", fill=colour, font_size=18)
    pixels = np.asarray(image)
    encoder = Encoder(pixels, registry.find("photo-lite"), EncodeOptions(tune="psnr", threads=1))
    last = next(step for step in range(64, 1 << 14, 64) if encoder.layout(step) is COLOR_4X4)
    small, large = (len(encoder.file(step)) for step in (last, last - 64))
    assert large > 1.1 * small
    for size in np.linspace(1.04 * small, 0.98 * large, 3).astype(int).tolist():
        assert 0.97 * size <= len(encode_blocks(pixels, size=size, model="photo-lite", tune="psnr", threads=1)) <= size


@pytest.mark.slow
def test_lettering_keeps_its_colour(samples: Path) -> None:
    """Without high frequencies of chroma the picture had 28.3 dB."""
    pixels = lettering(samples)
    letters = pixels != photo()
    for quality, most in ((60, 11), (75, 7)):
        error = np.abs(api.decode(encode_blocks(pixels, quality=quality, tune="psnr")).astype(int) - pixels)
        assert error[letters].mean() < most


def test_photographs_keep_the_small_layout(samples: Path) -> None:
    """High frequencies of chroma are not coded at usual qualities if chroma has no detail."""
    encoder = Encoder(photo(), registry.find("photo"), EncodeOptions(threads=1))
    assert encoder.layout(rate_control.step_of_quality(60)) is COLOR_4X4
    assert encoder.layout(rate_control.FINEST_STEP_64) is COLOR_8X8


@pytest.mark.slow
def test_the_layout_of_a_step_does_not_depend_on_earlier_calls(samples: Path) -> None:
    steps = [rate_control.step_of_quality(quality) for quality in (30, 50, 60, 70, 80, 90)]
    encoder = Encoder(lettering(samples), registry.find("photo"), EncodeOptions(threads=1))
    found = [encoder.layout(step) for step in reversed(steps)][::-1]
    assert found == [Encoder(lettering(samples), registry.find("photo"), EncodeOptions(threads=1)).layout(step) for step in steps]
    assert found == [
        Encoder(lettering(samples), registry.find("photo"), EncodeOptions(threads=2, tile=64)).layout(step) for step in steps
    ]

"""Files of an SSIMULACRA2, measured by its package or by a stand-in."""

import math
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import vqcodec
from helpers.pictures import sample
from vqcodec.codec import ssimulacra2
from vqcodec.codec.picture import picture_of
from vqcodec.errors import InputError, LimitError, MissingExtraError
from vqcodec.format.header import Metadata
from vqcodec.options import EncodeOptions

LITE = {"model": "photo-lite", "effort": 1, "threads": 1}
needs_package = pytest.mark.skipif(find_spec("ssimulacra2") is None, reason="the package ssimulacra2 is not installed")
LETTERS = 255 - 255 * np.kron(np.random.default_rng(0).integers(0, 2, (24, 32)), np.ones((5, 5))).astype(np.uint8)


def like_ssimulacra2(original: np.ndarray, decoded: np.ndarray) -> float:
    """A score that falls with the error: 100 for equal pictures, 70 for 36 dB."""
    mse = np.square(original.astype(float) - decoded).mean()
    return 100 if mse == 0 else 100 - 30 * 10 ** ((36 - 10 * math.log10(255**2 / mse)) / 16)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, float]]:
    """Replaces the package. The decoded pictures that were measured, and their scores."""
    seen: list[tuple[np.ndarray, float]] = []

    def score(original: np.ndarray, decoded: np.ndarray) -> float:
        found = like_ssimulacra2(original, decoded)
        seen.append((decoded, found))
        return found

    monkeypatch.setattr(ssimulacra2, "is_installed", lambda: True)
    monkeypatch.setattr(ssimulacra2, "score", score)
    return seen


@pytest.mark.parametrize("channels", [1, 3])
def test_the_file_was_measured_and_meets_its_target(channels: int, stand_in: list[tuple[np.ndarray, float]]) -> None:
    pixels = sample("still_life", (100, 80, 220, 176))[:, :, :channels]
    for target in (75, 90):
        stand_in.clear()
        decoded = vqcodec.decode(vqcodec.encode(pixels, ssimulacra2=target, **LITE)).reshape(pixels.shape)
        score = like_ssimulacra2(pixels, decoded)
        assert target <= score <= target + 0.5
        assert any(np.array_equal(decoded, measured) for measured, _ in stand_in)


def test_transparent_pixels_are_measured_over_mid_grey(stand_in: list[tuple[np.ndarray, float]]) -> None:
    colours = sample("still_life", (100, 80, 220, 176))
    alpha = np.tile(np.linspace(0, 255, 120).astype(np.uint8), (96, 1))
    pixels = np.dstack([colours, alpha])
    decoded = vqcodec.decode(vqcodec.encode(pixels, ssimulacra2=80, **LITE))
    np.testing.assert_array_equal(decoded[:, :, 3], alpha)
    shown = [ssimulacra2.as_seen(each[:, :, :3], alpha) for each in (pixels, decoded)]
    assert 80 <= like_ssimulacra2(*shown) <= 80.5
    assert (shown[0][alpha == 0] == 128).all()
    np.testing.assert_array_equal(shown[0][alpha == 255], colours[alpha == 255])


def test_graphics_meet_an_ssimulacra2_with_fewer_colours(stand_in: list[tuple[np.ndarray, float]]) -> None:
    """Black letters with soft edges and noise, as in scans."""
    blurred = LETTERS.astype(float)
    for axis in (0, 1):
        blurred = (np.roll(blurred, 1, axis) + 2 * blurred + np.roll(blurred, -1, axis)) / 4
    noise = np.random.default_rng(1).normal(0, 6, blurred.shape)
    pixels = np.rint(3 * (blurred + noise - 128) + 128).clip(0, 255).astype(np.uint8)
    sizes = []
    for target in (40, 70):
        data = vqcodec.encode(pixels, ssimulacra2=target)
        assert target <= like_ssimulacra2(pixels, vqcodec.decode(data)) < 100
        sizes.append(len(data))
    assert sizes[0] < sizes[1] < len(vqcodec.encode(pixels, lossless=True))


@pytest.mark.usefixtures("stand_in")
def test_an_ssimulacra2_out_of_reach_of_the_blocks_is_met_without_loss() -> None:
    pixels = sample("still_life", (100, 80, 196, 160))
    np.testing.assert_array_equal(vqcodec.decode(vqcodec.encode(pixels, ssimulacra2=100, **LITE)), pixels)


@pytest.mark.usefixtures("stand_in")
def test_pictures_that_cannot_be_measured_are_refused() -> None:
    with pytest.raises(InputError, match="SSIMULACRA2 measures samples of 8 bits, and this picture has 16"):
        vqcodec.encode(np.full((20, 20, 3), 65535, np.uint16), ssimulacra2=70)
    with pytest.raises(InputError, match="SSIMULACRA2 needs 8 pixels a side, and this picture has 7 x 20"):
        vqcodec.encode(np.zeros((20, 7, 3), np.uint8), ssimulacra2=70)
    large = picture_of(np.zeros((1 << 14, (1 << 12) + 1), np.uint8), EncodeOptions(), Metadata())
    with pytest.raises(LimitError, match="more than 64 megapixels are refused"):
        ssimulacra2.check(large)


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ssimulacra2", None)  # hides it
    with pytest.raises(MissingExtraError, match=r"^SSIMULACRA2 needs its package: pip install 'vqcodec\[metrics\]'$"):
        vqcodec.encode(np.zeros((20, 20), np.uint8), ssimulacra2=70)


@needs_package
@pytest.mark.parametrize("target", [50, 80])
def test_the_package_finds_the_target_met(target: float) -> None:
    pixels = sample("still_life", (100, 80, 292, 240))
    decoded = vqcodec.decode(vqcodec.encode(pixels, ssimulacra2=target, threads=1))
    assert target <= ssimulacra2.score(pixels, decoded) <= target + 0.5


@needs_package
def test_grey_is_measured_as_rgb() -> None:
    grey = sample("still_life", (100, 80, 164, 144))[:, :, 0]
    darker = grey - grey // 8
    assert ssimulacra2.score(grey, darker) == ssimulacra2.score(*(np.dstack([each] * 3) for each in (grey, darker))) < 100

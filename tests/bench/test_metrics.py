"""Tests of bench/metrics.py against scikit-image, a slow MS-SSIM written from the paper, and values computed by hand."""

import importlib
import io
import math
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scipy.signal import convolve2d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from vqcodec.bench.metrics import measure, measure_errors, psnr_db, psnr_rgb_db
from vqcodec.errors import MissingExtraError


def picture(*shape: int, seed: int = 0) -> np.ndarray:
    """A smooth random picture, uint8."""
    noise = np.random.default_rng(seed).normal(size=shape)
    smooth = noise.cumsum(0).cumsum(1)
    smooth -= smooth.min()
    return (255 * smooth / smooth.max()).astype(np.uint8)


def damaged(pixels: np.ndarray, sigma: float = 12) -> np.ndarray:
    noisy = pixels + np.random.default_rng(1).normal(scale=sigma, size=pixels.shape)
    return noisy.clip(0, 255).round().astype(np.uint8)


@pytest.mark.parametrize("shape", [(64, 48), (45, 61, 3), (11, 11, 3)])
def test_psnr_and_ssim_agree_with_scikit_image(shape):
    original = picture(*shape)
    decoded = damaged(original)
    distance = measure(original, decoded)
    assert psnr_db(distance.mse_rgb) == pytest.approx(peak_signal_noise_ratio(original, decoded), abs=1e-9)
    reference = structural_similarity(
        original,
        decoded,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=255,
        channel_axis=None if len(shape) == 2 else 2,
    )
    assert distance.ssim == pytest.approx(reference, abs=1e-6)


def reference_ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang, Simoncelli, Bovik 2003 on one plane, with a two-dimensional window and their 2x2 low-pass filter."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    a, b = a.astype(float), b.astype(float)
    product = 1.0
    weights = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]
    for scale, weight in enumerate(weights):
        mean_a, mean_b = convolve2d(a, window, "valid"), convolve2d(b, window, "valid")
        variance_a = convolve2d(a * a, window, "valid") - mean_a**2
        variance_b = convolve2d(b * b, window, "valid") - mean_b**2
        covariance = convolve2d(a * b, window, "valid") - mean_a * mean_b
        term = (2 * covariance + 58.5225) / (variance_a + variance_b + 58.5225)
        if scale == len(weights) - 1:
            term = term * (2 * mean_a * mean_b + 6.5025) / (mean_a**2 + mean_b**2 + 6.5025)
        product *= term.mean() ** weight
        a, b = (np.pad(p, (0, 1), mode="symmetric") for p in (a, b))
        a, b = (((p[:-1] + p[1:])[:, :-1] + (p[:-1] + p[1:])[:, 1:])[::2, ::2] / 4 for p in (a, b))
    return product


@pytest.mark.parametrize("shape", [(176, 192), (161, 177)])
def test_ms_ssim_agrees_with_the_paper(shape):
    original = picture(*shape)
    decoded = damaged(original, 25)
    assert measure(original, decoded).ms_ssim == pytest.approx(reference_ms_ssim(original, decoded), abs=1e-9)


def test_ms_ssim_of_colour_is_the_mean_over_channels():
    original = picture(161, 161, 3)
    decoded = damaged(original)
    channels = [measure(original[..., c].copy(), decoded[..., c].copy()).ms_ssim for c in range(3)]
    assert measure(original, decoded).ms_ssim == pytest.approx(np.mean(channels))


def test_psnr_rgb_averages_the_error_over_channels_and_psnr_y_weighs_it():
    original = np.full((4, 5, 3), 100, np.uint8)
    decoded = original.copy()
    decoded[..., 1] += 3  # green only
    distance = measure_errors(original, decoded)
    assert distance.mse_rgb == pytest.approx(9 / 3)
    assert psnr_rgb_db(original, decoded) == pytest.approx(psnr_db(3))
    assert distance.mse_y == pytest.approx((0.587 * 3) ** 2)


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_the_high_band_falls_where_it_is_blurred_and_grows_with_noise(shape):
    original = np.random.default_rng(0).integers(60, 200, shape).astype(np.uint8)
    half = (128 + (original.astype(int) - 128) // 2).astype(np.uint8)
    assert measure(original, original).high_band == 1
    assert measure(original, half).high_band == pytest.approx(1 / 4, rel=0.02)
    assert measure(half, original).high_band == pytest.approx(4, rel=0.02)
    assert math.isnan(measure(np.zeros_like(original), original).high_band)


def test_differences_do_not_wrap_around():
    black, white = np.zeros((20, 20, 3), np.uint8), np.full((20, 20, 3), 255, np.uint8)
    for distance in (measure(black, white), measure(white, black)):
        assert distance.mse_rgb == 255**2
        assert distance.mse_y == pytest.approx(255**2)
        assert psnr_db(distance.mse_rgb) == 0


def test_an_identical_picture_is_perfect():
    original = picture(200, 170, 3)
    distance = measure(original, original.copy())
    assert psnr_db(distance.mse_rgb) == math.inf
    assert distance.ssim == pytest.approx(1)
    assert distance.ms_ssim == pytest.approx(1)


@pytest.mark.parametrize(("side", "has_ssim", "has_ms_ssim"), [(10, False, False), (11, True, False), (160, True, False)])
def test_undefined_metrics_of_small_pictures_are_nan(side, has_ssim, has_ms_ssim):
    original = picture(side, 200)
    distance = measure(original, damaged(original))
    assert math.isnan(distance.ssim) != has_ssim
    assert math.isnan(distance.ms_ssim) != has_ms_ssim
    assert distance.mse_rgb == distance.mse_y  # grey


def test_errors_alone_equal_those_of_the_full_measurement():
    original = picture(200, 200)
    full, errors = measure(original, damaged(original)), measure_errors(original, damaged(original))
    assert (errors.mse_rgb, errors.mse_y) == (full.mse_rgb, full.mse_y)
    assert math.isnan(errors.ssim)
    assert math.isnan(errors.ms_ssim)


@pytest.mark.parametrize("other", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5), np.uint8), np.zeros((4, 4), np.float32)])
def test_pictures_of_other_shapes_or_types_are_refused(other):
    with pytest.raises(ValueError, match="cannot compare"):
        measure(np.zeros((4, 4), np.uint8), other)


@pytest.mark.parametrize(
    ("module", "hidden"),
    [("metrics", "scipy.ndimage"), ("bdrate", "scipy.interpolate"), ("plot", "matplotlib.figure")],
)
def test_without_its_extra_the_bench_says_what_to_install(module, hidden, monkeypatch):
    monkeypatch.setitem(sys.modules, hidden, None)
    monkeypatch.delitem(sys.modules, f"vqcodec.bench.{module}", raising=False)
    with pytest.raises(MissingExtraError, match=r"pip install 'vqcodec\[bench\]'"):
        importlib.import_module(f"vqcodec.bench.{module}")


def test_ssimulacra2_comes_from_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def compute(original: io.BytesIO, decoded: io.BytesIO) -> float:
        seen.extend(np.asarray(Image.open(file)) for file in (original, decoded))
        return 42.0

    package = ModuleType("ssimulacra2")
    package.__spec__ = ModuleSpec("ssimulacra2", None)
    package.compute_ssimulacra2 = compute
    monkeypatch.setitem(sys.modules, "ssimulacra2", package)
    grey = picture(20, 30) // 2
    assert measure(grey, grey + 1).ssimulacra2 == 42
    for found, wanted in zip(seen, (grey, grey + 1), strict=True):
        np.testing.assert_array_equal(found, np.stack([wanted] * 3, axis=2))
    assert math.isnan(measure(grey[:7], grey[:7] + 1).ssimulacra2)
    monkeypatch.setitem(sys.modules, "ssimulacra2", None)  # hides the package
    assert math.isnan(measure(grey, grey).ssimulacra2)


def test_lpips_is_not_computed_for_pictures_that_are_too_small() -> None:
    asked = []

    def lpips(original: np.ndarray, decoded: np.ndarray) -> float:
        asked.append(original.shape)
        return 0.5

    sizes = [(16, 40, 3), (40, 16, 3), (17, 17, 3)]
    found = [measure(picture(*size), damaged(picture(*size)), lpips=lpips).lpips for size in sizes]
    assert math.isnan(found[0])
    assert math.isnan(found[1])
    assert found[2] == 0.5
    assert asked == [(17, 17, 3)]


@pytest.mark.parametrize("shape", [(170, 180), (45, 61, 3)])
def test_samples_of_16_bits_are_measured_as_those_of_8(shape):
    original = picture(*shape)
    decoded = damaged(original)
    shallow, deep = measure(original, decoded), measure(original * np.uint16(257), decoded * np.uint16(257))
    for name in ("mse_rgb", "mse_y", "ssim", "ms_ssim", "high_band"):
        assert getattr(deep, name) == pytest.approx(getattr(shallow, name), abs=1e-9, nan_ok=True)
    assert math.isnan(deep.ssimulacra2)
    nearly = original * np.uint16(257)
    nearly[0, 0] ^= 1
    assert psnr_rgb_db(original * np.uint16(257), nearly) > 96

"""Distance of a decoded picture from its original: PSNR, SSIM, MS-SSIM and others.

The metrics compare the RGB or grey arrays that a decoder wrote, uint8 or uint16, never its internal floats. Samples of uint16 are
divided by 257, so their peak of 65535 becomes 255, and squared errors, PSNR, SSIM and MS-SSIM mean the same as for 8 bits.
- PSNR RGB: from the squared error averaged over the three channels. PSNR Y: from the squared error of BT.601 luma.
- SSIM (Wang, Bovik, Sheikh, Simoncelli 2004) and MS-SSIM (Wang, Simoncelli, Bovik 2003): per RGB channel, then the mean
  over channels; Gaussian window 11x11 with sigma 1.5, K1 = 0.01, K2 = 0.03, only positions where the window fits.
  Five scales need at least 161 pixels on the shorter side. Below that MS-SSIM is nan: fewer scales would give another,
  higher number under the same name. SSIM is nan below 11 pixels.
- High band: energy of BT.601 luma minus its [1 2 1] / 4 blur, divided by the original's. 1 is as sharp (or as noisy) as the
  original, below 1 is blurred. It compares two sums, so it says nothing about where the sharpness is.
- LPIPS: by the function that `open_lpips` returns, which needs the weights; otherwise, and for uint16, nan.
- SSIMULACRA2 (Sneyers 2022): by the package ssimulacra2 (extra `metrics`) if it is installed; otherwise, and for uint16, nan. 100
  for identical pictures, 90 for no visible difference, 70 for high quality, 30 for low quality.
A grey picture has one channel: its PSNR RGB and PSNR Y are equal.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vqcodec.arrays import Float64, Int32, Pixels, UInt8
from vqcodec.codec import ssimulacra2
from vqcodec.errors import MissingExtraError
from vqcodec.runtime import progress

try:
    from scipy.ndimage import correlate1d
except ImportError as error:
    raise MissingExtraError("the bench needs scipy: pip install 'vqcodec[bench]'") from error


PEAK = 255.0
DEEP = 257
"""Factor between samples of 16 bits and of 8: 65535 = 257 * 255."""
LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601
WINDOW_RADIUS = 5
WINDOW_SIGMA = 1.5
C1 = (0.01 * PEAK) ** 2
C2 = (0.03 * PEAK) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
SSIM_MIN_SIDE = 2 * WINDOW_RADIUS + 1
MS_SSIM_MIN_SIDE = 2 * WINDOW_RADIUS * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
_LPIPS_MIN_SIDE = 17  # below, the network's last pooling has no input


@dataclass(frozen=True)
class Distance:
    """Distance of one decoded picture from its original; a metric that is undefined or was not computed is nan."""

    mse_rgb: float  # mean squared error over pixels and channels, 0..65025, for samples 0..255
    mse_y: float  # mean squared error of BT.601 luma
    ssim: float = math.nan
    ms_ssim: float = math.nan
    high_band: float = math.nan  # ratio of decoded to original; nan where the original has none
    lpips: float = math.nan
    ssimulacra2: float = math.nan


LpipsFunction = Callable[[UInt8, UInt8], float]
"""LPIPS of an original and a decoded picture, uint8 [H, W] or [H, W, 3]."""


def measure(original: Pixels, decoded: Pixels, *, lpips: LpipsFunction | None = None) -> Distance:
    """Compare two arrays of equal shape, [H, W] or [H, W, 3], and dtype by all metrics; by LPIPS only with `lpips`.

    Raises ValueError when shapes or dtypes differ, or the dtype is neither uint8 nor uint16.
    """
    errors = measure_errors(original, decoded)
    levels = _levels(original), _levels(decoded)
    energies = [_high_band_energy(each) for each in levels[::-1]]
    ssim, ms_ssim = _ssim_pair(*levels)
    found = replace(errors, ssim=ssim, ms_ssim=ms_ssim, high_band=energies[0] / energies[1] if energies[1] else math.nan)
    if original.dtype == np.uint16:
        return found
    shallow = original.view(np.uint8), decoded.view(np.uint8)
    large_enough = min(original.shape[:2]) >= _LPIPS_MIN_SIDE
    return replace(
        found,
        lpips=lpips(*shallow) if lpips is not None and large_enough else math.nan,
        ssimulacra2=_ssimulacra2(*shallow),
    )


def _levels(pixels: Pixels) -> UInt8 | Float64:
    """Samples from 0 to 255: uint8 as they are, or float64 for uint16."""
    return pixels.view(np.uint8) if pixels.dtype == np.uint8 else pixels / np.float64(DEEP)


def measure_errors(original: Pixels, decoded: Pixels) -> Distance:
    """Compare as `measure` does, by mean squared errors only; the other metrics are nan. Raises ValueError likewise."""
    if original.shape != decoded.shape or original.dtype != decoded.dtype or original.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"cannot compare {original.dtype} {original.shape} with {decoded.dtype} {decoded.shape} pixels")
    difference: Int32 | Float64 = original.astype(np.int32) - decoded  # [H, W] or [H, W, 3]
    if original.dtype == np.uint16:
        difference = difference / DEEP
    mse_rgb = float(np.mean(np.square(difference)))
    luma_difference = difference if difference.ndim == 2 else difference @ np.array(LUMA_WEIGHTS)  # [H, W]
    mse_y = float(np.mean(np.square(luma_difference, dtype=np.float64)))
    return Distance(mse_rgb, mse_y)


def psnr_db(mse: float) -> float:
    """Peak signal-to-noise ratio in dB for a mean squared error of samples 0..255; inf for error 0."""
    return math.inf if mse == 0 else 10 * math.log10(PEAK**2 / mse)


def psnr_rgb_db(original: Pixels, decoded: Pixels) -> float:
    """PSNR in dB over all pixels and channels of two arrays of equal shape and dtype; inf when they are equal."""
    return psnr_db(measure_errors(original, decoded).mse_rgb)


def open_lpips(folder: Path) -> LpipsFunction:
    """Return LPIPS with the weights in a folder (neural/perceptual.py). Raises InputError, or MissingExtraError without torch."""
    try:
        from vqcodec.neural.perceptual import Lpips
    except ImportError as error:
        raise MissingExtraError("LPIPS needs torch: pip install 'vqcodec[neural]'") from error
    return Lpips(folder).between


def _ssimulacra2(original: UInt8, decoded: UInt8) -> float:
    """SSIMULACRA2 by its package; nan without it or for pictures that are too small."""
    measurable = ssimulacra2.is_installed() and min(original.shape[:2]) >= ssimulacra2.MIN_SIDE
    return ssimulacra2.score(original, decoded) if measurable else math.nan


def _high_band_energy(pixels: UInt8 | Float64) -> float:
    """Energy of luma minus its [1 2 1] / 4 blur."""
    luma: Float64 = pixels.astype(np.float64) if pixels.ndim == 2 else pixels @ np.array(LUMA_WEIGHTS)
    blur = (0.25, 0.5, 0.25)
    return float(np.sum(np.square(luma - correlate1d(correlate1d(luma, blur, axis=0), blur, axis=1))))


class _SsimPair(NamedTuple):
    """SSIM and MS-SSIM; nan where they are undefined."""

    ssim: float
    ms_ssim: float


def _ssim_pair(original: UInt8 | Float64, decoded: UInt8 | Float64) -> _SsimPair:
    """SSIM and MS-SSIM averaged over the channels."""
    channels = 1 if original.ndim == 2 else original.shape[2]
    height, width = original.shape[:2]
    planes = [pixels.reshape(height, width, channels).transpose(2, 0, 1).astype(np.float64) for pixels in (original, decoded)]
    scores = [_channel_ssim_pair(planes[0][channel], planes[1][channel]) for channel in progress.steps(range(channels))]
    return _SsimPair(float(np.mean([s.ssim for s in scores])), float(np.mean([s.ms_ssim for s in scores])))


def _channel_ssim_pair(a: Float64, b: Float64) -> _SsimPair:
    """SSIM and MS-SSIM of one channel. The finest scale of MS-SSIM is SSIM itself, so one pass computes both."""
    side = min(a.shape)
    if side < SSIM_MIN_SIDE:
        return _SsimPair(math.nan, math.nan)
    scales = [_ssim_terms(a, b)]
    if side < MS_SSIM_MIN_SIDE:
        return _SsimPair(scales[0].ssim, math.nan)
    for _ in SCALE_WEIGHTS[1:]:
        a, b = _halve(a), _halve(b)
        scales.append(_ssim_terms(a, b))
    # Luminance counts at the coarsest scale only. A negative mean has no real power: clamped, as in common implementations.
    factors = [scale.contrast for scale in scales[:-1]] + [scales[-1].ssim]
    ms_ssim = math.prod(max(factor, 0.0) ** weight for factor, weight in zip(factors, SCALE_WEIGHTS, strict=True))
    return _SsimPair(scales[0].ssim, ms_ssim)


class _SsimTerms(NamedTuple):
    """Means over the valid positions of SSIM and of its contrast-structure factor (Wang et al. 2004, eq. 12-13)."""

    ssim: float
    contrast: float


def _ssim_terms(a: Float64, b: Float64) -> _SsimTerms:
    """SSIM of two planes float64 [H, W] at one scale."""
    mean_a, mean_b = _window_mean(a), _window_mean(b)  # float64 [H-10, W-10]
    variances = _window_mean(a * a + b * b) - mean_a**2 - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    contrast = (2 * covariance + C2) / (variances + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return _SsimTerms(float(np.mean(luminance * contrast)), float(np.mean(contrast)))


def _window_mean(plane: Float64) -> Float64:
    """Gaussian-weighted 11x11 means where the whole window lies inside, float64 [H, W] -> [H-10, W-10]."""
    offsets = np.arange(-WINDOW_RADIUS, WINDOW_RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * WINDOW_SIGMA**2))
    weights /= weights.sum()
    inside = slice(WINDOW_RADIUS, -WINDOW_RADIUS)
    rows: Float64 = correlate1d(plane, weights, axis=0)[inside]
    means: Float64 = correlate1d(rows, weights, axis=1)[:, inside]
    return means


def _halve(plane: Float64) -> Float64:
    """Means of 2x2 pixels, [H, W] -> [ceil(H/2), ceil(W/2)]; an odd last row or column is averaged with itself."""
    height, width = plane.shape
    even: Float64 = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    return (even[0::2, 0::2] + even[0::2, 1::2] + even[1::2, 0::2] + even[1::2, 1::2]) / 4

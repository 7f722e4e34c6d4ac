"""How far a decoded picture is from the original: PSNR, SSIM and MS-SSIM on 8-bit pixels.

What is measured is always the uint8 RGB (or grey) array that a decoder wrote, never floats from inside one.
- PSNR RGB: from the squared error averaged over the three channels; PSNR Y: from that of their BT.601 luma.
- SSIM (Wang, Bovik, Sheikh, Simoncelli 2004) and MS-SSIM (Wang, Simoncelli, Bovik 2003): per RGB channel, then the mean
  over channels; Gaussian window 11x11 with sigma 1.5, K1 = 0.01, K2 = 0.03, only positions where the window fits.
- Five scales need at least 161 pixels on the shorter side. Below that MS-SSIM is nan: with fewer scales it would be
  another, higher number under the same name. SSIM likewise is nan below 11 pixels.
- High band: energy of the BT.601 luma less its [1 2 1] / 4 blur, over that of the original's: 1 is as sharp (or as noisy), below
  is blurred. It needs no reference but this sum, so it says nothing of where the sharpness is.
- LPIPS: by the function that `open_lpips` makes, where its weights are at hand; nan elsewhere.
- SSIMULACRA2 (Sneyers 2022): by the package of that name, where it is installed; nan elsewhere. 100 for the same pictures, 90
  where no difference is seen, 70 for high quality, 30 for low.
A grey picture counts as one channel: its PSNR RGB and PSNR Y are the same number.
"""

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vqcodec.arrays import Float64, UInt8
from vqcodec.errors import MissingExtraError
from vqcodec.io.images import write_image
from vqcodec.runtime import progress

try:
    from scipy.ndimage import correlate1d
except ImportError as error:
    raise MissingExtraError("the bench needs scipy: pip install 'vqcodec[bench]'") from error


PEAK = 255.0
LUMA_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601
WINDOW_RADIUS = 5
WINDOW_SIGMA = 1.5
C1 = (0.01 * PEAK) ** 2
C2 = (0.03 * PEAK) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
SSIM_MIN_SIDE = 2 * WINDOW_RADIUS + 1
MS_SSIM_MIN_SIDE = 2 * WINDOW_RADIUS * 2 ** (len(SCALE_WEIGHTS) - 1) + 1
_LEAST_FOR_SSIMULACRA2 = 8
_LEAST_FOR_LPIPS = 17  # below, its last pooling has nothing to look at
"""Pixels a side: of smaller pictures the package says 100, whatever they are."""


@dataclass(frozen=True)
class Distance:
    """Distance of one decoded picture from its original; ssim and ms_ssim are nan where they are not defined."""

    mse_rgb: float  # mean squared error over pixels and channels, 0..65025
    mse_y: float  # the same of BT.601 luma
    ssim: float
    ms_ssim: float
    high_band: float  # of the decoded picture over that of the original; nan where the original has none
    lpips: float
    ssimulacra2: float


Perceptual = Callable[[UInt8, UInt8], float]
"""LPIPS of an original and a decoded picture."""


def measure(original: UInt8, decoded: UInt8, *, psnr_only: bool = False, perceptual: Perceptual | None = None) -> Distance:
    """Compare two uint8 arrays of equal shape, [H,W] or [H,W,3]; `psnr_only` leaves all but squared errors nan.

    Raises ValueError when the shapes or dtypes do not fit.
    """
    if original.shape != decoded.shape or original.dtype != np.uint8 or decoded.dtype != np.uint8:
        raise ValueError(f"cannot compare {original.dtype} {original.shape} with {decoded.dtype} {decoded.shape} pixels")
    difference = original.astype(np.int16) - decoded  # int16 [H,W] or [H,W,3]
    mse_rgb = float(np.mean(np.square(difference, dtype=np.int32)))
    luma_difference = difference if difference.ndim == 2 else difference @ np.array(LUMA_WEIGHTS)  # [H,W]
    mse_y = float(np.mean(np.square(luma_difference, dtype=np.float64)))
    if psnr_only:
        return Distance(mse_rgb, mse_y, math.nan, math.nan, math.nan, math.nan, math.nan)
    energies = [_high_band_energy(pixels) for pixels in (decoded, original)]
    high_band = energies[0] / energies[1] if energies[1] else math.nan
    lpips = math.nan
    if perceptual is not None and min(original.shape[:2]) >= _LEAST_FOR_LPIPS:
        lpips = perceptual(original, decoded)
    return Distance(mse_rgb, mse_y, *_ssim_pair(original, decoded), high_band, lpips, _ssimulacra2(original, decoded))


def open_lpips(folder: Path) -> Perceptual:
    """LPIPS with the weights in a folder (neural/perceptual.py). Raises InputError, MissingExtraError where there is no torch."""
    try:
        from vqcodec.neural.perceptual import Lpips
    except ImportError as error:
        raise MissingExtraError("LPIPS needs torch: pip install 'vqcodec[neural]'") from error
    return Lpips(folder).between


def _ssimulacra2(original: UInt8, decoded: UInt8) -> float:
    if find_spec("ssimulacra2") is None or min(original.shape[:2]) < _LEAST_FOR_SSIMULACRA2:
        return math.nan
    import ssimulacra2

    files = [io.BytesIO(), io.BytesIO()]  # it reads pictures in colour from files
    for pixels, file in zip((original, decoded), files, strict=True):
        write_image(pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, axis=2), file, format="PNG")
        file.seek(0)
    return float(ssimulacra2.compute_ssimulacra2(*files))


def _high_band_energy(pixels: UInt8) -> float:
    luma: Float64 = pixels.astype(np.float64) if pixels.ndim == 2 else pixels @ np.array(LUMA_WEIGHTS)
    blur = (0.25, 0.5, 0.25)
    return float(np.sum(np.square(luma - correlate1d(correlate1d(luma, blur, axis=0), blur, axis=1))))


def psnr_db(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of 8-bit samples; inf when there is no error."""
    return math.inf if mse == 0 else 10 * math.log10(PEAK**2 / mse)


def _ssim_pair(original: UInt8, decoded: UInt8) -> tuple[float, float]:
    """(SSIM, MS-SSIM) averaged over the channels."""
    channels = 1 if original.ndim == 2 else original.shape[2]
    height, width = original.shape[:2]
    planes = [pixels.reshape(height, width, channels).transpose(2, 0, 1).astype(np.float64) for pixels in (original, decoded)]
    scores = [_channel_ssim_pair(planes[0][channel], planes[1][channel]) for channel in progress.steps(range(channels))]
    return float(np.mean([s[0] for s in scores])), float(np.mean([s[1] for s in scores]))


def _channel_ssim_pair(a: Float64, b: Float64) -> tuple[float, float]:
    """(SSIM, MS-SSIM) of one channel. The finest scale of MS-SSIM is SSIM itself, so both come from one pass."""
    side = min(a.shape)
    if side < SSIM_MIN_SIDE:
        return math.nan, math.nan
    scales = [_ssim_terms(a, b)]
    if side < MS_SSIM_MIN_SIDE:
        return scales[0][0], math.nan
    for _ in SCALE_WEIGHTS[1:]:
        a, b = _halve(a), _halve(b)
        scales.append(_ssim_terms(a, b))
    # Luminance counts at the coarsest scale only. A negative mean has no real power: clamped, as in the usual code.
    factors = [contrast for _, contrast in scales[:-1]] + [scales[-1][0]]
    ms_ssim = math.prod(max(factor, 0.0) ** weight for factor, weight in zip(factors, SCALE_WEIGHTS, strict=True))
    return scales[0][0], ms_ssim


def _ssim_terms(a: Float64, b: Float64) -> tuple[float, float]:
    """Means over the valid positions of SSIM and of its contrast-structure factor (Wang et al. 2004, eq. 12-13)."""
    mean_a, mean_b = _window_mean(a), _window_mean(b)  # float64 [H-10,W-10]
    variances = _window_mean(a * a + b * b) - mean_a**2 - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    contrast = (2 * covariance + C2) / (variances + C2)
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return float(np.mean(luminance * contrast)), float(np.mean(contrast))


def _window_mean(plane: Float64) -> Float64:
    """Gaussian-weighted 11x11 means, float64 [H,W] -> [H-10,W-10]: only where the whole window lies inside."""
    offsets = np.arange(-WINDOW_RADIUS, WINDOW_RADIUS + 1)
    weights = np.exp(-(offsets**2) / (2 * WINDOW_SIGMA**2))
    weights /= weights.sum()
    inside = slice(WINDOW_RADIUS, -WINDOW_RADIUS)
    rows: Float64 = correlate1d(plane, weights, axis=0)[inside]
    means: Float64 = correlate1d(rows, weights, axis=1)[:, inside]
    return means


def _halve(plane: Float64) -> Float64:
    """Means of 2x2 pixels, [H,W] -> [ceil(H/2),ceil(W/2)]; an odd last row or column is averaged with itself."""
    height, width = plane.shape
    even: Float64 = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    return (even[0::2, 0::2] + even[0::2, 1::2] + even[1::2, 0::2] + even[1::2, 1::2]) / 4

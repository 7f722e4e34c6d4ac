"""Bjøntegaard delta rate, and interpolation of a rate-distortion curve at a given rate or PSNR.

A curve is a list of (bits per pixel, PSNR in dB). PCHIP (Fritsch and Carlson 1980), which never overshoots, interpolates
log rate over PSNR, or PSNR over log rate. BD-rate follows G. Bjøntegaard, "Calculation of average PSNR differences between
RD-curves", VCEG-M33, 2001; it fits PCHIP, as is usual today, instead of his single cubic. Curves are never extrapolated:
outside a curve the result is nan.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from vqcodec.arrays import Float64
from vqcodec.errors import MissingExtraError

try:
    from scipy.interpolate import PchipInterpolator
except ImportError as error:
    raise MissingExtraError("the bench needs scipy: pip install 'vqcodec[bench]'") from error


class RatePoint(NamedTuple):
    """One setting of a codec: bits per pixel (> 0) and PSNR in dB, or another metric that grows with quality."""

    bpp: float
    psnr_db: float


Curve = Sequence[RatePoint]


def useful_points(curve: Curve) -> list[RatePoint]:
    """Pareto-optimal points by rising rate: no other point has at most their rate and at least their PSNR.

    Lossless points (infinite PSNR) and points of rate 0 are dropped, since log rate and PSNR must be finite.
    """
    kept: list[RatePoint] = []
    for point in sorted(curve, key=lambda p: (p.bpp, -p.psnr_db)):
        if point.bpp > 0 and math.isfinite(point.psnr_db) and (not kept or point.psnr_db > kept[-1].psnr_db):
            kept.append(point)
    return kept


def at_rate(curve: Curve, bpp: float) -> float:
    """PSNR in dB at `bpp`; nan outside the curve."""
    log_rates, psnrs = _axes(curve)
    return _interpolate(log_rates, psnrs, math.log(bpp))


def at_psnr(curve: Curve, psnr_db: float) -> float:
    """Bits per pixel needed for `psnr_db`; nan outside the curve."""
    log_rates, psnrs = _axes(curve)
    return math.exp(_interpolate(psnrs, log_rates, psnr_db))


class PsnrRange(NamedTuple):
    """PSNR in dB from `low` to `high`; empty when low >= high."""

    low: float
    high: float


def common_psnr(anchor: Curve, test: Curve, *, bpp_range: tuple[float, float] | None = None) -> PsnrRange:
    """PSNR range that both curves cover, each within `bpp_range` (lowest, highest bits per pixel)."""
    low, high = -math.inf, math.inf
    for curve in (anchor, test):
        points = useful_points(curve)
        if len(points) < 2:
            return PsnrRange(math.inf, -math.inf)
        first, last = points[0], points[-1]
        if bpp_range is not None:
            if bpp_range[1] <= first.bpp or bpp_range[0] >= last.bpp:
                return PsnrRange(math.inf, -math.inf)
            first, last = (
                RatePoint(bpp, at_rate(points, bpp)) for bpp in (max(bpp_range[0], first.bpp), min(bpp_range[1], last.bpp))
            )
        low, high = max(low, first.psnr_db), min(high, last.psnr_db)
    return PsnrRange(low, high)


def bd_rate(anchor: Curve, test: Curve, *, bpp_range: tuple[float, float] | None = None) -> float:
    """Mean difference in size of `test` against `anchor` at equal PSNR, in percent; negative means smaller files.

    Integrates over the PSNR range that both curves cover; with `bpp_range`, over the part of it where both rates lie in that
    range. All points shape the interpolation in either case. Returns nan when there is no common range.
    """
    low, high = common_psnr(anchor, test, bpp_range=bpp_range)
    if not low < high:
        return math.nan
    mean_log_rates = []
    for curve in (anchor, test):
        log_rates, psnrs = _axes(curve)
        mean_log_rates.append(float(PchipInterpolator(psnrs, log_rates).integrate(low, high)) / (high - low))
    return 100 * math.expm1(mean_log_rates[1] - mean_log_rates[0])


def _axes(curve: Curve) -> tuple[Float64, Float64]:
    """Natural log of bpp and PSNR in dB, both strictly rising, float64 [N]."""
    points = useful_points(curve)
    return np.log([p.bpp for p in points]), np.array([p.psnr_db for p in points])


def _interpolate(x: Float64, y: Float64, at: float) -> float:
    """PCHIP value of y(x) at `at`; nan outside x."""
    if len(x) < 2 or not x[0] <= at <= x[-1]:
        return math.nan
    return float(PchipInterpolator(x, y)(at))

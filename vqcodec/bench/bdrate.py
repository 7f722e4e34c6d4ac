"""Bjøntegaard delta rate, and what a curve is worth at a given rate or PSNR.

A curve is a list of (bits per pixel, PSNR in dB). Between its points PCHIP (Fritsch and Carlson 1980), which never
overshoots, interpolates the logarithm of the rate over PSNR, or PSNR over the logarithm of the rate. The measure is
that of G. Bjøntegaard, "Calculation of average PSNR differences between RD-curves", VCEG-M33, 2001, who fitted one
cubic where PCHIP is usual today. Nothing is ever extrapolated: outside a curve the answer is nan.
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
    """One setting of a codec: bits per pixel (> 0) and PSNR in dB."""

    bpp: float
    psnr_db: float


Curve = Sequence[RatePoint]


def useful_points(curve: Curve) -> list[RatePoint]:
    """The points by rising rate, without those nobody would choose: another has no more bits and no less PSNR.

    Lossless points (infinite PSNR) and points without a rate are left out too, since they have no place on a curve.
    """
    kept: list[RatePoint] = []
    for point in sorted(curve, key=lambda p: (p.bpp, -p.psnr_db)):
        if point.bpp > 0 and math.isfinite(point.psnr_db) and (not kept or point.psnr_db > kept[-1].psnr_db):
            kept.append(point)
    return kept


def at_rate(curve: Curve, bpp: float) -> float:
    """PSNR in dB that the curve reaches at `bpp`; nan outside the curve."""
    log_rates, psnrs = _axes(curve)
    return _interpolate(log_rates, psnrs, math.log(bpp))


def at_psnr(curve: Curve, psnr_db: float) -> float:
    """Bits per pixel that the curve needs for `psnr_db`; nan outside the curve."""
    log_rates, psnrs = _axes(curve)
    return math.exp(_interpolate(psnrs, log_rates, psnr_db))


def common_psnr(anchor: Curve, test: Curve, *, bpp_range: tuple[float, float] | None = None) -> tuple[float, float]:
    """The PSNR range (low, high) in dB that both curves cover, each within `bpp_range`; low >= high if none."""
    low, high = -math.inf, math.inf
    for curve in (anchor, test):
        points = useful_points(curve)
        if len(points) < 2:
            return math.inf, -math.inf
        first, last = points[0], points[-1]
        if bpp_range is not None:
            if bpp_range[1] <= first.bpp or bpp_range[0] >= last.bpp:
                return math.inf, -math.inf
            first, last = (
                RatePoint(bpp, at_rate(points, bpp)) for bpp in (max(bpp_range[0], first.bpp), min(bpp_range[1], last.bpp))
            )
        low, high = max(low, first.psnr_db), min(high, last.psnr_db)
    return low, high


def bd_rate(anchor: Curve, test: Curve, *, bpp_range: tuple[float, float] | None = None) -> float:
    """Mean difference in size of `test` against `anchor` at equal PSNR, in percent; negative means smaller files.

    Integrated over the PSNR range that both curves cover; with `bpp_range`, over the part of it where both rates lie
    inside that range. All points shape the interpolation in either case. nan when there is no common range.
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
    """(natural log of bpp, PSNR in dB), both strictly rising, float64 [N]."""
    points = useful_points(curve)
    return np.log([p.bpp for p in points]), np.array([p.psnr_db for p in points])


def _interpolate(x: Float64, y: Float64, at: float) -> float:
    if len(x) < 2 or not x[0] <= at <= x[-1]:
        return math.nan
    return float(PchipInterpolator(x, y)(at))

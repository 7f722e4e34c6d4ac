"""Bjøntegaard delta rate, and interpolation of a rate-distortion curve at a given rate or value of a metric.

A curve is a list of (bits per pixel, value of a metric that grows with quality). PCHIP (Fritsch and Carlson 1980), which never
overshoots, interpolates log rate over the metric, or the metric over log rate. BD-rate follows G. Bjøntegaard, "Calculation of
average PSNR differences between RD-curves", VCEG-M33, 2001; it fits PCHIP, as is usual today, instead of his single cubic. Curves
are never extrapolated: outside a curve the result is nan.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vqcodec.arrays import Float64
from vqcodec.errors import MissingExtraError

try:
    from scipy.interpolate import PchipInterpolator
except ImportError as error:
    raise MissingExtraError("the bench needs scipy: pip install 'vqcodec[bench]'") from error


class RatePoint(NamedTuple):
    """One setting of a codec: bits per pixel (> 0) and the value of a metric that grows with quality, such as PSNR in dB."""

    bpp: float
    value: float


Curve = Sequence[RatePoint]


def useful_points(curve: Curve) -> list[RatePoint]:
    """Pareto-optimal points by rising rate: no other point has at most their rate and at least their value.

    Points whose value is infinite (lossless) or nan, and points of rate 0, are dropped, since log rate and value must be finite.
    """
    kept: list[RatePoint] = []
    for point in sorted(curve, key=lambda p: (p.bpp, -p.value)):
        if point.bpp > 0 and math.isfinite(point.value) and (not kept or point.value > kept[-1].value):
            kept.append(point)
    return kept


def at_rate(curve: Curve, bpp: float) -> float:
    """The metric's value at `bpp`; nan outside the curve."""
    log_rates, values = _axes(curve)
    return _interpolate(log_rates, values, math.log(bpp))


def at_value(curve: Curve, value: float) -> float:
    """Bits per pixel needed for the metric's `value`; nan outside the curve."""
    log_rates, values = _axes(curve)
    return math.exp(_interpolate(values, log_rates, value))


class ValueRange(NamedTuple):
    """Values of a metric from `low` to `high`; empty when low >= high."""

    low: float
    high: float


def common_values(anchor: Curve, test: Curve, *, bpp_range: tuple[float, float] | None = None) -> ValueRange:
    """Range of values that both curves cover, each within `bpp_range` (lowest, highest bits per pixel)."""
    low, high = -math.inf, math.inf
    for curve in (anchor, test):
        points = useful_points(curve)
        if len(points) < 2:
            return ValueRange(math.inf, -math.inf)
        first, last = points[0], points[-1]
        if bpp_range is not None:
            if bpp_range[1] <= first.bpp or bpp_range[0] >= last.bpp:
                return ValueRange(math.inf, -math.inf)
            first, last = (
                RatePoint(bpp, at_rate(points, bpp)) for bpp in (max(bpp_range[0], first.bpp), min(bpp_range[1], last.bpp))
            )
        low, high = max(low, first.value), min(high, last.value)
    return ValueRange(low, high)


def bd_rate(anchor: Curve, test: Curve, *, bpp_range: tuple[float, float] | None = None) -> float:
    """Mean difference in size of `test` against `anchor` at equal values, in percent; negative means smaller files.

    Integrates over the range of values that both curves cover; with `bpp_range`, over the part of it where both rates lie in that
    range. All points shape the interpolation in either case. Returns nan when there is no common range.
    """
    low, high = common_values(anchor, test, bpp_range=bpp_range)
    if not low < high:
        return math.nan
    mean_log_rates = []
    for curve in (anchor, test):
        log_rates, values = _axes(curve)
        mean_log_rates.append(float(PchipInterpolator(values, log_rates).integrate(low, high)) / (high - low))
    return 100 * math.expm1(mean_log_rates[1] - mean_log_rates[0])


class PictureRate(NamedTuple):
    """BD-rate of one picture in percent."""

    picture: str
    percent: float


@dataclass(frozen=True)
class PictureRates:
    """BD-rates of several pictures, each between the two curves of that picture. Figures over them are nan when none is defined."""

    percents: dict[str, float]  # by picture; nan where its curves share no range of values

    @property
    def defined(self) -> list[PictureRate]:
        """The BD-rates that are defined, the largest (the least favourable) first."""
        found = [PictureRate(picture, percent) for picture, percent in self.percents.items() if not math.isnan(percent)]
        return sorted(found, key=lambda rate: -rate.percent)

    @property
    def mean(self) -> float:
        return statistics.fmean(rate.percent for rate in self.defined) if self.defined else math.nan

    @property
    def median(self) -> float:
        return statistics.median(rate.percent for rate in self.defined) if self.defined else math.nan


def picture_rates(
    anchor: Mapping[str, Curve], test: Mapping[str, Curve], *, bpp_range: tuple[float, float] | None = None
) -> PictureRates:
    """BD-rates of the pictures of which both codecs have a curve."""
    return PictureRates({name: bd_rate(anchor[name], curve, bpp_range=bpp_range) for name, curve in test.items() if name in anchor})


def _axes(curve: Curve) -> tuple[Float64, Float64]:
    """Natural log of bpp and values, both strictly rising, float64 [N]."""
    points = useful_points(curve)
    return np.log([p.bpp for p in points]), np.array([p.value for p in points])


def _interpolate(x: Float64, y: Float64, at: float) -> float:
    """PCHIP value of y(x) at `at`; nan outside x."""
    if len(x) < 2 or not x[0] <= at <= x[-1]:
        return math.nan
    return float(PchipInterpolator(x, y)(at))

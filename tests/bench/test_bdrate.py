"""Tests of bench/bdrate.py: exact cases, symmetries, and BD-rates of measured curves."""

import csv
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vqcodec.bench.bdrate import (
    PictureRates,
    RatePoint,
    at_rate,
    at_value,
    bd_rate,
    common_values,
    picture_rates,
    useful_points,
)

PEERS = Path(__file__).resolve().parents[3] / "shared" / "anchors" / "kodak_peers_avg.csv"

CURVE = [RatePoint(0.1, 26), RatePoint(0.25, 28.5), RatePoint(0.5, 31), RatePoint(1, 34.5), RatePoint(2, 39)]


def scaled(factor: float) -> list[RatePoint]:
    return [RatePoint(bpp * factor, psnr) for bpp, psnr in CURVE]


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.3])
def test_files_scaled_by_a_factor_have_that_bd_rate(factor):
    assert bd_rate(CURVE, scaled(factor)) == pytest.approx(100 * (factor - 1), abs=1e-9)


@st.composite
def curves(draw):
    steps = draw(st.lists(st.tuples(st.floats(0.05, 1), st.floats(0.3, 3)), min_size=3, max_size=8))
    bpp, psnr = 0.1, draw(st.floats(20, 26))
    points = []
    for growth, gain in steps:
        points.append(RatePoint(bpp, psnr))
        bpp, psnr = bpp * (1 + growth), psnr + gain
    return points


@given(curves(), curves())
def test_exchanging_the_curves_inverts_the_ratio(one, other):
    forth, back = bd_rate(one, other), bd_rate(other, one)
    assert math.isnan(forth) == math.isnan(back)
    if not math.isnan(forth):
        assert (1 + forth / 100) * (1 + back / 100) == pytest.approx(1)


@given(curves())
def test_a_curve_against_itself_is_zero(curve):
    assert bd_rate(curve, curve) == pytest.approx(0, abs=1e-9)


def test_the_order_of_points_does_not_matter():
    assert bd_rate(CURVE[::-1], scaled(0.8)) == bd_rate(CURVE, scaled(0.8))


def test_without_a_common_range_the_bd_rate_is_nan():
    above = [RatePoint(bpp, psnr + 20) for bpp, psnr in CURVE]
    for other in (above, CURVE[:1], []):
        assert math.isnan(bd_rate(CURVE, other))
        assert math.isnan(bd_rate(other, CURVE))
    assert math.isnan(bd_rate(CURVE, CURVE, bpp_range=(3, 4)))


def test_the_rate_range_applies_to_both_curves():
    low, high = common_values(CURVE, scaled(0.5), bpp_range=(0.25, 1))
    assert low == pytest.approx(at_rate(scaled(0.5), 0.25))  # the smaller one reaches 0.25 bpp at a higher PSNR
    assert high == pytest.approx(34.5)  # the larger one is at 1 bpp
    assert bd_rate(CURVE, scaled(0.5), bpp_range=(0.25, 1)) == pytest.approx(-50)


def test_only_rates_within_the_range_count():
    better_at_the_top = [*CURVE[:3], RatePoint(0.9, 34.5), RatePoint(1.5, 39)]
    assert bd_rate(CURVE, better_at_the_top, bpp_range=(0.1, 0.3)) == pytest.approx(0, abs=0.1)
    assert bd_rate(CURVE, better_at_the_top) < -5


def test_only_pareto_optimal_points_are_useful():
    worse = RatePoint(0.6, 30)
    same_rate = RatePoint(0.5, 30.9)
    lossless, empty = RatePoint(8, math.inf), RatePoint(0, 20)
    assert useful_points([lossless, worse, *CURVE, same_rate, empty]) == CURVE


@pytest.mark.parametrize(("bpp", "psnr"), CURVE)
def test_interpolation_passes_through_the_points(bpp, psnr):
    assert at_rate(CURVE, bpp) == pytest.approx(psnr)
    assert at_value(CURVE, psnr) == pytest.approx(bpp)


def test_interpolation_is_monotone_and_never_extrapolates():
    psnrs = [at_rate(CURVE, bpp) for bpp in (0.1, 0.15, 0.2, 0.4, 0.8, 1.6, 2)]
    assert psnrs == sorted(psnrs)
    assert math.isnan(at_rate(CURVE, 0.099))
    assert math.isnan(at_rate(CURVE, 2.001))
    assert math.isnan(at_value(CURVE, 25.9))
    assert math.isnan(at_value(CURVE, 39.1))
    assert math.isnan(at_rate([], 1))


def test_values_may_be_negative_or_undefined():
    """SSIMULACRA2 is negative for bad pictures, and nan where it was not measured."""
    eyes = [RatePoint(bpp, 10 * psnr - 300) for bpp, psnr in CURVE]
    cheaper = [RatePoint(bpp * 0.8, value) for bpp, value in eyes] + [RatePoint(0.3, math.nan)]
    assert eyes[0].value < 0
    assert bd_rate(eyes, cheaper) == pytest.approx(-20)


def test_each_picture_has_a_rate_of_its_own_curves():
    far = [RatePoint(bpp, psnr + 20) for bpp, psnr in CURVE]
    anchors = {"a": CURVE, "b": CURVE, "c": scaled(2), "d": CURVE}
    found = picture_rates(anchors, {"a": scaled(0.4), "b": far, "c": CURVE, "e": CURVE})
    assert found.percents == pytest.approx({"a": -60, "b": math.nan, "c": -50}, nan_ok=True)
    assert [rate.picture for rate in found.defined] == ["c", "a"]
    assert (found.mean, found.median) == (pytest.approx(-55), pytest.approx(-55))


def test_figures_over_no_picture_are_undefined():
    none = PictureRates({"a": math.nan})
    assert none.defined == []
    assert math.isnan(none.mean)
    assert math.isnan(none.median)


@pytest.fixture(scope="module")
def peers() -> dict[str, list[RatePoint]]:
    """Curves of other codecs on Kodak, measured by other software."""
    if not PEERS.exists():
        pytest.skip("../shared/anchors is missing: no measured curves to compare with")
    found: dict[str, list[RatePoint]] = {}
    with PEERS.open() as stream:
        for row in csv.DictReader(stream):
            found.setdefault(row["codec"], []).append(RatePoint(float(row["bpp"]), float(row["psnr_rgb"])))
    return found


@pytest.mark.parametrize(
    ("codec", "percent"),
    [("webp_m6", -35.4), ("avif_s6", -47.1), ("jxl_e7", -27.4), ("mozjpeg420", -17.7), ("avif444_s3_psnr", -57.8)],
)
def test_bd_rates_of_the_anchor_table(peers, codec, percent):
    assert bd_rate(peers["jpeg420"], peers[codec]) == pytest.approx(percent, abs=0.06)


@pytest.mark.parametrize(
    ("codec", "bpp", "psnr"),
    [
        ("jpeg420", 0.1, 21.6),
        ("jpeg420", 1.5, 35.4),
        ("webp_m6", 0.25, 28.6),
        ("webp_m6", 1.0, 35.3),
        ("avif_s6", 0.5, 32.5),
    ],
)
def test_psnr_at_a_rate_of_the_anchor_table(peers, codec, bpp, psnr):
    assert at_rate(peers[codec], bpp) == pytest.approx(psnr, abs=0.06)


def test_the_anchor_table_begins_above_a_tenth_of_a_bit_for_webp(peers):
    assert math.isnan(at_rate(peers["webp_m6"], 0.1))

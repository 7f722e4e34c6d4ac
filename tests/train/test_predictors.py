"""Fits of the integer predictors."""

import numpy as np
import pytest

from vqcodec.entropy.features import MEAN_MAX
from vqcodec.entropy.linear import CLASS_OF_ONE, CLASSES_PER_OCTAVE, FLOAT32_EXACT, MEAN_SHIFT, SCALE_SHIFT
from vqcodec.train import predictors


def test_means_are_fitted_from_samples_and_a_start() -> None:
    rng = np.random.default_rng(0)
    features, true = rng.normal(0, 64, (4000, 3)).astype(np.float32), np.array([0.5, -0.25, 1.0])
    samples = predictors.Samples(features, (features @ true + rng.laplace(0, 16, 4000)).astype(np.float32))
    one = 1 << MEAN_SHIFT
    np.testing.assert_allclose(predictors.fit_mean(samples, None, 0) / one, true, atol=0.03)
    start = np.array([one // 4, one // 4, one // 2], np.int32)
    np.testing.assert_allclose(predictors.fit_mean(samples, start, 0) / one, true, atol=0.03)
    np.testing.assert_allclose(predictors.fit_mean(samples, start, 1e9), start, atol=one * 1e-3)
    between = predictors.fit_mean(samples, start, 4000) / one
    assert (np.abs(between - true) < np.abs(start / one - true)).all()
    assert (np.abs(between - true) > 0.05).all()
    none = predictors.Samples(features[:0], np.zeros(0, np.float32))
    np.testing.assert_array_equal(predictors.fit_mean(none, start, 300), start)


def test_weights_of_means_are_never_too_large_to_be_exact() -> None:
    features = np.random.default_rng(0).normal(0, 64, (500, 2)).astype(np.float32)
    found = predictors.fit_mean(predictors.Samples(features, 5 * features[:, 0]), None, 0)
    assert found[0] > 3 << MEAN_SHIFT  # the unbounded weight would be 5
    assert np.abs(found).sum() * MEAN_MAX + (1 << MEAN_SHIFT) < FLOAT32_EXACT


def test_scales_are_those_of_the_magnitudes_or_of_the_start() -> None:
    rng = np.random.default_rng(0)
    loud = np.arange(6000) % 2
    steps = np.tile(np.array([[1, 0, 0]], np.float32), (6000, 1))
    samples = predictors.Samples(
        100 * loud[:, None].astype(np.float32), np.abs(rng.laplace(0, 0.5 + 3.5 * loud)).astype(np.float32)
    )
    octave = CLASSES_PER_OCTAVE * (1 << SCALE_SHIFT)  # in units of scores
    found = predictors.fit_scale(samples, steps, None, 0)
    assert 100 * found[0] / octave == pytest.approx(3, abs=0.15)  # octaves from 0.5 to 4
    assert found[1] / octave - CLASS_OF_ONE / CLASSES_PER_OCTAVE == pytest.approx(-1, abs=0.15)
    start = np.array([octave // 200, found[1], 0, 0], np.int32)
    assert 100 * predictors.fit_scale(samples, steps, start, 0)[0] / octave == pytest.approx(3, abs=0.15)
    np.testing.assert_allclose(predictors.fit_scale(samples, steps, start, 1e9), start, rtol=0.01, atol=1)


@pytest.mark.parametrize("factor", [1, 30, 3000])
def test_weights_are_never_more_than_sums_can_hold(factor: int) -> None:
    """The bound holds after rounding, too, if weights are scaled down."""
    rng = np.random.default_rng(factor)
    features = rng.integers(-40, 40, (400, 60)).astype(np.float32)
    samples = predictors.Samples(features, (factor * features.sum(axis=1)).astype(np.float32))
    weights = predictors.fit_mean(samples, None, 0.0)
    assert np.abs(weights).sum() * MEAN_MAX + (1 << MEAN_SHIFT) < FLOAT32_EXACT

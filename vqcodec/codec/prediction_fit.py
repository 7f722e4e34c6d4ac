"""Fits the weights of pixel_pyramid.py to a picture: means by reweighted least squares, scales by regression of log magnitudes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Bool, Float64, Int16, Int32
from vqcodec.entropy import pixel_pyramid
from vqcodec.entropy.pixel_pyramid import (
    CLASSES_PER_OCTAVE,
    MEAN_SHIFT,
    SCALE_SHIFT,
    Inputs,
    Magnitudes,
    Pass,
    Planes,
    Shape,
    Surroundings,
    Weights,
    WeightSets,
)
from vqcodec.runtime import progress

_FITTED: Final = 100_000
"""About the most samples that a fit uses: more would change the weights by less than they are rounded."""
_CLASS_OF_ONE: Final = 2.5
"""Octaves of a magnitude of 1 above the lower edge of class 1."""
_LEAST: Final = 0.4
"""Added to magnitudes before their logarithm."""
_WEIGHED: Final = 16
"""Own neighbours whose differences tell how much an error matters."""
_RIDGE: Final = 1e-6
_MAX_MEAN: Final = 32767
_MAX_SCALE: Final = 131071


def fit(planes: Planes, coded: Bool | None, shape: Shape, peak: int) -> WeightSets:
    """Weights of all passes for channels [C, H, W], or for the samples where `coded` bool [H, W] is true."""
    magnitudes = pixel_pyramid.no_magnitudes(planes)
    weights: WeightSets = {}
    steps = list(pixel_pyramid.passes(*planes.shape[1:]))
    for channel in progress.steps(range(len(planes))):
        sets = [(level, number) for level in range(shape.levels) for number in range(3)]
        for level, number in progress.steps(sets):
            own = [step for step in steps if (min(step.level, shape.levels - 1), step.number) == (level, number)]
            rows, scales = shape.rows(channel, number), pixel_pyramid.scale_rows(channel)
            empty = Weights(0, np.zeros((shape.contexts, rows), np.int64), np.zeros(scales, np.int64), 0)
            weights[channel, level, number] = _with_means(
                empty, list(_features(planes, magnitudes, coded, channel, own, shape)), peak
            )
        for step in steps:
            _keep_residuals(planes, magnitudes, coded, channel, step, shape, weights, peak)
        for level, number in sets:
            own = [step for step in steps if (min(step.level, shape.levels - 1), step.number) == (level, number)]
            found = list(_features(planes, magnitudes, coded, channel, own, shape))
            weights[channel, level, number] = _with_scales(weights[channel, level, number], found, peak)
    return weights


class _Samples(NamedTuple):
    """Features of some samples, and their values float64 [n]."""

    inputs: Inputs
    values: Float64


def _samples(inputs: Inputs, values: Int16 | Int32) -> _Samples:
    """Features in single precision, which is enough to fit weights to, and values of any integer type [n]."""
    return _Samples(replace(inputs, mean=inputs.mean.astype(np.float32, copy=False)), values.astype(np.float64))


def _features(
    planes: Planes, magnitudes: Magnitudes, coded: Bool | None, channel: int, steps: list[Pass], shape: Shape
) -> Iterator[_Samples]:
    """Features of about `_FITTED` samples of some passes, in bands spread over the picture."""
    total = sum(step.rows * step.columns for step in steps)
    share = max(1, total // _FITTED)
    for step in steps:
        surroundings = Surroundings(planes, magnitudes, channel, step, shape)
        for place, band in enumerate(surroundings.bands()):
            if place % share:
                continue
            wanted = planes[channel][step.lattice][band]
            if coded is None:
                yield _samples(surroundings.inputs(band), wanted.reshape(-1))
            elif len(chosen := np.flatnonzero(coded[step.lattice][band])):
                yield _samples(surroundings.inputs(band, chosen), wanted.reshape(-1)[chosen])


def _keep_residuals(
    planes: Planes,
    magnitudes: Magnitudes,
    coded: Bool | None,
    channel: int,
    step: Pass,
    shape: Shape,
    weights: WeightSets,
    peak: int,
) -> None:
    """Write the magnitudes of a pass's residuals."""
    where = None if coded is None else coded[step.lattice]
    own = pixel_pyramid.weights_of(weights, channel, step, shape)
    surroundings = Surroundings(planes, magnitudes, channel, step, shape)
    for band in surroundings.bands():
        chosen = None if where is None else np.flatnonzero(where[band])
        means = pixel_pyramid.expect_means(surroundings.inputs(band, chosen), own, peak)
        values = planes[channel][step.lattice][band].reshape(-1)
        found = np.abs((values if chosen is None else values[chosen]) - means)
        pixel_pyramid.put(magnitudes[channel][step.lattice][band], None if where is None else where[band], found)


def _with_means(weights: Weights, found: list[_Samples], peak: int) -> Weights:
    """The weights with means fitted, unless these are too large."""
    if not found:
        return weights
    contexts, rows = weights.means.shape
    threshold = int(np.median(np.concatenate([some.inputs.activity for some in found]))) if contexts == 2 else 0
    means = np.zeros((contexts, rows), np.int64)
    for context in range(contexts):
        own = [_of_context(some, threshold, context) if contexts == 2 else some for some in found]
        first = _least_squares(own, None)
        means[context] = np.rint(_least_squares(own, first) * (1 << MEAN_SHIFT)).clip(-_MAX_MEAN, _MAX_MEAN)
    fitted = Weights(threshold, means, weights.scales, weights.bias)
    return fitted if fitted.means_are_exact(peak) else weights


def _of_context(some: _Samples, threshold: int, context: int) -> _Samples:
    """The samples of a context alone."""
    chosen = np.flatnonzero((some.inputs.activity > threshold) == bool(context))
    own = some.inputs
    inputs = Inputs(own.base[chosen], own.activity[chosen], own.mean[:, chosen], own.scale[:, chosen])
    return _Samples(inputs, some.values[chosen])


def _least_squares(found: list[_Samples], before: Float64 | None) -> Float64:
    """Weights float64 [rows] of least weighted squared error; large errors of the weights `before` count less."""
    rows = len(found[0].inputs.mean)
    products, sums = np.zeros((rows, rows)), np.zeros(rows)
    for some in found:
        mean = some.inputs.mean
        wanted = (some.values - some.inputs.base).astype(mean.dtype)
        importance = 1 / (np.abs(mean[:_WEIGHED]).mean(axis=0) + 2)
        if before is not None:
            importance = np.sqrt(importance / (np.abs(wanted - before.astype(mean.dtype) @ mean) + 1))
        weighted = mean * importance
        products += weighted @ weighted.T
        sums += weighted @ (wanted * importance)
    products[np.diag_indices(rows)] += _RIDGE * np.trace(products) / rows + 1e-9
    return np.linalg.solve(products, sums).astype(np.float64)


def _with_scales(weights: Weights, found: list[_Samples], peak: int) -> Weights:
    """The weights with scales fitted, unless these are too large."""
    scales = len(weights.scales)
    products, sums = np.zeros((scales + 1, scales + 1)), np.zeros(scales + 1)
    for some in found:
        errors = np.abs(some.values - pixel_pyramid.expect_means(some.inputs, weights, peak))
        features = np.concatenate([some.inputs.scale, np.ones((1, len(errors)), np.float32)]).astype(np.float64)
        products += features @ features.T
        sums += features @ np.log2(errors + _LEAST)
    products[np.diag_indices(scales + 1)] += _RIDGE * np.trace(products) / (scales + 1) + 1e-9
    solved = np.linalg.solve(products, sums)
    solved[-1] += _CLASS_OF_ONE
    rounded = np.rint((solved * (CLASSES_PER_OCTAVE << SCALE_SHIFT)).clip(-_MAX_SCALE, _MAX_SCALE)).astype(np.int64)
    fitted = Weights(weights.threshold, weights.means, rounded[:-1], int(rounded[-1]))
    return fitted if fitted.scales_are_exact else weights

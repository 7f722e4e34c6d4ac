"""Fits of the integer predictors of linear.py from samples of features and targets.

Means: least squares, reweighted by 1 / (0.3 + |residual|)^2, so that the fit minimises bits rather than energy (the logarithm of a
residual, not its square). Scales: gamma regression with a log link, log E|x| = w f, the maximum-likelihood scale of a Laplacian; it
is convex and solved by Newton steps. Both shrink towards given weights (ridge): a model for a small folder starts from its base
model's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Float64, Int32
from vqcodec.entropy.features import MEAN_MAX, SCALE_FEATURE_MAX, STEP_FEATURE_MAX
from vqcodec.entropy.linear import CLASS_OF_ONE, CLASSES_PER_OCTAVE, FLOAT32_EXACT, MEAN_SHIFT, SCALE_SHIFT
from vqcodec.transform.layouts import LATENT_UNIT

_FLOOR: Final = 0.01  # steps added to |x|: a smaller scale codes nothing anyway
_MEAN_ROUNDS: Final = 3
_NEWTON_ROUNDS: Final = 10
_RIDGE_SAMPLES: Final = 60.0  # keeps the weights of nearly equal features small
_SCORE_PER_NAT: Final = CLASSES_PER_OCTAVE / np.log(2) * (1 << SCALE_SHIFT)


@dataclass(frozen=True)
class Samples:
    """Features float32 [n, rows] and targets float32 [n] (latents in 1/16 step, or magnitudes in steps)."""

    features: Float32
    targets: Float32


def fit_mean(samples: Samples, start: Int32 | None, strength: float) -> Int32:
    """Integer mean weights int32 [rows] for targets in 1/16 step; the pull towards `start` has the weight of `strength` samples."""
    rows = samples.features.shape[1]
    base = np.zeros(rows) if start is None else start.astype(np.float64) / (1 << MEAN_SHIFT)
    features = samples.features.astype(np.float64) / LATENT_UNIT
    targets = samples.targets.astype(np.float64) / LATENT_UNIT - features @ base
    if not len(targets):
        return np.zeros(rows, np.int32) if start is None else start
    # the pull is scaled by the energy of the features, so that it is in units of samples
    weight = 1 / (0.5 + np.abs(features).mean(axis=1)) ** 2
    energy = (features * features * weight[:, None]).mean(axis=0) + 1e-3
    change = np.zeros(rows)
    for _ in range(_MEAN_ROUNDS + 1):
        gram = (features * weight[:, None]).T @ features + np.diag(energy * (strength + 30.0))
        change = np.linalg.solve(gram, (features * weight[:, None]).T @ targets)
        weight = 1 / (0.3 + np.abs(targets - features @ change)) ** 2
        energy = (features * features * weight[:, None]).mean(axis=0) + 1e-3
    return _bounded((base + change) * (1 << MEAN_SHIFT), (FLOAT32_EXACT - 2 * (1 << MEAN_SHIFT)) / MEAN_MAX)


def fit_scale(samples: Samples, step_inputs: Float32, start: Int32 | None, strength: float) -> Int32:
    """Integer scale weights int32 [rows + 3], of the features and then of the step's inputs, for magnitudes in steps."""
    inputs = np.concatenate([samples.features, step_inputs], axis=1).astype(np.float64)
    rows = inputs.shape[1]
    offset = np.log(2) * CLASS_OF_ONE / CLASSES_PER_OCTAVE  # class 0 starts where log2 E|x| = -6
    base = np.zeros(rows) if start is None else start / _SCORE_PER_NAT
    if not len(inputs):
        return np.zeros(rows, np.int32) if start is None else start
    unit = np.sqrt((inputs * inputs).mean(axis=0)) + 1e-3  # Newton steps with features of unit size
    scaled = inputs / unit
    magnitude = samples.targets.astype(np.float64) + _FLOOR
    weights = base * unit
    if start is None:
        weights[-3] = (np.log(magnitude.mean()) + offset) * unit[-3]
    anchor = weights.copy()
    pull = (strength + _RIDGE_SAMPLES) / len(inputs)
    for _ in range(_NEWTON_ROUNDS):
        ratio = np.clip(magnitude * np.exp(np.clip(offset - scaled @ weights, -30, 30)), 0, 50)
        gradient = scaled.T @ (1 - ratio) / len(inputs) + pull * (weights - anchor)
        hessian = (scaled * np.maximum(ratio, 0.05)[:, None]).T @ scaled / len(inputs) + pull * np.eye(rows)
        weights = weights - np.clip(np.linalg.solve(hessian, gradient), -2, 2)
    whole = weights / unit * _SCORE_PER_NAT
    bias = np.rint(whole[-3:])
    room = FLOAT32_EXACT - 1 - float(np.abs(bias) @ np.array(STEP_FEATURE_MAX))
    return np.concatenate([_bounded(whole[:-3], room / SCALE_FEATURE_MAX), bias.astype(np.int32)])


def _bounded(weights: Float64, limit: float) -> Int32:
    """Round to integers whose magnitudes sum to less than `limit`, scaling down first if needed; rounding adds up to 0.5 each."""
    total = float(np.abs(weights).sum())
    scale = min(1.0, limit / max(total + len(weights), 1.0), max(0.0, limit - len(weights) / 2) / max(total, 1.0))
    return np.rint(weights * scale).astype(np.int32)

"""Coefficients -> targets, the input of the codebook search: coefficients over the step, moved by overshoot and aiming."""

from __future__ import annotations

from typing import Final

import numpy as np

from vqcodec.arrays import Bool, Float32, Pixels
from vqcodec.codec import aiming, clipping
from vqcodec.codec.groups import Settings, encode_group
from vqcodec.nets.synthesis import MIN_STEP_LEVELS
from vqcodec.runtime import progress
from vqcodec.transform.layouts import LAYOUTS
from vqcodec.weights.exact import ExactModel

_AIM_SHARE: Final = np.float32(0.35)
"""Step size of each aiming iteration; 1.0 oscillates."""
_AIM_REACH: Final = np.float32(0.5)
"""Largest move of a target, in steps. Without this bound targets drift far where the synthesis errs by several steps, as on flat
saturated colours."""


def with_overshoot(coefficients: Float32, pixels: Pixels, model: ExactModel, *, step_64: int, depth: int) -> Float32:
    """Coefficients float32 [C, h * w] in grey levels; DCs of plain white, black and saturated cells are moved beyond the range.

    The decoder clips samples, so these cells decode to exactly the plain value (clipping.py).
    """
    offsets = clipping.overshoot(pixels, model.color, depth)  # float32 [components, h * w] in steps
    if not offsets.any():
        return coefficients
    moved = coefficients.copy()
    moved[: len(offsets)] += offsets * np.float32(step_64 / 64)
    return moved


def targets_of(
    coefficients: Float32, cells: tuple[int, int], model: ExactModel, settings: Settings, rounds: int, graphic: Bool | None = None
) -> Float32:
    """Targets float32 [C, h * w] in steps for coefficients float32 [C', h * w] in grey levels of a tile group.

    Without aiming (`rounds` 0, or no synthesis) they are the coefficients over the step. Each round of aiming codes the group and
    moves the targets towards latents that the synthesis turns into the coefficients; it needs the channels of COLOR_8X8 in colour.
    Each round advances the caller's progress stage by two.
    """
    network = model.syntheses.get(model.synthesis_kind(settings.masking))
    step_levels, layout = settings.step_64 / 64, LAYOUTS[settings.layout]
    wanted = coefficients * np.float32(1 / step_levels)  # float32 [C', h * w] in steps
    plain = wanted[: layout.channels]
    if network is None or not rounds or step_levels < MIN_STEP_LEVELS:
        return plain
    targets = plain.copy()
    for _ in range(rounds):
        latents = encode_group(targets, cells, model, settings, graphic).latents  # int16 [C, h * w]
        progress.advance()
        targets += _AIM_SHARE * (aiming.gradient_targets(network, latents, wanted, step_levels, cells, layout) - targets)
        np.clip(targets, plain - _AIM_REACH, plain + _AIM_REACH, out=targets)
        progress.advance()
    return targets

"""Training samples of a context network: coded pictures and cells of DC passes, and batches drawn from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vqcodec.arrays import Float32, Int16, Intp
from vqcodec.entropy.context import MARGIN, dc_pass_names
from vqcodec.neural.loop import Batch

ONE: Final = 32
"""The integer that represents 1.0 in the network's inputs."""


@dataclass(frozen=True)
class ContextSample:
    """A coded picture on its grid [h, w], with the channels of COLOR_4X4; chroma is zero in grey pictures.

    `values` int8 [192, h + 4, w + 4]: features of latents, then magnitudes of those of residuals. `differences` int8 [144, h, w] of
    DCs. `step_inputs` float32 [3]. Linear predictions: `means` int16 [96, h, w] in 1/16 step, `scores` float16 [28, h, w] in
    classes. `targets` float16 [96, h, w] in steps.
    """

    values: NDArray[np.int8]
    differences: NDArray[np.int8]
    step_inputs: Float32
    means: Int16
    scores: NDArray[np.float16]
    targets: NDArray[np.float16]
    colour: bool


@dataclass(frozen=True)
class PassSample:
    """Cells of one kind of DC pass: `inputs` int8 [n, rows], `scores` float16 [n] in classes, and `targets` float16 [n], in steps,
    less
    the linear prediction."""

    inputs: NDArray[np.int8]
    scores: NDArray[np.float16]
    targets: NDArray[np.float16]


@dataclass(frozen=True)
class ContextSamples:
    """Samples of coded pictures, for the network's part for tiles, and of each kind of DC pass, by name."""

    tiles: list[ContextSample]
    passes: Mapping[str, PassSample]


def even_first(side: int) -> Intp:
    """Order of the cells of a square crop, intp [side * side]: even cells first."""
    odd = (np.add.outer(np.arange(side), np.arange(side)) & 1).reshape(-1)
    return np.argsort(odd, kind="stable")


def draw_crops(samples: Sequence[ContextSample], batch: int, crop: int, rng: np.random.Generator) -> Batch:
    """A batch of crops at even positions, float32, integers scaled by 1/ONE, even cells first.

    Samples are drawn in proportion to their number of cells.
    """
    weights = np.array([sample.scores[0].size for sample in samples], np.float64)
    order = even_first(crop)
    parts: list[tuple[Any, ...]] = []

    def cells(array: NDArray[Any]) -> NDArray[Any]:
        return array.reshape(len(array), -1).T[order]

    for number in rng.choice(len(samples), batch, p=weights / weights.sum()):
        sample = samples[number]
        top, left = (2 * int(rng.integers((side - crop) // 2 + 1)) for side in sample.scores.shape[1:])
        wide = np.s_[:, top : top + crop + 2 * MARGIN, left : left + crop + 2 * MARGIN]
        window = np.s_[:, top : top + crop, left : left + crop]
        rows = [cells(array[window]) for array in (sample.differences, sample.means, sample.scores, sample.targets)]
        parts.append((sample.values[wide], rows[0], sample.step_inputs, *rows[1:], np.float32(sample.colour)))
    stacked = [np.stack(arrays).astype(np.float32) for arrays in zip(*parts, strict=True)]
    values, differences, step_inputs, *rest = map(torch.from_numpy, stacked)
    return values / ONE, differences / ONE, step_inputs / ONE, *rest


def draw_rows(samples: Mapping[str, PassSample], count: int, rng: np.random.Generator) -> Batch:
    """A batch of `count` cells of every pass: inputs scaled by 1/ONE, scores and targets, float32, pass after pass."""
    found: list[Tensor] = []
    for name in dc_pass_names():
        sample = samples[name]
        rows = rng.integers(len(sample.scores), size=count) if len(sample.scores) else np.zeros(0, np.intp)
        arrays = (sample.inputs[rows], sample.scores[rows], sample.targets[rows])
        inputs, scores, targets = (torch.from_numpy(array.astype(np.float32)) for array in arrays)
        found += [inputs / ONE, scores, targets]
    return tuple(found)

"""What a context network learns from: coded pictures and cells of DC passes, and batches drawn from them."""

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
"""An integer of this size is 1 to the network."""


@dataclass(frozen=True)
class ContextSample:
    """A coded picture on its grid [h, w], channels those of COLOR_4X4, zeros where there is no chroma.

    `values` int8 [192, h + 4, w + 4] features of latents, then sizes of those of residuals; `differences` int8 [144, h, w] of DCs;
    `step` float32 [3]; linear predictions: `means` int16 [96, h, w], `scores` float16 [28, h, w] in classes; `targets` float16
    [96, h, w] in steps.
    """

    values: NDArray[np.int8]
    differences: NDArray[np.int8]
    step: Float32
    means: Int16
    scores: NDArray[np.float16]
    targets: NDArray[np.float16]
    colour: bool


@dataclass(frozen=True)
class PassSample:
    """Cells of one kind of DC pass: `inputs` int8 [n, rows]; `scores` in classes and `targets` less the linear prediction, in
    steps, float16 [n]."""

    inputs: NDArray[np.int8]
    scores: NDArray[np.float16]
    targets: NDArray[np.float16]


def even_first(side: int) -> Intp:
    """Cells of a square crop, the even ones first."""
    odd = (np.add.outer(np.arange(side), np.arange(side)) & 1).reshape(-1)
    return np.argsort(odd, kind="stable")


def draw_crops(samples: Sequence[ContextSample], batch: int, crop: int, rng: np.random.Generator) -> Batch:
    """Crops of samples by their number of cells, at even places: float32, integers of 32 as 1, cells with the even ones first."""
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
        parts.append((sample.values[wide], rows[0], sample.step, *rows[1:], np.float32(sample.colour)))
    stacked = [np.stack(arrays).astype(np.float32) for arrays in zip(*parts, strict=True)]
    values, differences, step, *rest = map(torch.from_numpy, stacked)
    return values / ONE, differences / ONE, step / ONE, *rest


def draw_rows(samples: Mapping[str, PassSample], count: int, rng: np.random.Generator) -> Batch:
    """Cells of every pass: inputs (32 as 1), scores, targets, float32, pass after pass."""
    found: list[Tensor] = []
    for name in dc_pass_names():
        sample = samples[name]
        rows = rng.integers(len(sample.scores), size=count) if len(sample.scores) else np.zeros(0, np.intp)
        arrays = (sample.inputs[rows], sample.scores[rows], sample.targets[rows])
        inputs, scores, targets = (torch.from_numpy(array.astype(np.float32)) for array in arrays)
        found += [inputs / ONE, scores, targets]
    return tuple(found)

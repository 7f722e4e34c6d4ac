"""Comparison of models on held-out pictures: rate and error of real files, and whether a gain is more than chance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float64
from vqcodec.codec.pipeline import Encoder
from vqcodec.options import EncodeOptions
from vqcodec.train.data import TrainingImage
from vqcodec.train.watch import Watch, some_in_processes
from vqcodec.weights.exact import ExactModel

HELD_OUT_STEP_LEVELS: Final = (12.0, 28.0, 64.0)
"""Quantiser steps that held-out pictures are coded at, grey levels."""
CHECKING: Final = "checking on held-out pictures"
"""Name of the stage."""
NO_BETTER: Final = "nothing was better by more than chance"
FEWEST_PIECES: Final = 8
"""Number of held-out pieces below which no gain counts."""
_STANDARD_ERRORS: Final = 2.0
"""Gain, in standard errors of the mean over all pieces, below which it may be chance."""
_MOST_DB: Final = 70.0
"""Upper bound of a PSNR. That of a flat picture is infinite and would outweigh all others."""


class Point(NamedTuple):
    """A file: bits per pixel, PSNR in dB, and cost: log rate plus log mean squared error, up to a constant."""

    bpp: float
    psnr_db: float
    cost: float


@dataclass(frozen=True)
class Figures:
    """Figures of held-out pieces, coded at each of HELD_OUT_STEP_LEVELS: float64 [pieces, steps] each."""

    bpp: Float64
    psnr_db: Float64
    cost: Float64

    @classmethod
    def of(cls, pieces: list[list[Point]]) -> Figures:
        """Figures from the points of each piece."""
        table = np.array(pieces, np.float64).reshape(-1, len(HELD_OUT_STEP_LEVELS), len(Point._fields))
        return cls(*np.moveaxis(table, 2, 0))

    def __len__(self) -> int:
        return len(self.cost)

    @property
    def mean_cost(self) -> float:
        """Mean cost over all pieces and steps."""
        return float(self.cost.mean())

    def points(self) -> list[dict[str, float]]:
        """Means over the pieces at each step, for model.json; empty without pieces."""
        if not len(self):
            return []
        means = (array.mean(axis=0).tolist() for array in (self.bpp, self.psnr_db, self.cost))
        rows = zip(HELD_OUT_STEP_LEVELS, *means, strict=True)
        return [{"step": step_levels, "bpp": bpp, "psnr_db": psnr, "cost": cost} for step_levels, bpp, psnr, cost in rows]


def measure(model: ExactModel, pieces: list[TrainingImage], watch: Watch, share: float = 1.0) -> Figures:
    """Figures of the held-out pieces, or of the first ones, as many as a share of the time left allows."""
    model.check()
    return Figures.of(some_in_processes(partial(_measure_one, model), pieces, stage=CHECKING, watch=watch, share=share))


def _measure_one(model: ExactModel, image: TrainingImage) -> list[Point]:
    """The points of one piece at HELD_OUT_STEP_LEVELS; runs in a worker process."""
    points = []
    encoder = Encoder(image.pixels, model, EncodeOptions(threads=1, tune="psnr"))
    for step_levels in HELD_OUT_STEP_LEVELS:
        step_64 = round(step_levels * 64)
        bpp = 8 * len(encoder.file(step_64)) / image.pixels[:, :, 0].size
        psnr_db = min(encoder.psnr_of(encoder.decoded(step_64)), _MOST_DB)
        points.append(Point(bpp, psnr_db, float(np.log(bpp)) - psnr_db / 10 * float(np.log(10))))
    return points


def is_better(new: Figures, old: Figures) -> bool:
    """Whether the mean cost over the same pieces fell by more than chance explains."""
    return is_beyond_chance((old.cost - new.cost).mean(axis=1))


def is_beyond_chance(gains: Float64) -> bool:
    """Whether the mean of the gains [pieces] exceeds two standard errors; always False for fewer than FEWEST_PIECES pieces."""
    if len(gains) < FEWEST_PIECES:
        return False
    return bool(gains.mean() > _STANDARD_ERRORS * gains.std(ddof=1) / math.sqrt(len(gains)))

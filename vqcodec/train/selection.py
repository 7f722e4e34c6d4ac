"""Selections of training images: random subsets, crops, mirrored and grey versions, and quantiser steps for them."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float64
from vqcodec.train.data import TrainingImage, count_pixels


class Interval(NamedTuple):
    """A range of positive values, sampled log-uniformly."""

    low: float
    high: float


STEP_LEVELS: Final = Interval(2.0, 180.0)
"""Quantiser steps in training, grey levels."""
SMALL_SIDES: Final = Interval(48.0, 256.0)
"""Sides of the small crops that the streams are trained on besides whole images, pixels."""
LEAST_PIECES: Final = 16
"""Least number of held-out pieces that models are compared on, if the images are large enough."""
_SMALLEST_PIECE: Final = 64
"""Longer side, in pixels, below which a piece is not halved."""
_GREY_AMONG_SMALL: Final = 4
_GREY_EVERY: Final = 8


def draw_step_levels(count: int, rng: np.random.Generator) -> Float64:
    """Quantiser steps float64 [count] in grey levels: log-uniform, evenly spread, in random order."""
    low, high = np.log(STEP_LEVELS.low), np.log(STEP_LEVELS.high)
    return np.exp(low + (high - low) * (rng.permutation(count) + rng.random(count)) / max(count, 1))


def draw_network_step_levels(count: int, limits: Interval, rng: np.random.Generator) -> list[float]:
    """Quantiser steps for the samples of networks, as `draw_step_levels`, within `limits` and rounded to 1/64 grey level."""
    low, high = np.log(limits)
    places = (rng.permutation(count) + rng.random(count)) / max(count, 1)
    return [round(64 * float(step_levels)) / 64 for step_levels in np.exp(low + (high - low) * places)]


def pick(images: list[TrainingImage], pixels: int, rng: np.random.Generator) -> list[TrainingImage]:
    """A random selection of images with about `pixels` pixels in total."""
    chosen, total = [], 0
    for index in rng.permutation(len(images)):
        if total < pixels:
            chosen.append(images[index])
            total += count_pixels([images[index]])
    return chosen


def shuffled(images: list[TrainingImage]) -> list[TrainingImage]:
    """The images in a fixed random order, so that the first ones are a fair sample."""
    return [images[number] for number in np.random.default_rng(0).permutation(len(images))]


def in_grey(image: TrainingImage) -> TrainingImage:
    """The image in grey: the mean of its components."""
    return TrainingImage(image.name, np.rint(image.pixels.mean(axis=2, keepdims=True)).astype(np.uint8))


def with_some_grey(images: list[TrainingImage]) -> list[TrainingImage]:
    """The images, every eighth one in grey."""
    return [in_grey(image) if number % _GREY_EVERY == _GREY_EVERY - 1 else image for number, image in enumerate(images)]


def randomly_turned(image: TrainingImage, rng: np.random.Generator) -> TrainingImage:
    """The image mirrored and transposed at random."""
    pixels = image.pixels
    if rng.random() < 0.5:
        pixels = pixels.transpose(1, 0, 2)
    down, across = (slice(None, None, int(d)) for d in rng.choice((-1, 1), 2))
    return TrainingImage(image.name, np.ascontiguousarray(pixels[down, across]))


def cut_small(images: list[TrainingImage], each: int, rng: np.random.Generator) -> list[TrainingImage]:
    """`each` random rectangles per image, 48 to 256 pixels a side or the whole side if it is shorter.

    Every fourth one is grey: small images often are, and a model should know them.
    """
    low, high = np.log(SMALL_SIDES.low), np.log(SMALL_SIDES.high)
    small: list[TrainingImage] = []
    for image in images:
        for _ in range(each):
            sides = [min(int(np.exp(rng.uniform(low, high))), side) for side in image.pixels.shape[:2]]
            top, left = (int(rng.integers(side - s + 1)) for s, side in zip(sides, image.pixels.shape[:2], strict=True))
            height, width = sides
            part = image.pixels[top : top + height, left : left + width]
            cut = TrainingImage(image.name, np.ascontiguousarray(part))
            small.append(in_grey(cut) if len(small) % _GREY_AMONG_SMALL == _GREY_AMONG_SMALL - 1 else cut)
    return small


def cut_in_pieces(images: list[TrainingImage]) -> list[TrainingImage]:
    """The images, the largest halved repeatedly until there are LEAST_PIECES pieces or the largest is small."""
    pieces = list(images)
    while pieces and len(pieces) < LEAST_PIECES:
        largest = max(range(len(pieces)), key=lambda number: pieces[number].pixels.size)
        name, pixels = pieces[largest].name, pieces[largest].pixels
        height, width = pixels.shape[:2]
        axis, side = (1, width) if width > height else (0, height)
        if side < 2 * _SMALLEST_PIECE:
            break
        middle = side // 16 * 8
        pieces[largest : largest + 1] = [
            TrainingImage(name, np.ascontiguousarray(half)) for half in np.split(pixels, [middle], axis=axis)
        ]
    return pieces

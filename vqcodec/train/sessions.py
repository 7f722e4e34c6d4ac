"""Images being coded for training: each a session at its own step, and a coder that keeps samples of residuals."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32, Float64, Int16, Int32
from vqcodec.codec import symbols, walk
from vqcodec.codec.rate_control import RATE, aimed_targets, fine_dcs, rate_of, rounds_of
from vqcodec.entropy.features import Grid
from vqcodec.train import streams
from vqcodec.train.codebooks import Trained
from vqcodec.train.data import TrainingImage
from vqcodec.train.watch import Watch, some_in_processes
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, GREY, LATENT_UNIT
from vqcodec.weights.exact import ExactModel

STEPS: Final = (2.0, 180.0)
"""Steps of training, in grey levels, log-uniform."""
_VECTORS_PER_BOOK: Final = 120_000
SMALL_SIDES: Final = (48.0, 256.0)
"""Pixels a side of the small files that the streams are trained for besides whole images, log-uniform."""
_DEAD_ZONE: Final = 0.36
_FULL_CHROMA_BELOW: Final = 10.0
"""Step in grey levels below which colour is learnt with 8x8 chroma, so that models know both layouts."""
_AIMED_EFFORT: Final = 7
"""Networks learn from aimed latents, which most of those that low efforts make are like."""


@dataclass(frozen=True)
class LiteSettings:
    """Everything that decides the outcome, with the corpus."""

    seed: int = 0
    sweeps: int = 2
    rate: float = RATE
    strength: float = 0.0
    """Samples' worth of pull towards the base model, per fit and per book; 0 without one."""


@dataclass
class Session:
    """One image in a sweep."""

    grid: Grid
    targets: Float32
    step_64: int
    magnitude: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def fine_dcs(self) -> bool:
        """As the encoder has it at this step."""
        return fine_dcs(self.grid.layout.components, self.step_64 / 64)


@dataclass
class Fit:
    """What training has found so far."""

    color: Int32
    weights: dict[str, dict[str, Int32]]
    books: list[Trained] | None
    keys: list[tuple[int, int, int]]
    table: Int16
    networks: dict[str, NDArray[Any]] = field(default_factory=dict)
    """Tensors of networks, which are not fitted here."""


class Collector(symbols.ByClass):
    """Codes with the current books (or a dead-zone rounding) and keeps samples of the residuals of every book."""

    def __init__(self, model: ExactModel | None, table: Int16, keys: list[tuple[int, int, int]], rate: float) -> None:
        super().__init__(table, [dim for _, dim, _ in keys], np.zeros((0, 0), np.float32))
        self.keys, self.rate = keys, rate
        self.full_model = model
        self.pools: list[list[Float32]] = [[] for _ in range(len(keys) + 1)]
        self.seen = np.zeros(len(keys) + 1, np.int64)
        self.writer: symbols.SymbolWriter | None = None
        self.rng = np.random.default_rng(0)

    def start_layer(self, layer: int) -> None:
        """Samples are kept whatever the layer."""

    def open(self, targets: Float32) -> None:
        """Go on with another image."""
        self.targets = targets
        if self.full_model is not None:
            self.writer = symbols.SymbolWriter(self.full_model, targets, [self.rate] * len(self.full_model.codebooks))
            self.writer.start_layer(0)

    def quantize(self, stretches: list[symbols.Stretch], x: Float32) -> Int32:
        """As of any coder by class."""
        start = 0
        for number, count in stretches:
            self.keep(number, x[start : start + count])
            start += count
        if self.writer is not None:
            return self.writer.quantize(stretches, x)
        return (np.sign(x) * np.floor(np.abs(x) + _DEAD_ZONE)).astype(np.int32) * LATENT_UNIT

    def keep(self, number: int, x: Float32) -> None:
        """Some of a book's residuals float32 [n, d], in steps: all, until there are enough."""
        self.seen[number] += len(x)
        share = min(1.0, _VECTORS_PER_BOOK / max(1, self.seen[number]))
        self.pools[number].append(x[self.rng.random(len(x)) < share])

    def vectors(self, number: int) -> Float32:
        """Samples float32 [n, d] of a book's residuals, in steps."""
        pool = self.pools[number]
        x = np.concatenate(pool) if pool else np.zeros((0, self.keys[number][1]), np.float32)
        if len(x) > _VECTORS_PER_BOOK:
            x = x[self.rng.choice(len(x), _VECTORS_PER_BOOK, replace=False)]
        return np.ascontiguousarray(x)


def open_session(image: TrainingImage, step: float, color: Int32) -> Session:
    """Transform an image and set it up for coding at a step (grey levels)."""
    whole = int(np.clip(round(step * 64), 1, 65535))
    layout = GREY if image.pixels.shape[2] == 1 else COLOR_8X8 if step < _FULL_CHROMA_BELOW else COLOR_4X4
    height, width = image.pixels.shape[:2]
    grid = Grid(-(-height // 8), -(-width // 8), layout)
    targets = dct.forward(image.pixels, layout, color) * np.float32(64 / whole)
    return Session(grid, targets, whole)


def open_aimed(image: TrainingImage, step: float, model: ExactModel) -> Session:
    """As `open_session`, with the targets that the encoder would have: aimed for the model's synthesis, where it has one."""
    session = open_session(image, step, model.color)
    grid, rounds = session.grid, rounds_of(model, _AIMED_EFFORT)
    if rounds:
        full = grid.layout.whole
        settings = walk.Settings(session.step_64, grid.layout.code, 1, session.fine_dcs, rate_of(model))
        coefficients = dct.forward(image.pixels, full, model.color)
        session.targets = aimed_targets(coefficients, (grid.h, grid.w), model, settings, rounds)
    return session


def draw_steps(count: int, rng: np.random.Generator) -> Float64:
    """Steps for `count` images: log-uniform, evenly spread, in random order."""
    low, high = np.log(STEPS[0]), np.log(STEPS[1])
    return np.exp(low + (high - low) * (rng.permutation(count) + rng.random(count)) / max(count, 1))


def pick(images: list[TrainingImage], pixels: int, rng: np.random.Generator) -> list[TrainingImage]:
    """A random selection of about so many pixels."""
    chosen, total = [], 0
    for index in rng.permutation(len(images)):
        if total < pixels:
            chosen.append(images[index])
            total += images[index].pixels.shape[0] * images[index].pixels.shape[1]
    return chosen


def in_grey(image: TrainingImage) -> TrainingImage:
    """The mean of an image's components."""
    return TrainingImage(image.name, np.rint(image.pixels.mean(axis=2, keepdims=True)).astype(np.uint8))


def cut_small(images: list[TrainingImage], each: int, rng: np.random.Generator) -> list[TrainingImage]:
    """`each` rectangles of 48 to 256 pixels a side out of every image, or the whole of a side that is shorter.

    Every fourth is made grey: small pictures often are, and a model should know them.
    """
    low, high = np.log(SMALL_SIDES[0]), np.log(SMALL_SIDES[1])
    small: list[TrainingImage] = []
    for image in images:
        for _ in range(each):
            sides = [min(int(np.exp(rng.uniform(low, high))), side) for side in image.pixels.shape[:2]]
            top, left = (int(rng.integers(side - s + 1)) for s, side in zip(sides, image.pixels.shape[:2], strict=True))
            part = image.pixels[top : top + sides[0], left : left + sides[1]]
            cut = TrainingImage(image.name, np.ascontiguousarray(part))
            small.append(in_grey(cut) if len(small) % 4 == 3 else cut)
    return small


def code_files(
    model: ExactModel, images: list[TrainingImage], steps: Float64, what: str, watch: Watch, share: float
) -> list[streams.File]:
    """Calls of every image coded as one file, or of as many as there is time for in a share of what is left, chosen at random."""
    order = np.random.default_rng(0).permutation(len(images))
    shuffled, own_steps = [images[number] for number in order], steps[order].tolist()
    stage = f"coding {len(images)} {what}"
    found = some_in_processes(partial(_calls, model), shuffled, own_steps, stage=stage, watch=watch, share=share)
    return [file for _, file in sorted(zip(order.tolist(), found, strict=False), key=lambda pair: pair[0])]


def _calls(model: ExactModel, image: TrainingImage, step: float) -> streams.File:
    session = open_aimed(image, step, model)
    writer = symbols.SymbolWriter(model, session.targets, [RATE] * len(model.codebooks))
    walk.walk(session.grid, model, session.step_64, session.fine_dcs, 1, writer)
    return writer.calls[0]

"""Training sessions: an image with its quantiser step and targets, and the coder that collects residuals for the codebooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int32
from vqcodec.codec import symbols, walk
from vqcodec.codec.choices import LAMBDA, fine_dcs, lambda_of, rounds_of
from vqcodec.codec.groups import Settings
from vqcodec.codec.targets import targets_of
from vqcodec.entropy.features import Grid
from vqcodec.train import streams
from vqcodec.train.codebooks import CodebookLayout
from vqcodec.train.data import TrainingImage
from vqcodec.train.selection import draw_step_levels, pick
from vqcodec.train.watch import Watch, some_in_processes
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, GREY, LATENT_UNIT
from vqcodec.weights.exact import ExactModel

_VECTORS_PER_CODEBOOK: Final = 120_000
_DEAD_ZONE: Final = 0.36
_FULL_CHROMA_BELOW_LEVELS: Final = 10.0
"""Quantiser step, in grey levels, below which colour is learnt with 8x8 chroma, so that models know both layouts."""
_AIMED_EFFORT: Final = 7
"""Effort whose aiming produces the latents that networks learn from; most latents of lower efforts resemble them."""


@dataclass
class Session:
    """One image being coded at its own quantiser step, in one layer without masking: `targets` float32 [C, h * w] in steps."""

    layers = 1
    masking = 0
    grid: Grid
    targets: Float32
    step_64: int
    magnitude: Int32 = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def fine_dcs(self) -> bool:
        """Whether the encoder halves the DC codewords at this step."""
        return fine_dcs(self.grid.layout.components, self.step_64 / 64)

    def settings(self, lambda_: float) -> Settings:
        """Settings for coding the image as one tile group."""
        return Settings(
            step_64=self.step_64,
            layout=self.grid.layout.code,
            layers=self.layers,
            fine_dcs=self.fine_dcs,
            masking=self.masking,
            lambda_=lambda_,
        )


def open_sessions(images: list[TrainingImage], pixels: int, color: Int32, rng: np.random.Generator, watch: Watch) -> list[Session]:
    """Sessions of a random selection of about `pixels` pixels, each at its own quantiser step."""
    chosen = pick(images, pixels, rng)
    sessions: list[Session] = []
    for image, step_levels in zip(chosen, draw_step_levels(len(chosen), rng), strict=True):
        watch(f"transforming {len(chosen)} pictures", len(sessions), len(chosen))
        sessions.append(open_session(image, step_levels, color))
    return sessions


def open_session(image: TrainingImage, step_levels: float, color: Int32) -> Session:
    """Transform an image; its targets are the DCT coefficients over the step."""
    step_64 = int(np.clip(round(step_levels * 64), 1, 65535))
    color_layout = COLOR_8X8 if step_levels < _FULL_CHROMA_BELOW_LEVELS else COLOR_4X4
    layout = GREY if image.pixels.shape[2] == 1 else color_layout
    height, width = image.pixels.shape[:2]
    grid = Grid(-(-height // 8), -(-width // 8), layout)
    targets = dct.forward(image.pixels, layout, color) * np.float32(64 / step_64)
    return Session(grid, targets, step_64)


def open_aimed(image: TrainingImage, step_levels: float, model: ExactModel) -> Session:
    """A session whose targets are the encoder's: aimed for the model's synthesis network, if it has one."""
    session = open_session(image, step_levels, model.color)
    grid, rounds = session.grid, rounds_of(model, _AIMED_EFFORT)
    if rounds:
        full = grid.layout.whole
        settings = session.settings(lambda_of(model))
        coefficients = dct.forward(image.pixels, full, model.color)
        session.targets = targets_of(coefficients, (grid.h, grid.w), model, settings, rounds)
    return session


class Collector(symbols.ByClass):
    """Codes residuals with the current codebooks, or with dead-zone rounding if there are none, and keeps samples of them."""

    def __init__(self, model: ExactModel | None, layout: CodebookLayout, *, lambda_: float) -> None:
        super().__init__(layout.table, [key.dim for key in layout.keys], np.zeros((0, 0), np.float32))
        self.keys, self.lambda_ = layout.keys, lambda_
        self.full_model = model
        self.pools: list[list[Float32]] = [[] for _ in range(len(self.keys) + 1)]
        self.seen = np.zeros(len(self.keys) + 1, np.int64)
        self.writer: symbols.SymbolWriter | None = None
        self.rng = np.random.default_rng(0)

    def start_layer(self, layer: int) -> None:
        """Do nothing: samples of all layers are kept."""

    def open(self, targets: Float32) -> None:
        """Start another image with targets float32 [C, h * w]."""
        self.targets = targets
        if self.full_model is not None:
            self.writer = symbols.SymbolWriter(self.full_model, targets, [self.lambda_] * len(self.full_model.codebooks))
            self.writer.start_layer(0)

    def quantize(self, spans: list[symbols.CodebookSpan], x: Float32) -> Int32:
        """Keep samples of the residuals x, then quantise them."""
        start = 0
        for number, count in spans:
            self.keep(number, x[start : start + count])
            start += count
        if self.writer is not None:
            return self.writer.quantize(spans, x)
        return (np.sign(x) * np.floor(np.abs(x) + _DEAD_ZONE)).astype(np.int32) * LATENT_UNIT

    def keep(self, number: int, x: Float32) -> None:
        """Keep residuals float32 [n, d] of a codebook, in steps: all of them at first, then a falling share."""
        self.seen[number] += len(x)
        share = min(1.0, _VECTORS_PER_CODEBOOK / max(1, self.seen[number]))
        self.pools[number].append(x[self.rng.random(len(x)) < share])

    def residuals(self) -> list[Float32]:
        """Samples float32 [n, d] of every codebook's residuals, in steps."""
        return [self._vectors(number) for number in range(len(self.keys))]

    def _vectors(self, number: int) -> Float32:
        pool = self.pools[number]
        x = np.concatenate(pool) if pool else np.zeros((0, self.keys[number].dim), np.float32)
        if len(x) > _VECTORS_PER_CODEBOOK:
            x = x[self.rng.choice(len(x), _VECTORS_PER_CODEBOOK, replace=False)]
        return np.ascontiguousarray(x)


def code_files(
    model: ExactModel, images: list[TrainingImage], what: str, rng: np.random.Generator, watch: Watch, share: float
) -> list[streams.File]:
    """Symbols of every image, coded as one file at its own step.

    If a share of the time left is too short for all, the symbols of a random subset.
    """
    step_levels = draw_step_levels(len(images), rng)
    order = np.random.default_rng(0).permutation(len(images))
    shuffled, own_steps = [images[number] for number in order], step_levels[order].tolist()
    stage = f"coding {len(images)} {what}"
    found = some_in_processes(partial(_code_file, model), shuffled, own_steps, stage=stage, watch=watch, share=share)
    return [file for _, file in sorted(zip(order.tolist(), found, strict=False), key=lambda pair: pair[0])]


def _code_file(model: ExactModel, image: TrainingImage, step_levels: float) -> streams.File:
    """The symbols of one image; runs in a worker process."""
    session = open_aimed(image, step_levels, model)
    writer = symbols.SymbolWriter(model, session.targets, [LAMBDA] * len(model.codebooks))
    walk.walk(session.grid, model, session, writer)
    return writer.calls[0]


def code_residuals(
    model: ExactModel, images: list[TrainingImage], layout: CodebookLayout, rng: np.random.Generator, watch: Watch, share: float
) -> list[Float32]:
    """Residuals float32 [n, d] of every codebook, in steps, as the encoder meets them in the images, within a share of the time
    left.

    Raises OutOfTimeError if there is no time for any image.
    """
    step_levels = draw_step_levels(len(images), rng)
    stage = f"coding {len(images)} pictures for codebooks"
    call = partial(_code_residuals, model, layout)
    collector = Collector(model, layout, lambda_=LAMBDA)
    for residuals in some_in_processes(call, images, step_levels.tolist(), stage=stage, watch=watch, share=share, least=1):
        for number, vectors in enumerate(residuals):
            collector.keep(number, vectors)
    return collector.residuals()


def _code_residuals(model: ExactModel, layout: CodebookLayout, image: TrainingImage, step_levels: float) -> list[Float32]:
    """Samples of one image's residuals, by codebook; runs in a worker process."""
    collector = Collector(model, layout, lambda_=LAMBDA)
    session = open_aimed(image, step_levels, model)
    collector.open(session.targets)
    walk.walk(session.grid, model, session, collector)
    return collector.residuals()

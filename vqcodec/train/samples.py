"""Training samples of networks: pictures coded as `encode` does, each at its own quantiser step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32, Int16, Int32
from vqcodec.codec import walk
from vqcodec.codec.choices import lambda_of
from vqcodec.codec.pipeline import Encoder
from vqcodec.codec.reconstruction import best_coefficients
from vqcodec.codec.symbols import EncoderWriter
from vqcodec.entropy import context, dc_pyramid
from vqcodec.entropy.context import MARGIN
from vqcodec.entropy.linear import SCALE_SHIFT
from vqcodec.nets.synthesis import MAX_STEP_LEVELS, MIN_STEP_LEVELS, OUTPUTS, synthesis_features
from vqcodec.neural.context_samples import ContextSample, ContextSamples, PassSample
from vqcodec.neural.refiner import RefinerSample
from vqcodec.neural.synthesis import Sample
from vqcodec.options import TUNES, EncodeOptions, Tune
from vqcodec.train.data import TrainingImage
from vqcodec.train.selection import Interval, draw_network_step_levels, randomly_turned, with_some_grey
from vqcodec.train.sessions import Session, open_aimed
from vqcodec.train.watch import Watch, some_in_processes
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, LATENT_UNIT, LAYOUTS, Layout, Tile, shared_channels
from vqcodec.weights.exact import ExactModel

NETWORK_STEP_LEVELS: Final = Interval(MIN_STEP_LEVELS, MAX_STEP_LEVELS)
REFINED_STEP_LEVELS: Final = Interval(14.0, 130.0)
"""On photos about 0.95 and 0.06 bits per pixel. Above that rate no texture is missing; quality 0 gives no lower one."""
_MODEL_CHANGES_EVERY: Final = 8
"""Equals the interval of grey pictures: after each, the models swap, so that every model codes grey pictures, too."""
_ONE_GROUP: Final = 1 << 16
"""A side of tile groups that no picture exceeds."""


class Coded(NamedTuple):
    """A picture coded in one tile group: latents int16 [C, h * w], their layout, and the grid's height and width in cells."""

    latents: Int16
    layout: Layout
    h: int
    w: int


def coded(image: TrainingImage, step_levels: float, model: ExactModel, tune: Tune) -> Coded:
    """Code an image as the encoder does."""
    encoder = Encoder(image.pixels, model, EncodeOptions(threads=1, tile=_ONE_GROUP, tune=tune))
    step_64 = round(64 * step_levels)
    header = encoder.header(step_64)
    h, w = header.cells
    return Coded(encoder.group(0, header).latents, LAYOUTS[header.layout], h, w)


def _spread(coefficients: Float32, layout: Layout) -> Float32:
    """Coefficients [C, n] of a layout in the channels of COLOR_8X8 [192, n], zero where the layout has none."""
    out = np.zeros((OUTPUTS, coefficients.shape[1]), np.float32)
    out[shared_channels(layout, COLOR_8X8)[1]] = coefficients
    return out


def _on_grid(rows: Float32, found: Coded) -> NDArray[np.float16]:
    """Rows [C, h * w] as float16 [C, h, w]."""
    return rows.astype(np.float16).reshape(-1, found.h, found.w)


# ------------------------------------------------------------------------------------------------------- synthesis


def make_sample(image: TrainingImage, step_levels: float, model: ExactModel, tune: Tune) -> Sample:
    """Inputs of the synthesis network for an image, and the error of the plain decode."""
    found = coded(image, step_levels, model, tune)
    full = found.layout.whole
    missing = dct.forward(image.pixels, full, model.color) * np.float32(1 / step_levels)
    missing[: found.layout.channels] -= found.latents * np.float32(1 / LATENT_UNIT)
    features = synthesis_features(found.latents, found.layout, step_levels)
    return Sample(_on_grid(features, found), _on_grid(_spread(missing, full), found))


def make_samples(
    images: list[TrainingImage], model: ExactModel, tune: Tune, seed: int, stage: str, watch: Watch, share: float = 1.0
) -> list[Sample]:
    """Samples of the images, each at its own step, every eighth one in grey; only the first ones if the time is short.

    Raises OutOfTimeError if there is no time for any.
    """
    step_levels = draw_network_step_levels(len(images), NETWORK_STEP_LEVELS, np.random.default_rng(seed))
    call = partial(make_sample, model=model, tune=tune)
    return some_in_processes(call, with_some_grey(images), step_levels, stage=stage, watch=watch, share=share, least=1)


# ------------------------------------------------------------------------------------------------------- refiner


def make_refiner_sample(image: TrainingImage, step_levels: float, model: ExactModel, tune: Tune) -> RefinerSample:
    """Inputs of a refiner for an image, the model's best decode, and the original."""
    found = coded(image, step_levels, model, tune)
    restored, _ = best_coefficients(model.synthesis, found.latents, step_levels, (found.h, found.w), found.layout)
    base = _spread(restored((0, found.h)) * np.float32(1 / step_levels), found.layout.whole)
    height, width = image.pixels.shape[:2]
    padded = np.pad(image.pixels, ((0, 8 * found.h - height), (0, 8 * found.w - width), (0, 0)), mode="edge")
    features = synthesis_features(found.latents, found.layout, step_levels)
    return RefinerSample(_on_grid(features, found), _on_grid(base, found), padded)


def make_refiner_samples(
    images: list[TrainingImage], models: Sequence[ExactModel], seed: int, stage: str, watch: Watch, share: float = 1.0
) -> list[RefinerSample]:
    """Samples of the images, each at its own step and for a random one of TUNES, models in turn, every eighth image in grey.

    Raises OutOfTimeError if there is no time for any.
    """
    rng = np.random.default_rng(seed)
    step_levels = draw_network_step_levels(len(images), REFINED_STEP_LEVELS, rng)
    tunes = [TUNES[number] for number in rng.integers(len(TUNES), size=len(images))]
    turns = [models[(number + number // _MODEL_CHANGES_EVERY) % len(models)] for number in range(len(images))]
    given = with_some_grey(images), step_levels, turns, tunes
    return some_in_processes(make_refiner_sample, *given, stage=stage, watch=watch, share=share, least=1)


# ------------------------------------------------------------------------------------------------------- context


class Recorder:
    """Records the inputs and targets of a context network while a session is coded, and corrects predictions as the model does."""

    def __init__(self, session: Session, model: ExactModel) -> None:
        self.session = session
        grid = session.grid
        self.inner = walk.corrector_of(model, grid, session.step_64)
        self.step_inputs = context.step_inputs(session.step_64)
        self.means = np.zeros((COLOR_4X4.channels, grid.h * grid.w), np.int16)
        self.residuals = np.zeros_like(self.means)
        self.scores = np.zeros((context.TILES, grid.h * grid.w), np.float16)
        self.passes: dict[str, PassSample] = {}
        self.places = shared_channels(grid.layout, COLOR_4X4)[1]
        """Channels of COLOR_4X4 that the layout's channels correspond to."""

    def dc_pass(self, dc_pass: dc_pyramid.Pass, inputs: dc_pyramid.Inputs, means: Int32, score: Float32) -> context.Corrected:
        if dc_pass.name in context.dc_pass_names():
            context.clamp_score(score)
            features = context.dc_features(inputs, means, score, self.step_inputs).astype(np.int8)
            linear = (inputs.base + means[0]).astype(np.float32) / np.float32(LATENT_UNIT)
            targets = self.session.targets[dc_pass.component, dc_pass.cells] - linear
            self.passes[dc_pass.name] = PassSample(features, _classes(score), targets.astype(np.float16))
        return self.inner.dc_pass(dc_pass, inputs, means, score)

    def dc_done(self) -> None:
        self.inner.dc_done()

    def half(self, tile: Tile, half: int, means: Int32, score: Float32) -> context.Corrected:
        if tile.number < context.TILES:
            cells = self.session.grid.halves[half]
            self.means[self.places[tile.channels, None], cells] = means
            self.scores[tile.number, cells] = _classes(context.clamp_score(score))
        return self.inner.half(tile, half, means, score)

    def half_done(self, tile: Tile, half: int, residuals: Int32) -> None:
        if tile.number < context.TILES:
            cells = self.session.grid.halves[half]
            self.residuals[self.places[tile.channels, None], cells] = np.clip(residuals, -32767, 32767)
        self.inner.half_done(tile, half, residuals)

    def sample(self) -> ContextSample:
        """The sample of the picture, after it is coded."""
        grid = self.session.grid
        seen = len(self.places)
        latents, targets = np.zeros_like(self.means), np.zeros(self.means.shape, np.float16)
        latents[self.places], targets[self.places] = grid.latents[:seen], self.session.targets[:seen]
        values = np.concatenate([context.feature(latents), np.abs(context.feature(self.residuals))])
        shape = (-1, grid.h, grid.w)
        return ContextSample(
            values=np.pad(values.astype(np.int8).reshape(shape), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN))),
            differences=context.dc_differences(latents[:3].reshape(shape)).astype(np.int8),
            step_inputs=self.step_inputs,
            means=self.means.reshape(shape),
            scores=self.scores.reshape(shape),
            targets=targets.reshape(shape),
            colour=grid.layout.components == 3,
        )


def _classes(score: Float32) -> NDArray[np.float16]:
    return (score * np.float32(1 / (1 << SCALE_SHIFT))).astype(np.float16)


class Recorded(NamedTuple):
    """Samples of one coded picture: its tiles, and its DC passes by name."""

    tiles: ContextSample
    passes: dict[str, PassSample]


def record(image: TrainingImage, step_levels: float, model: ExactModel) -> Recorded:
    """Code an image and record the samples of a context network."""
    session = open_aimed(image, step_levels, model)
    recorder = Recorder(session, model)
    writer = EncoderWriter(model, session.targets, lambda_of(model))
    walk.walk(session.grid, model, session, writer, recorder)
    return Recorded(recorder.sample(), recorder.passes)


def make_context_samples(
    images: list[TrainingImage], model: ExactModel, seed: int, stage: str, watch: Watch, share: float = 1.0
) -> ContextSamples:
    """Samples of the images, turned at random, each at its own step, every eighth one in grey.

    Raises OutOfTimeError if there is no time for any.
    """
    rng = np.random.default_rng(seed)
    step_levels = draw_network_step_levels(len(images), NETWORK_STEP_LEVELS, rng)
    given = [randomly_turned(image, rng) for image in with_some_grey(images)]
    call = partial(record, model=model)
    recorded = some_in_processes(call, given, step_levels, stage=stage, watch=watch, share=share, least=1)
    passes = {name: _joined(name, [one.passes[name] for one in recorded if name in one.passes]) for name in context.dc_pass_names()}
    return ContextSamples([one.tiles for one in recorded], passes)


def _joined(name: str, parts: list[PassSample]) -> PassSample:
    """Cells of all pictures for the pass `name`."""
    none = PassSample(np.zeros((0, context.dc_inputs_of(name)), np.int8), np.zeros(0, np.float16), np.zeros(0, np.float16))
    parts = [none, *parts]
    return PassSample(*(np.concatenate([getattr(p, field) for p in parts]) for field in ("inputs", "scores", "targets")))

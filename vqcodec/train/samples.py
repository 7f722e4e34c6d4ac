"""What networks learn from: pictures coded as `encode` does, each at a step of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32, Int16, Int32
from vqcodec.codec import decoder, walk
from vqcodec.codec.rate_control import TUNES, Encoder, rate_of
from vqcodec.codec.symbols import EncoderWriter
from vqcodec.entropy import context, dc_pyramid
from vqcodec.entropy.context import MARGIN
from vqcodec.entropy.linear import SCALE_SHIFT
from vqcodec.nets.synthesis import MAX_STEP_LEVELS, MIN_STEP_LEVELS, OUTPUTS, synthesis_features
from vqcodec.neural.context_samples import ContextSample, PassSample
from vqcodec.neural.refiner import RefinerSample
from vqcodec.neural.synthesis import Sample
from vqcodec.train.data import TrainingImage
from vqcodec.train.sessions import Session, in_grey, open_aimed
from vqcodec.train.watch import Watch, out_of_time, some_in_processes
from vqcodec.transform import dct
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, LATENT_UNIT, LAYOUTS, Layout, Tile, shared_channels
from vqcodec.weights.exact import ExactModel

NETWORK_STEPS: Final = (MIN_STEP_LEVELS, MAX_STEP_LEVELS)
REFINED_STEPS: Final = (14.0, 130.0)
"""On photos about 0.95 and 0.06 bits per pixel: with more there is nothing to refine, and quality 0 makes no less."""
_GREY_EVERY: Final = 8
_ONE_GROUP: Final = 1 << 16
"""A side of tile groups that no picture is larger than."""
Made = TypeVar("Made")


def draw_network_steps(count: int, limits: tuple[float, float], rng: np.random.Generator) -> list[float]:
    """Steps in grey levels, whole 64ths, that networks learn from, within limits, log-uniform, evenly spread, in random order."""
    low, high = np.log(limits)
    places = (rng.permutation(count) + rng.random(count)) / max(count, 1)
    return [round(64 * float(step)) / 64 for step in np.exp(low + (high - low) * places)]


def some_grey(images: list[TrainingImage]) -> list[TrainingImage]:
    """The images, every eighth in grey."""
    return [in_grey(image) if number % _GREY_EVERY == _GREY_EVERY - 1 else image for number, image in enumerate(images)]


def turned(image: TrainingImage, rng: np.random.Generator) -> TrainingImage:
    """An image mirrored and transposed at random."""
    pixels = image.pixels
    if rng.random() < 0.5:
        pixels = pixels.transpose(1, 0, 2)
    down, across = (slice(None, None, int(d)) for d in rng.choice((-1, 1), 2))
    return TrainingImage(image.name, np.ascontiguousarray(pixels[down, across]))


# ----------------------------------------------------------------------------------------------------- synthesis


def make_sample(image: TrainingImage, step: float, model: ExactModel) -> Sample:
    """What the synthesis sees of an image at a step in grey levels, and what the plain decode lacks."""
    latents, layout, cells = coded(image, step, model, TUNES[0])
    full = layout.whole
    wanted = dct.forward(image.pixels, full, model.color) * np.float32(1 / step)
    wanted[: layout.channels] -= latents * np.float32(1 / LATENT_UNIT)
    features = synthesis_features(latents, layout, step)
    return Sample(_on_grid(features, cells), _on_grid(_spread(wanted, full), cells))


def coded(image: TrainingImage, step: float, model: ExactModel, tune: str) -> tuple[Int16, Layout, tuple[int, int]]:
    """The image as the encoder codes it at a step in grey levels, in one tile group: latents int16 [C, h * w], layout, (h, w)."""
    encoder = Encoder(image.pixels, model, 1, tile=_ONE_GROUP, tune=tune)
    whole = round(64 * step)
    header = encoder.header(whole)
    return encoder.code(whole)[0].latents, LAYOUTS[header.layout], header.cells


def _spread(coefficients: Float32, layout: Layout) -> Float32:
    """Coefficients [C, n] of a layout as those of COLOR_8X8, with zeros for what it lacks."""
    out = np.zeros((OUTPUTS, coefficients.shape[1]), np.float32)
    out[shared_channels(layout, COLOR_8X8)[1]] = coefficients
    return out


def _on_grid(rows: Float32, cells: tuple[int, int]) -> NDArray[np.float16]:
    return rows.astype(np.float16).reshape(-1, *cells)


def make_samples(
    images: list[TrainingImage], model: ExactModel, seed: int, what: str, watch: Watch, share: float = 1.0
) -> list[Sample]:
    """A sample of every image, each at its own step, every eighth in grey."""
    steps = draw_network_steps(len(images), NETWORK_STEPS, np.random.default_rng(seed))
    jobs = [partial(make_sample, image, step, model) for image, step in zip(some_grey(images), steps, strict=True)]
    return in_processes(jobs, what, watch, share)


def in_processes(jobs: Sequence[Callable[[], Made]], what: str, watch: Watch, share: float) -> list[Made]:
    """Results of the jobs, in order, or of the first ones, as many as there is time for in a share of what is left.

    Raises OutOfTimeError if there is none.
    """
    made = some_in_processes(_call, jobs, stage=what, watch=watch, share=share)
    if not made:
        raise out_of_time(what, 0, len(jobs))
    return made


def _call(job: Callable[[], Made]) -> Made:
    return job()


# ------------------------------------------------------------------------------------------------------- refiner


def make_refiner_sample(image: TrainingImage, step: float, model: ExactModel, tune: str) -> RefinerSample:
    """What a refiner sees of an image at a step in grey levels: the best decode that the model has; and the original."""
    latents, layout, (h, w) = coded(image, step, model, tune)
    restored, _ = decoder.restorer(model, latents, step, (h, w), layout)
    base = _spread(restored((0, h)) * np.float32(1 / step), layout.whole)
    height, width = image.pixels.shape[:2]
    padded = np.pad(image.pixels, ((0, 8 * h - height), (0, 8 * w - width), (0, 0)), mode="edge")
    return RefinerSample(_on_grid(synthesis_features(latents, layout, step), (h, w)), _on_grid(base, (h, w)), padded)


def make_refiner_samples(
    images: list[TrainingImage], models: Sequence[ExactModel], seed: int, what: str, watch: Watch, share: float = 1.0
) -> list[RefinerSample]:
    """A sample of every image, coded with one model after the other, each at its own step and for one of TUNES, every eighth in
    grey."""
    rng = np.random.default_rng(seed)
    steps = draw_network_steps(len(images), REFINED_STEPS, rng)
    tunes = [TUNES[number] for number in rng.integers(len(TUNES), size=len(images))]
    turns = [models[(number + number // _GREY_EVERY) % len(models)] for number in range(len(images))]  # grey ones, too, of each
    given = zip(some_grey(images), steps, turns, tunes, strict=True)
    return in_processes([partial(make_refiner_sample, *one) for one in given], what, watch, share)


# ------------------------------------------------------------------------------------------------------- context


class Recorder:
    """Keeps what a network that corrects is asked, and corrects as the model does."""

    def __init__(self, session: Session, model: ExactModel) -> None:
        self.session = session
        grid = session.grid
        self.inner = walk.corrector_of(model, grid, session.step_64)
        self.step = context.step_inputs(session.step_64)
        self.means = np.zeros((COLOR_4X4.channels, grid.h * grid.w), np.int16)
        self.residuals = np.zeros_like(self.means)
        self.scores = np.zeros((context.TILES, grid.h * grid.w), np.float16)
        self.passes: dict[str, PassSample] = {}
        self.places = shared_channels(grid.layout, COLOR_4X4)[1]
        """Of the layout's channels that COLOR_4X4 has."""

    def dc_pass(self, this: dc_pyramid.Pass, inputs: dc_pyramid.Inputs, means: Int32, score: Float32) -> context.Corrected:
        if this.name in context.dc_pass_names():
            context.clamp_score(score)
            features = context.dc_features(inputs, means, score, self.step).T.astype(np.int8)
            linear = (inputs.base + means[0]).astype(np.float32) / np.float32(LATENT_UNIT)
            targets = self.session.targets[this.component, this.cells] - linear
            self.passes[this.name] = PassSample(features, _classes(score), targets.astype(np.float16))
        return self.inner.dc_pass(this, inputs, means, score)

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
        """When the picture is coded."""
        grid = self.session.grid
        seen = len(self.places)
        latents, targets = np.zeros_like(self.means), np.zeros(self.means.shape, np.float16)
        latents[self.places], targets[self.places] = grid.latents[:seen], self.session.targets[:seen]
        values = np.concatenate([context.feature(latents), np.abs(context.feature(self.residuals))])
        shape = (-1, grid.h, grid.w)
        return ContextSample(
            np.pad(values.astype(np.int8).reshape(shape), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN))),
            context.dc_differences(latents[:3].reshape(shape)).astype(np.int8),
            self.step,
            self.means.reshape(shape),
            self.scores.reshape(shape),
            targets.reshape(shape),
            grid.layout.components == 3,
        )


def _classes(score: Float32) -> NDArray[np.float16]:
    return (score * np.float32(1 / (1 << SCALE_SHIFT))).astype(np.float16)


def record(image: TrainingImage, step: float, model: ExactModel) -> tuple[ContextSample, dict[str, PassSample]]:
    """What a context network can learn from an image at a step in grey levels."""
    session = open_aimed(image, step, model)
    recorder = Recorder(session, model)
    writer = EncoderWriter(model, session.targets, rate_of(model))
    walk.walk(session.grid, model, session.step_64, session.fine_dcs, 1, writer, recorder)
    return recorder.sample(), recorder.passes


def make_context_samples(
    images: list[TrainingImage], model: ExactModel, seed: int, what: str, watch: Watch, share: float = 1.0
) -> tuple[list[ContextSample], dict[str, PassSample]]:
    """Of every image, turned at random and each at its own step, every eighth in grey."""
    rng = np.random.default_rng(seed)
    steps = draw_network_steps(len(images), NETWORK_STEPS, rng)
    given = [turned(image, rng) for image in some_grey(images)]
    samples: list[ContextSample] = []
    passes: dict[str, list[PassSample]] = {name: [] for name in context.dc_pass_names()}
    jobs = [partial(record, image, step, model) for image, step in zip(given, steps, strict=True)]
    for sample, found in in_processes(jobs, what, watch, share):
        samples.append(sample)
        for name, rows in found.items():
            passes[name].append(rows)
    return samples, {name: _joined(name, parts) for name, parts in passes.items()}


def _joined(name: str, parts: list[PassSample]) -> PassSample:
    none = PassSample(np.zeros((0, context.dc_inputs_of(name)), np.int8), np.zeros(0, np.float16), np.zeros(0, np.float16))
    parts = [none, *parts]
    return PassSample(*(np.concatenate([getattr(p, field) for p in parts]) for field in ("inputs", "scores", "targets")))

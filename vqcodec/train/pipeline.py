"""Training on one page: the fits of each kind of model, in order.

    load_corpus (data.py)   a folder -> pictures uint8 [H, W, 1 or 3]; a tenth of them is held out

    kind         fitted, in this order                                             page
    lite         predictors -> codebooks, twice; code lengths; streams             fit_linear_model (below), lite.py
    neural       context network -> codebooks, code lengths, streams; synthesis    fit_context and further (below), neural.py
    refiner      generator against discriminator, on pictures of two models        refiner.py
    token        encoder, codebook and decoder together, on pictures               token.py
    token-prior  transformer, on a token model's indices of pictures               token_prior.py
    denoiser     network, on pictures with noise added                             denoiser.py

`photo-lite` is a lite model. `photo` is photo-lite, then context, codebooks, streams and synthesis. Every fit is closed-loop: its
samples come from pictures that are coded with the parts fitted before. Only the kind lite trains without torch.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from vqcodec.train.assembly import Draft, Fitted, assemble, codebook_report, codebooks_of, recount
from vqcodec.train.codebooks import TrainedCodebook, fit_codebooks
from vqcodec.train.data import TrainingImage, count_pixels
from vqcodec.train.selection import cut_small, pick
from vqcodec.train.sessions import Collector, code_files, code_residuals, open_sessions
from vqcodec.train.settings import ExactSettings
from vqcodec.train.streams import train_streams
from vqcodec.train.sweep import Pull, sweep
from vqcodec.train.watch import OutOfTimeError, Watch
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import Tensors

if TYPE_CHECKING:  # torch is an extra
    from vqcodec.neural.networks import Size
    from vqcodec.neural.synthesis import Goal
    from vqcodec.train.stages import NeuralTraining

_COUNTED, _CODED = 0.3, 0.6
"""Shares of the time left for coding whole pictures, and for coding them with small crops."""
_REFIT_TIME, _RESIDUALS_TIME = 0.7, 0.3
"""Share of the time left after the context network for new codebooks and streams, and share of that for their residuals."""


def fit_linear_model(images: list[TrainingImage], settings: ExactSettings, base: ExactModel | None, watch: Watch) -> Fitted:
    """An exact model without networks: sweeps that fit predictors and codebooks, then streams.

    The next sweep starts only if there is time for it. Raises OutOfTimeError.
    """
    rng, pull = np.random.default_rng(settings.seed), Pull(base, settings.strength)
    draft = Draft.start(base)  # color int32 [3, 3]; table int16 [2, 4, classes] of codebooks
    model, start = base, None if base is None else codebooks_of(base)
    trained = start or []
    for number in range(settings.sweeps):
        begun = time.monotonic()
        own = watch.named(f"sweep {number + 1} of {settings.sweeps}") if settings.sweeps > 1 else watch
        sessions = open_sessions(images, settings.sweep_pixels, draft.color, rng, own)  # targets float32 [C, h * w] each
        collector = Collector(model, draft.layout, lambda_=settings.lambda_)
        residuals = sweep(draft, sessions, collector, pull, settings.seed, own)  # predictors int32 -> draft; float32 [n, d] each
        del sessions, collector
        trained = fit_codebooks(residuals, draft.layout.keys, start, settings, own)  # codewords float32 [d, K] each, with counts
        model = assemble(draft, trained).model  # its contexts are those of the next sweep
        if watch.left is not None and watch.left < 2 * (time.monotonic() - begun):  # time for another sweep and the streams
            break
    return fit_streams(draft, trained, images, settings, base, watch, rng)


def fit_streams(
    draft: Draft,
    trained: list[TrainedCodebook],
    images: list[TrainingImage],
    settings: ExactSettings,
    base: ExactModel | None,
    watch: Watch,
    rng: np.random.Generator,
) -> Fitted:
    """Ranks, code lengths, merge maps, stream forms and dictionaries, from real files. Raises OutOfTimeError."""
    counted = assemble(draft, trained)  # codewords ranked by their counts in training
    chosen = pick(images, settings.statistics_pixels, rng)
    if base is not None:
        chosen = chosen * max(1, min(8, settings.few_files // len(chosen)))
    files = code_files(counted.model, chosen, "pictures", rng, watch, _COUNTED)  # (codebook, symbols uint8 [n]) of each file
    trained = recount(trained, counted.orders, files, 16.0 + settings.strength)
    recounted = assemble(draft, trained)  # ranks and code lengths of real files
    small = cut_small(images, max(1, settings.small_files // len(images)), rng)
    mixed = small + pick(images, count_pixels(small), rng)  # as many pixels in small files as in large ones
    files = code_files(recounted.model, mixed, "pictures and parts of pictures", rng, watch, _CODED)
    streams = train_streams(files, recounted.codebook_sizes, watch)  # maps uint8 [maps, codebooks], forms, dictionaries
    return Fitted(assemble(draft, trained, streams).model, codebook_report(draft, trained))


def fit_context(training: NeuralTraining, tensors: Tensors, watch: Watch) -> Tensors:
    """The context network, then codebooks and streams in its contexts. Returns the tensors that serve held-out pictures best."""
    from vqcodec.train import stages

    samples = stages.context_samples(training, watch)  # int8 features and float16 targets of each coded picture and DC pass
    network = stages.fit_context_network(training, samples, tensors, watch)  # tensors int16 `context.*`
    pictures = samples.pictures
    del samples  # gigabytes
    candidates = {stages.CONTEXT: Fitted(network, [])}
    try:
        candidates[stages.CONTEXT_AND_CODEBOOKS] = refit_codebooks(training, network, watch.part(_REFIT_TIME))
    except OutOfTimeError as error:
        training.run.notes.append(f"the codebooks are kept as they are: {error}")
    return stages.best_context(training, pictures, tensors, candidates, watch)


def refit_codebooks(training: NeuralTraining, model: ExactModel, watch: Watch) -> Fitted:
    """The model with codebooks and streams fitted in the contexts of its network, in closed loop. Raises OutOfTimeError."""
    from vqcodec.train import stages

    rng, settings = np.random.default_rng(training.seed), ExactSettings(seed=training.seed, strength=stages.REFIT_STRENGTH)
    draft, images = Draft.of_model(model), stages.repeated(training.corpus.train)
    chosen = pick(images, stages.REFIT_PIXELS, rng)
    residuals = code_residuals(model, chosen, draft.layout, rng, watch, _RESIDUALS_TIME)  # float32 [n, d] of each codebook
    trained = fit_codebooks(residuals, draft.layout.keys, codebooks_of(model), settings, watch)
    fitted = fit_streams(draft, trained, images, settings, model, watch, rng)
    training.run.training_log.codebooks(fitted.codebooks)
    return fitted


def fit_synthesis(training: NeuralTraining, tensors: Tensors, watch: Watch, goal: Goal) -> Tensors:
    """A synthesis network of the goal's kind. Returns the tensors with it if held-out pictures gain, else unchanged."""
    from vqcodec.train import stages

    samples = stages.synthesis_samples(training, tensors, goal, watch)  # features float16 [97, h, w], missing float16 [192, h, w]
    network = stages.fit_synthesis_network(training, samples, goal, tensors, watch)  # tensors float16 `synthesis.*`
    return stages.best_synthesis(training, samples, goal, tensors, network, watch)


def distil_synthesis(training: NeuralTraining, tensors: Tensors, watch: Watch, goal: Goal, size: Size) -> Tensors:
    """A new synthesis network of the goal's kind, taught by the base model's. Returns the tensors with it. Raises ModelError."""
    from vqcodec.train import stages

    teacher = stages.teacher_of(training, goal)
    samples = stages.synthesis_samples(training, tensors, goal, watch)  # features float16 [97, h, w], missing float16 [192, h, w]
    network = stages.fit_student_network(training, samples, goal, teacher, size, watch)  # tensors float16 `synthesis.*`
    return {**tensors, **network}

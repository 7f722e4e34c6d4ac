"""Training of a lite model: predictors, codebooks, streams. Numpy only, reads top to bottom.

A *sweep* codes many images side by side, each at its own step, tile by tile: when a tile's turn comes its predictor is
fitted on samples from all images, then every image is coded with it before the next tile. So contexts are always those of
the decoder (closed loop). The first sweep has no codebooks yet and rounds with a dead zone instead; each sweep's residuals
train the codebooks that the next one uses. The DC pyramid is fitted first, on rounded DCs.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from vqcodec.arrays import Float64
from vqcodec.codec.rate_control import Encoder
from vqcodec.errors import InputError
from vqcodec.io.files import check_new_folder, make_parent, new_folder
from vqcodec.train import codebooks, streams
from vqcodec.train.assembly import assemble, base_books, recount, train_books
from vqcodec.train.codebooks import Trained
from vqcodec.train.data import LEAST_HELD_OUT, Corpus, TrainingImage, count_pixels, identity, load_corpus
from vqcodec.train.sessions import Collector, Fit, LiteSettings, Session, code_files, cut_small, draw_steps, open_session, pick
from vqcodec.train.sweep import sweep
from vqcodec.train.watch import OutOfTimeError, Progress, Watch, some_in_processes
from vqcodec.transform.color import OPPONENT
from vqcodec.weights import registry
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import SUMMARY, TENSORS, save_model

_SWEEP_PIXELS: Final = 40_000_000
_STATISTICS_PIXELS: Final = 80_000_000
_SMALL_FILES: Final = 1200
_FEW_FILES: Final = 200
"""Whole pictures that statistics are of, at least, with a base model: each of fewer is coded at up to eight steps."""
_SWEEP_PIXELS_A_MINUTE: Final = 1_000_000
"""A sweep has no more where minutes are given: it cannot be cut short."""
HELD_OUT_STEPS: Final = (12.0, 28.0, 64.0)
_MOST_DB: Final = 70.0
"""What PSNR counts at most: that of a flat picture is infinite, and would be all that counts."""
STRENGTHS: Final = (300.0, 5000.0)
"""Pulls towards the base model, tried in turn until one is better on the held-out images; the base itself is kept if none is."""
PIECES: Final = 16
"""Least number of held-out pieces that models are compared on."""
_LEAST_PIECES: Final = 8
_SMALLEST_PIECE: Final = 64
"""Pixels of its longer side."""
NO_BETTER: Final = "nothing was better by more than chance"
_ERRORS: Final = 2.0
"""Standard errors of the mean over all pieces: a smaller gain may be chance."""
_CHECKED, _COUNTED, _CODED = 0.3, 0.3, 0.6
"""Shares of the time that is left, for the base model's check, and for the two rounds of coding in an attempt."""


def fit_model(
    images: list[TrainingImage], settings: LiteSettings, base: ExactModel | None, watch: Watch, sweep_pixels: int = _SWEEP_PIXELS
) -> tuple[ExactModel, list[dict[str, Any]]]:
    """A lite model and a report of its codebooks; every fit is pulled towards `base` by `settings.strength` samples.

    Another sweep is begun only if there is time for it. Raises OutOfTimeError.
    """
    rng = np.random.default_rng(settings.seed)
    table, keys = codebooks.book_table()
    fit = Fit(OPPONENT if base is None else base.color, {}, None, keys, table)
    start = None if base is None else base_books(base)
    model, books = base, start or []
    for number in range(settings.sweeps):
        begun = time.monotonic()
        round_watch = watch.named(f"round {number + 1} of {settings.sweeps}") if settings.sweeps > 1 else watch
        chosen = pick(images, sweep_pixels, rng)
        sessions: list[Session] = []
        for image, step in zip(chosen, draw_steps(len(chosen), rng), strict=True):
            round_watch(f"transforming {len(chosen)} pictures", len(sessions), len(chosen))
            sessions.append(open_session(image, step, fit.color))
        collector = Collector(model, table, keys, settings.rate)
        sweep(fit, sessions, collector, base, settings, round_watch)
        del sessions
        books = train_books(collector, fit, start, settings, round_watch)
        model = ExactModel("in training", assemble(fit, books, None)[0])
        if watch.left is not None and watch.left < 2 * (time.monotonic() - begun):  # as long again, and what follows
            break
    return finish(fit, books, images, settings, base, watch, rng)


def finish(
    fit: Fit,
    books: list[Trained],
    images: list[TrainingImage],
    settings: LiteSettings,
    base: ExactModel | None,
    watch: Watch,
    rng: np.random.Generator,
) -> tuple[ExactModel, list[dict[str, Any]]]:
    """Statistics of the final pipeline: ranks, code lengths, merge maps, forms, dictionaries. Raises OutOfTimeError."""
    tensors, orders = assemble(fit, books, None)
    chosen = pick(images, _STATISTICS_PIXELS, rng)
    if base is not None:
        chosen = chosen * max(1, min(8, _FEW_FILES // len(chosen)))
    steps = draw_steps(len(chosen), rng)
    files = code_files(ExactModel("in training", tensors), chosen, steps, "pictures", watch, _COUNTED)
    books = recount(books, orders, files, 16.0 + settings.strength)
    tensors, _ = assemble(fit, books, None)
    small = cut_small(images, max(1, _SMALL_FILES // len(images)), rng)
    pixels = count_pixels(small)
    mixed = small + pick(images, pixels, rng)  # as many pixels in small files as in large ones
    steps = draw_steps(len(mixed), rng)
    files = code_files(ExactModel("in training", tensors), mixed, steps, "pictures and parts of pictures", watch, _CODED)
    tensors, _ = assemble(fit, books, streams.train_streams(files, tensors["book.size"].astype(np.int64), watch))
    report = [
        {
            "set": ("dc", "ac")[key[0]],
            "dim": key[1],
            "class": key[2],
            "used": b.used,
            "entropy_bits": round(b.entropy_bits, 3),
        }
        for key, b in zip(fit.keys, books, strict=False)
    ]
    return ExactModel("in training", tensors), report


def cut_in_pieces(images: list[TrainingImage]) -> list[TrainingImage]:
    """The images, the largest of them halved until there are PIECES of them or they are small."""
    pieces = list(images)
    while pieces and len(pieces) < PIECES:
        largest = max(range(len(pieces)), key=lambda number: pieces[number].pixels.size)
        name, pixels = pieces[largest].name, pieces[largest].pixels
        axis = int(pixels.shape[1] > pixels.shape[0])
        if pixels.shape[axis] < 2 * _SMALLEST_PIECE:
            break
        middle = pixels.shape[axis] // 16 * 8
        pieces[largest : largest + 1] = [
            TrainingImage(name, np.ascontiguousarray(half)) for half in np.split(pixels, [middle], axis=axis)
        ]
    return pieces


def shuffled(images: list[TrainingImage]) -> list[TrainingImage]:
    """The images in an order in which the first ones are a fair sample."""
    return [images[number] for number in np.random.default_rng(0).permutation(len(images))]


def measure(model: ExactModel, pieces: list[TrainingImage], watch: Watch, share: float = 1.0) -> Float64:
    """Figures of files of held-out pieces, or of the first of them, as many as there is time for in a share of what is left."""
    model.check()
    stage = "checking on held-out pictures"
    found = some_in_processes(partial(_measure_one, model), pieces, stage=stage, watch=watch, share=share)
    return np.array(found).reshape(-1, len(HELD_OUT_STEPS), 3)


def _measure_one(model: ExactModel, image: TrainingImage) -> list[tuple[float, float, float]]:
    points = []
    encoder = Encoder(image.pixels, model, 1)
    for step in HELD_OUT_STEPS:
        whole = round(step * 64)
        bpp, psnr = 8 * len(encoder.file(whole)) / image.pixels[:, :, 0].size, min(encoder.psnr_db(whole), _MOST_DB)
        points.append((bpp, psnr, float(np.log(bpp)) - psnr / 10 * float(np.log(10))))
    return points


def held_out_points(figures: Float64) -> list[dict[str, float]]:
    """Means over the pieces, for model.json; nothing of no pieces."""
    if not len(figures):
        return []
    rows = zip(HELD_OUT_STEPS, figures.mean(axis=0).tolist(), strict=True)
    return [{"step": step, "bpp": bpp, "psnr_db": psnr, "cost": cost} for step, (bpp, psnr, cost) in rows]


def mean_cost(figures: Float64) -> float:
    return float(figures[:, :, 2].mean())


def is_better(new: Float64, old: Float64) -> bool:
    """Whether the mean cost over the same pieces is less by more than chance explains."""
    return is_beyond_chance((old - new)[:, :, 2].mean(axis=1))


def is_beyond_chance(gains: Float64) -> bool:
    """Whether the mean of gains on held-out pieces is above 0 by more than chance explains; never of a few pieces."""
    return len(gains) >= _LEAST_PIECES and bool(gains.mean() > _ERRORS * gains.std(ddof=1) / math.sqrt(len(gains)))


@dataclass(frozen=True)
class _Attempt:
    """A model, by what it was made of, and its figures."""

    what: str
    model: ExactModel
    figures: Float64
    report: list[dict[str, Any]] = field(default_factory=list)


def train_lite(
    folder: Path,
    output: Path,
    *,
    init: str | Path | None,
    seed: int = 0,
    minutes: float | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Train on a folder (or a .tar) and write the model folder `output`; returns the content of model.json.

    With `init` the base model is refined, and never made worse: it is kept if there are too few pictures, if the `minutes` are
    over, and unless another one is better on held-out pictures by more than chance; "notes" say why. Raises InputError,
    ModelError, OutputError, and OutOfTimeError where there is no base model or not all pictures were read.
    """
    check_new_folder(output, overwrite=overwrite, marker=TENSORS, known=[SUMMARY])
    make_parent(output)
    base = None if init is None else registry.find(init)
    if base is not None and (base.context or base.synthesis):
        raise InputError(f"{base.name} has networks: --kind neural goes on from it, --init photo-lite does without")
    watch = Watch.start(progress, minutes)
    corpus = load_corpus(folder, watch)
    sweep_pixels = _SWEEP_PIXELS if minutes is None else min(_SWEEP_PIXELS, round(minutes * _SWEEP_PIXELS_A_MINUTE))
    if base is None:
        if corpus.shortage:
            raise InputError(f"{folder}: {corpus.shortage}")
        chosen = _fit_anew(corpus, seed, watch, sweep_pixels)
        attempts, notes = [chosen], list[str]()
    else:
        attempts, chosen, notes = _refine(base, corpus, seed, watch, sweep_pixels)
    summary: dict[str, Any] = {
        **identity(chosen.model.id, "lite", (folder, output), {"init": init or "none", "seed": seed, "minutes": minutes}),
        "method": chosen.what,
        "seed": seed,
        "notes": notes,
        "corpus": corpus.facts(),
        "held_out_results": held_out_points(chosen.figures),
        "candidates": {one.what: round(mean_cost(one.figures), 4) for one in attempts if len(one.figures)},
        "codebooks": chosen.report,
    }
    with new_folder(output, overwrite=overwrite, marker=TENSORS, known=[SUMMARY]) as folder_of_model:
        save_model(folder_of_model, ExactModel(output.name, chosen.model.tensors, summary))
    return summary


def _fit_anew(corpus: Corpus, seed: int, watch: Watch, sweep_pixels: int) -> _Attempt:
    model, report = fit_model(corpus.train, LiteSettings(seed), None, watch.part(0.9), sweep_pixels)
    return _Attempt("from scratch", model, measure(model, shuffled(corpus.held_out), watch), report)


def _refine(
    base: ExactModel, corpus: Corpus, seed: int, watch: Watch, sweep_pixels: int
) -> tuple[list[_Attempt], _Attempt, list[str]]:
    """The base model and models fitted from it, the one of them to keep, and why it is the base model."""
    kept = f"{base.name} is kept as it is"
    unchanged = _Attempt(f"{base.name} unchanged", base, np.zeros((0, len(HELD_OUT_STEPS), 3)))
    if corpus.shortage:
        return [unchanged], unchanged, [f"{kept}: {corpus.shortage}"]
    pieces, begun = shuffled(cut_in_pieces(corpus.held_out)), time.monotonic()
    unchanged = _Attempt(unchanged.what, base, measure(base, pieces, watch, _CHECKED))
    pieces = pieces[: len(unchanged.figures)]
    if len(pieces) < _LEAST_PIECES or count_pixels(pieces) < LEAST_HELD_OUT:
        return [unchanged], unchanged, [f"{kept}: the time was over while checking it on held-out pictures: give more --minutes"]
    checking, attempts = time.monotonic() - begun, [unchanged]
    for number, strength in enumerate(STRENGTHS):
        begun = time.monotonic()
        own = watch.named(f"attempt {number + 1} of {len(STRENGTHS)}")
        try:
            settings = LiteSettings(seed, 1, strength=strength)
            model, report = fit_model(corpus.train, settings, base, own.but(1.2 * checking), sweep_pixels)
            figures = measure(model, pieces, own)
        except OutOfTimeError as error:
            return attempts, unchanged, [f"{kept}: {error}"]
        attempts.append(_Attempt(f"{base.name} with a pull of {strength:g} samples", model, figures, report))
        if len(figures) == len(pieces) and is_better(figures, unchanged.figures):
            return attempts, attempts[-1], []
        if watch.left is not None and watch.left < time.monotonic() - begun:
            break
    return attempts, unchanged, [f"{kept}: on {len(pieces)} held-out pictures {NO_BETTER}"]

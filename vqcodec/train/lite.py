"""Training of a lite model: predictors, codebooks, streams. Numpy only, reads top to bottom.

A *sweep* codes many images side by side, each at its own step, tile by tile: when a tile's turn comes its predictor is
fitted on samples from all images, then every image is coded with it before the next tile. So contexts are always those of
the decoder (closed loop). The first sweep has no codebooks yet and rounds with a dead zone instead; each sweep's residuals
train the codebooks that the next one uses. The DC pyramid is fitted first, on rounded DCs.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from vqcodec import registry
from vqcodec.color import OPPONENT
from vqcodec.errors import InputError
from vqcodec.files import check_new_folder, make_parent, new_folder
from vqcodec.model import Model
from vqcodec.processes import processes
from vqcodec.rate import Encoder
from vqcodec.train import codebooks, streams
from vqcodec.train.assembly import assemble, base_books, recount, train_books
from vqcodec.train.codebooks import Trained
from vqcodec.train.data import TrainingImage, identity, load_corpus
from vqcodec.train.sessions import Collector, Fit, LiteSettings, Progress, code_files, cut_small, draw_steps, open_session, pick
from vqcodec.train.sweep import sweep
from vqcodec.weights import SUMMARY, TENSORS, save_model

_SWEEP_PIXELS: Final = 40_000_000
_STATISTICS_PIXELS: Final = 80_000_000
_SMALL_FILES: Final = 1200
_FEW_FILES: Final = 200
"""Whole pictures that statistics are of, at least, with a base model: each of fewer is coded at up to eight steps."""
HELD_OUT_STEPS: Final = (12.0, 28.0, 64.0)
_MOST_DB: Final = 70.0
"""What PSNR counts at most: that of a flat picture is infinite, and would be all that counts."""
STRENGTHS: Final = (300.0, 5000.0)
"""Pulls towards the base model, tried in turn until one is better on the held-out images; the base itself is kept if none is."""


def fit_model(
    images: list[TrainingImage], settings: LiteSettings, base: Model | None, progress: Progress
) -> tuple[Model, list[dict[str, Any]]]:
    """A lite model and a report of its codebooks; every fit is pulled towards `base` by `settings.strength` samples."""
    rng = np.random.default_rng(settings.seed)
    table, keys = codebooks.book_table()
    fit = Fit(OPPONENT if base is None else base.color, {}, None, keys, table)
    start = None if base is None else base_books(base)
    model, books = base, start or []
    for number in range(settings.sweeps):
        chosen = pick(images, _SWEEP_PIXELS, rng)
        sessions = [open_session(i, s, fit.color) for i, s in zip(chosen, draw_steps(len(chosen), rng), strict=True)]
        collector = Collector(model, table, keys, settings.rate)

        def tell(what: str, done: int, total: int, number: int = number) -> None:
            progress(f"sweep {number + 1}/{settings.sweeps}: {what}", done, total)

        sweep(fit, sessions, collector, base, settings, tell)
        del sessions
        books = train_books(collector, fit, start, settings, tell)
        model = Model("in training", assemble(fit, books, None)[0])
    return finish(fit, books, images, settings, base, progress, rng)


def finish(
    fit: Fit,
    books: list[Trained],
    images: list[TrainingImage],
    settings: LiteSettings,
    base: Model | None,
    progress: Progress,
    rng: np.random.Generator,
) -> tuple[Model, list[dict[str, Any]]]:
    """Statistics of the final pipeline: ranks, code lengths, merge maps, forms, dictionaries."""
    tensors, orders = assemble(fit, books, None)
    chosen = pick(images, _STATISTICS_PIXELS, rng)
    if base is not None:
        chosen = chosen * max(1, min(8, _FEW_FILES // len(chosen)))
    steps = draw_steps(len(chosen), rng)
    files = code_files(Model("in training", tensors), chosen, steps, progress)
    books = recount(books, orders, files, 16.0 + settings.strength)
    tensors, _ = assemble(fit, books, None)
    small = cut_small(images, max(1, _SMALL_FILES // len(images)), rng)
    pixels = sum(image.pixels.shape[0] * image.pixels.shape[1] for image in small)
    mixed = small + pick(images, pixels, rng)  # as many pixels in small files as in large ones
    files = code_files(Model("in training", tensors), mixed, draw_steps(len(mixed), rng), progress)
    progress("streams", 0, 1)
    tensors, _ = assemble(fit, books, streams.train_streams(files, tensors["book.size"].astype(np.int64)))
    progress("streams", 1, 1)
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
    return Model("in training", tensors), report


def held_out_points(model: Model, images: list[TrainingImage]) -> list[dict[str, float]]:
    """Bytes and squared error of the held-out images at fixed steps: means of bpp and PSNR, and a cost in nats.

    The cost is mean over steps of log(bpp) + log(MSE): equal changes in rate and in distortion count the same.
    """
    with processes() as pool:
        found = np.array(list(pool.map(partial(_held_out_points_of, model), images)))  # [image, step, figure]
    rows = zip(HELD_OUT_STEPS, found.mean(axis=0).tolist(), strict=True)
    return [{"step": step, "bpp": bpp, "psnr_db": psnr, "cost": cost} for step, (bpp, psnr, cost) in rows]


def _held_out_points_of(model: Model, image: TrainingImage) -> list[tuple[float, float, float]]:
    """Bits per pixel, PSNR and cost of an image at each step."""
    points = []
    encoder = Encoder(image.pixels, model, 1)
    for step in HELD_OUT_STEPS:
        whole = round(step * 64)
        bpp, psnr = 8 * len(encoder.file(whole)) / image.pixels[:, :, 0].size, min(encoder.psnr_db(whole), _MOST_DB)
        points.append((bpp, psnr, float(np.log(bpp)) - psnr / 10 * float(np.log(10))))
    return points


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

    With `init` the base model is refined, and never made worse: the candidate with the lowest held-out cost wins, and the
    base is one of them. After half of `minutes` no candidate is begun. Raises InputError, ModelError, OutputError.
    """
    check_new_folder(output, overwrite=overwrite, marker=TENSORS, known=[SUMMARY])
    make_parent(output)
    tell: Progress = progress or (lambda what, done, total: None)
    started = time.monotonic()
    corpus = load_corpus(folder, tell)
    held_out = corpus.held_out or corpus.train
    base = None if init is None else registry.find(init)
    if base is not None and (base.context or base.synthesis):
        raise InputError(f"{base.name} has networks: --kind neural goes on from it, --init photo-lite does without")
    scored: list[tuple[float, str, Model, list[dict[str, Any]], list[dict[str, float]]]] = []

    def score(what: str, model: Model, report: list[dict[str, Any]]) -> None:
        tell("held-out images", 0, 1)
        model.check()
        points = held_out_points(model, held_out)
        scored.append((float(np.mean([p["cost"] for p in points])), what, model, report, points))
        tell("held-out images", 1, 1)

    if base is None:
        score("from scratch", *fit_model(corpus.train, LiteSettings(seed), None, tell))
    else:
        score(f"{base.name} unchanged", base, [])
        for strength in STRENGTHS:
            late = minutes is not None and time.monotonic() - started > 60 * minutes / 2
            if late or scored[-1][0] < scored[0][0]:
                break
            settings = LiteSettings(seed, 1, strength=strength)
            score(f"{base.name} with a pull of {strength:g} samples", *fit_model(corpus.train, settings, base, tell))
    _, what, model, report, points = min(scored, key=lambda entry: entry[0])
    summary: dict[str, Any] = {
        **identity(model.id, "lite", (folder, output), {"init": init or "none", "seed": seed, "minutes": minutes}),
        "method": what,
        "seed": seed,
        "corpus": corpus.facts(),
        "held_out_results": points,
        "candidates": {entry[1]: round(entry[0], 4) for entry in scored},
        "codebooks": report,
    }
    with new_folder(output, overwrite=overwrite, marker=TENSORS, known=[SUMMARY]) as folder_of_model:
        save_model(folder_of_model, Model(output.name, model.tensors, summary))
    return summary

"""`--kind lite`: an exact model without networks, from scratch or from a base model. Needs numpy only.

From scratch, one model is fitted. With a base model, fits that are pulled towards it strongly or weakly are tried in turn, and the
first that is better on held-out pictures is written, else the base model itself.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from vqcodec.errors import InputError
from vqcodec.io.files import check_new_folder, make_parent, new_folder
from vqcodec.runtime.workers import usable_cores
from vqcodec.train.comparison import GRAPHICS, are_graphics, compare, installed_models
from vqcodec.train.data import LEAST_HELD_OUT, Corpus, count_pixels, identity, load_corpus
from vqcodec.train.held_out import FEWEST_PIECES, NO_BETTER, Figures, is_better, measure
from vqcodec.train.log import TrainingLog
from vqcodec.train.pipeline import fit_linear_model
from vqcodec.train.result import Announce, Plan, Trained, why_not_written
from vqcodec.train.selection import cut_in_pieces, shuffled
from vqcodec.train.settings import DEFAULTS, ExactSettings
from vqcodec.train.watch import OutOfTimeError, Progress, Stop, StoppedError, Watch
from vqcodec.weights import kinds, registry
from vqcodec.weights.exact import ExactModel
from vqcodec.weights.folder import SUMMARY, TENSORS, save_model

STRENGTHS: Final = (300.0, 5000.0)
"""Pulls towards the base model, in samples, tried in turn."""
_SWEEP_PIXELS_A_MINUTE: Final = 1_000_000
"""Most pixels of a sweep per minute given: a sweep cannot be cut short."""
_TRAINED: Final = 0.92
"""Share of the time for fits and their checks; the rest is for the report."""
_CORE_SECONDS, _CORE_SECONDS_A_MEGAPIXEL = 120.0, 20.0
"""About the time of a fit on one core, for the plan: small files, and each megapixel of the folder."""
_STAGES: Final = ("predictors", "codebooks", "streams", "a check on held-out pictures", "a comparison with other formats")
_CHECKED: Final = 0.3
"""Share of the time left for the check of the base model."""
_FITTED: Final = 0.9
"""Share of the time left for a fit from scratch."""


@dataclass(frozen=True)
class Attempt:
    """A model, a description of its fit, its figures on held-out pictures, and statistics of its codebooks."""

    method: str
    model: ExactModel
    figures: Figures
    codebooks: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """All attempts, the one that is written, and notes for the user."""

    attempts: list[Attempt]
    chosen: Attempt
    notes: list[str] = field(default_factory=list)
    unfinished: bool = False
    """Whether the time was over before all attempts were made that might have been better."""


def train_lite(
    folder: Path,
    output: Path,
    *,
    init: str | Path | None,
    seed: int = 0,
    minutes: float | None = None,
    overwrite: bool = False,
    keep: bool = False,
    progress: Progress | None = None,
    announce: Announce = lambda plan: None,
    stop: Stop | None = None,
    log: Path | None = None,
    settings: ExactSettings = DEFAULTS,
) -> Trained:
    """Train on a folder, a .tar or a gzipped idx file and write the model folder `output`.

    With `init`, the base model is adapted. It is kept if there are too few pictures, if the `minutes` are over, and unless another
    model is better on held-out pictures by more than chance; "notes" say why. Then, or if the gain is too small to pay for the
    model's size, nothing is written, unless `keep`. Raises InputError, ModelError, OutputError, and OutOfTimeError if there is no
    base model or not all pictures were read.
    """
    check_new_folder(output, overwrite=overwrite, marker=TENSORS, known=[SUMMARY])
    make_parent(output)
    training_log = TrainingLog(log, None)
    base = None if init is None else registry.find(init)
    if base is not None and (base.context or base.synthesis):
        raise InputError(f"{base.name} has networks: continue it with --kind neural, or use --init photo-lite")
    watch = Watch.start(progress, minutes, stop)
    corpus = load_corpus(folder, watch)
    settings = replace(settings, seed=seed)
    if minutes is not None:
        settings = replace(settings, sweep_pixels=min(settings.sweep_pixels, round(minutes * _SWEEP_PIXELS_A_MINUTE)))
    if base is None and corpus.shortage:
        raise InputError(f"{folder}: {corpus.shortage}")
    estimate = _estimated_minutes(corpus, settings, base)
    plan = Plan.of(corpus, "lite", None if base is None else base.name, _STAGES, limit=minutes, estimate=estimate)
    announce(plan)
    training_log.entry("plan", plan.facts())
    fits = watch.part(_TRAINED)
    outcome = _fit_anew(corpus, settings, fits) if base is None else _adapt(base, corpus, settings, fits, keep=keep)
    chosen = outcome.chosen
    made = ExactModel(output.name, chosen.model.tensors)
    comparison = None
    references = installed_models(registry.LITE_MODEL) if base is None else [base]
    if references and not watch.stop.asked:
        comparison = compare(references[0], made, installed_models(kinds.DEFAULT_MODEL), corpus.held_out, watch)
    summary: dict[str, Any] = {
        **identity(made.id, "lite", (folder, output), {"kind": "lite", "init": init or "none", "seed": seed, "minutes": minutes}),
        "method": chosen.method,
        "seed": seed,
        "notes": outcome.notes,
        "corpus": corpus.facts(),
        "held_out_results": chosen.figures.points(),
        "candidates": {one.method: round(one.figures.mean_cost, 4) for one in outcome.attempts if len(one.figures)},
        **({} if comparison is None else {"comparison": comparison.facts()}),
        "codebooks": chosen.codebooks,
    }
    refusal = "" if base is None or keep else why_not_written(base, made, comparison, outcome.notes, unfinished=outcome.unfinished)
    if not refusal:
        with new_folder(output, overwrite=overwrite, marker=TENSORS, known=[SUMMARY]) as folder_of_model:
            save_model(folder_of_model, replace(made, summary=summary))
    trained = Trained(summary, refusal, outcome.unfinished, comparison, watch.stop.asked)
    training_log.entry("result", trained.facts())
    return trained


def _estimated_minutes(corpus: Corpus, settings: ExactSettings, base: ExactModel | None) -> float:
    """About the minutes of a training without a limit, on a machine like that of the constants."""
    if base is not None and corpus.shortage:
        return 0.1
    megapixels = min(corpus.pixels, settings.statistics_pixels) / 1e6
    fits = settings.sweeps if base is None else 1
    return fits * (_CORE_SECONDS + _CORE_SECONDS_A_MEGAPIXEL * megapixels) / usable_cores() / 60


def _fit_anew(corpus: Corpus, settings: ExactSettings, watch: Watch) -> Outcome:
    """A model from scratch. Raises OutOfTimeError."""
    fitted = fit_linear_model(corpus.train, settings, None, watch.part(_FITTED))
    figures = measure(fitted.model, shuffled(corpus.held_out), watch.for_check())
    attempt = Attempt("from scratch", fitted.model, figures, fitted.codebooks)
    return Outcome([attempt], attempt)


def _adapt(base: ExactModel, corpus: Corpus, settings: ExactSettings, watch: Watch, *, keep: bool) -> Outcome:
    """The first model fitted from the base model that is better on held-out pictures, or the base model.

    Graphics, whose files hold no model, are trained on only if any model is to be kept.
    """
    kept = f"{base.name} is kept as it is"
    unchanged = Attempt(f"{base.name} unchanged", base, Figures.of([]))
    if corpus.shortage:
        return Outcome([unchanged], unchanged, [f"{kept}: {corpus.shortage}"])
    try:
        if not keep and are_graphics(corpus.train, base, watch):
            return Outcome([unchanged], unchanged, [f"{kept}: {GRAPHICS}"])
        pieces, begun = shuffled(cut_in_pieces(corpus.held_out)), time.monotonic()
        unchanged = replace(unchanged, figures=measure(base, pieces, watch, _CHECKED))
    except StoppedError as error:
        return Outcome([unchanged], unchanged, [f"{kept}: {error}"], unfinished=True)
    pieces = pieces[: len(unchanged.figures)]
    if len(pieces) < FEWEST_PIECES or count_pixels(pieces) < LEAST_HELD_OUT:
        note = f"{kept}: the time was over while checking it on held-out pictures: give more --minutes"
        return Outcome([unchanged], unchanged, [note], unfinished=True)
    checking_s, attempts = time.monotonic() - begun, [unchanged]
    for number, strength in enumerate(STRENGTHS):
        begun = time.monotonic()
        own = watch.named(f"attempt {number + 1} of {len(STRENGTHS)}")
        try:
            one_sweep = replace(settings, sweeps=1, strength=strength)
            fitted = fit_linear_model(corpus.train, one_sweep, base, own.but(1.2 * checking_s))
            figures = measure(fitted.model, pieces, own.for_check())
        except OutOfTimeError as error:
            return Outcome(attempts, unchanged, [f"{kept}: {error}"], unfinished=True)
        attempts.append(Attempt(f"{base.name} with a pull of {strength:g} samples", fitted.model, figures, fitted.codebooks))
        if len(figures) == len(pieces) and is_better(figures, unchanged.figures):
            return Outcome(attempts, attempts[-1])
        if watch.left is not None and watch.left < time.monotonic() - begun:
            break
    return Outcome(attempts, unchanged, [f"{kept}: on {len(pieces)} held-out pictures {NO_BETTER}"])

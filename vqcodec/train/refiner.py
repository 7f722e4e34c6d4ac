"""`--kind refiner`: a generator that sharpens decoded pictures, trained against a discriminator (neural/refiner.py).

Order: load and hold out -> code pictures with two models -> fit generator and discriminator -> check on held-out pictures -> write.
The models take turns: the base model and the lite one, so that the refiner serves files with a synthesis network and files without.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from vqcodec.errors import ModelError
from vqcodec.neural.perceptual import GradientStatistics, Lpips
from vqcodec.neural.refiner import RefinerSettings, fit_refiner
from vqcodec.train.options import NO_REFINER_OPTIONS, RefinerOptions, command_options
from vqcodec.train.result import Trained
from vqcodec.train.samples import make_refiner_samples
from vqcodec.train.selection import pick
from vqcodec.train.training_run import TrainingRun
from vqcodec.transform.color import OPPONENT
from vqcodec.weights import kinds, registry
from vqcodec.weights.refiner import Refiner

_STAGES: Final = ("coding pictures", "the refiner against a discriminator", "a check on held-out pictures")
_SHEET: Final = "original, decoded, refined"
_PIXELS: Final = 120_000_000
"""Most pixels of all samples, 12 bytes each."""
_HELD_OUT_PIXELS: Final = 8_000_000
_HELD_OUT_PIXELS_A_MINUTE: Final = 500_000
_SAMPLED: Final = 0.25
"""Share of the time for samples; pictures that are not coded by then are left out."""
_CONTINUED: Final = 0.5
"""Factor on the generator's peak learning rate when it continues, since the discriminator starts from scratch."""


def train_refiner(
    run: TrainingRun,
    *,
    init: str | Path,
    refiner: str | None = None,
    perceptual: Path | None = None,
    options: RefinerOptions = NO_REFINER_OPTIONS,
) -> Trained:
    """Train a refiner on pictures coded by the model `init` and the lite model, and write its folder.

    `refiner` is one whose generator continues, against a new discriminator. `perceptual` is the folder of the LPIPS weights;
    without them, gradient statistics are the perceptual distance. Raises InputError, ModelError, OutputError, MissingExtraError.
    """
    distance = GradientStatistics() if perceptual is None else Lpips(perceptual)
    both = map(registry.find, (init, registry.installed(registry.LITE_MODEL)))
    models = list({model.id: model for model in both}.values())  # one if they are the same
    if any((model.color != OPPONENT).any() for model in models):
        raise ModelError(f"{init}: its colour matrix differs from the one that refiners work with")
    start = None if refiner is None else registry.find_refiner(refiner)
    corpus = run.begin()
    run.tell_plan(corpus, kinds.REFINER.name, start, _STAGES)
    settings = options.applied(run.scheduled(RefinerSettings, corpus, *models, start))
    if start is not None:  # keeps its size
        width, blocks = len(start.network.head), len(start.network.expand)
        settings = replace(settings, width=width, blocks=blocks, rate=settings.rate * _CONTINUED)
    images = pick(corpus.train, _PIXELS, np.random.default_rng(settings.seed))
    seen = run.limited(_HELD_OUT_PIXELS, _HELD_OUT_PIXELS_A_MINUTE)
    kept = pick(corpus.held_out or corpus.train, seen, np.random.default_rng(settings.seed))
    train = make_refiner_samples(images, models, settings.seed, f"coding {len(images)} pictures", run.watch, _SAMPLED)
    stage = f"coding {len(kept)} held-out pictures"
    held_out = make_refiner_samples(kept, models, settings.seed + 1, stage, run.watch, _SAMPLED / 2)
    settings = run.timed(settings, run.watch)
    fitted = fit_refiner(
        train,
        held_out,
        distance,
        settings,
        run.loop_options("refiner", "training the refiner", counted="generator_steps"),
        start=None if start is None else start.tensors,
        show=partial(run.training_log.picture, _SHEET),
    )
    made = Refiner(run.output.name, fitted.tensors | {"color": OPPONENT})
    made.check()
    facts = {
        **({} if start is None else {"refiner_id": start.id}),
        "decodes_of": [f"{model.name} {model.id[:12]}" for model in models],
        "distance": "statistics of gradients" if perceptual is None else "LPIPS 0.1, SqueezeNet 1.1",
        **{name: round(value, 4) for name, value in fitted.scores.items()},
        "parameters": sum(array.size for array in fitted.tensors.values()),
        "macs_per_pixel": round(made.network.macs_per_pixel),
        "settings": asdict(settings),
    }
    command = {"init": init, "refiner": refiner, "perceptual": perceptual, **command_options(options)}
    summary = run.summary(made, kinds.REFINER.name, command, facts, corpus)
    return run.finish(made, summary)

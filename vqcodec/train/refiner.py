"""Training of a refiner: the generator that makes decoded pictures sharp, against a discriminator (neural/refiner.py).

It learns on pictures coded by two models in turn: the one that it starts from and the lite one, so that it serves files with a
synthesis behind them and files without.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from vqcodec.errors import ModelError
from vqcodec.neural.perceptual import GradientStatistics, Lpips
from vqcodec.neural.refiner import RefinerSettings, fit_refiner
from vqcodec.train.course import Course
from vqcodec.train.samples import make_refiner_samples
from vqcodec.train.sessions import pick
from vqcodec.transform.color import OPPONENT
from vqcodec.weights import kinds, registry
from vqcodec.weights.refiner import Refiner

_SHEET: Final = "original, decoded, refined"
_PIXELS: Final = 120_000_000
"""Of all samples; one takes 12 bytes a pixel."""
_HELD_OUT_PIXELS: Final = 8_000_000
_HELD_OUT_PIXELS_A_MINUTE: Final = 500_000
_SAMPLED: Final = 0.25
"""Share of the time for samples: what is not made by then is not trained on."""
_CONTINUED: Final = 0.5
"""Of the generator's peak learning rate, where training goes on from one: the discriminator begins anew."""


def train_refiner(
    course: Course,
    *,
    init: str | Path,
    refiner: str | None = None,
    perceptual: Path | None = None,
    weights: dict[str, float | bool] | None = None,
) -> dict[str, Any]:
    """Train a refiner on pictures coded by the model `init` and by the lite one, and write its folder; returns model.json.

    `refiner` is one whose generator is gone on from, against a new discriminator. `perceptual` is the folder of LPIPS's weights,
    without which statistics of gradients stand in; `weights` are of RefinerSettings (lambda_r, lambda_p, lambda_t, lambda_a,
    lambda_c, adaptive). Sheets are of held-out crops. Raises InputError, ModelError, OutputError, MissingExtraError.
    """
    distance = GradientStatistics() if perceptual is None else Lpips(perceptual)
    both = map(registry.find, (init, registry.installed(registry.LITE_MODEL)))
    models = list({model.id: model for model in both}.values())  # one, if they are the same
    if any((model.color != OPPONENT).any() for model in models):
        raise ModelError(f"{init}: its colours are not those that refiners work in")
    start = None if refiner is None else registry.find_refiner(refiner)
    corpus = course.begin()
    origin = course.origin(corpus, *models, start)
    settings = RefinerSettings(**course.schedule, origin=origin, **(weights or {}))  # type: ignore[arg-type]  # by name
    if start is not None:  # its size goes on, too
        width, blocks = len(start.network.head), len(start.network.expand)
        settings = replace(settings, width=width, blocks=blocks, rate=settings.rate * _CONTINUED)
    images = pick(corpus.train, _PIXELS, np.random.default_rng(settings.seed))
    seen = course.limited(_HELD_OUT_PIXELS, _HELD_OUT_PIXELS_A_MINUTE)
    kept = pick(corpus.held_out or corpus.train, seen, np.random.default_rng(settings.seed))
    train = make_refiner_samples(images, models, settings.seed, f"coding {len(images)} pictures", course.watch, _SAMPLED)
    stage = f"coding {len(kept)} held-out pictures"
    held_out = make_refiner_samples(kept, models, settings.seed + 1, stage, course.watch, _SAMPLED / 2)
    settings = course.timed(settings, course.watch)
    options = course.options("refiner", "training the refiner", counted="generator_steps")
    options |= {"start": None if start is None else start.tensors, "show": partial(course.diary.picture, _SHEET)}
    found, scores = fit_refiner(train, held_out, distance, settings, **options)
    made = Refiner(course.output.name, found | {"color": OPPONENT})
    made.check()
    facts = {
        **({} if start is None else {"refiner_id": start.id}),
        "decodes_of": [f"{model.name} {model.id[:12]}" for model in models],
        "distance": "statistics of gradients" if perceptual is None else "LPIPS 0.1, SqueezeNet 1.1",
        **{name: round(value, 4) for name, value in scores.items()},
        "parameters": sum(array.size for array in found.values()),
        "macs_per_pixel": round(made.network.macs_per_pixel),
        "settings": asdict(settings),
    }
    given: dict[str, object] = {"init": init, "refiner": refiner, "perceptual": perceptual}
    given |= {name.replace("_", "-"): value for name, value in (weights or {}).items() if value is not False}
    summary = course.summary(made, kinds.REFINER.name, given, facts, corpus)
    course.write(made, summary)
    return summary

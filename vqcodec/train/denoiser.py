"""Training of a denoiser (neural/denoiser.py) on pictures as they are, made noisy as they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from vqcodec.arrays import UInt8
from vqcodec.codec.denoising import denoise
from vqcodec.errors import ModelError
from vqcodec.neural.denoiser import SCORED_SIGMAS, DenoiserSettings, fit_denoiser
from vqcodec.train.course import Course
from vqcodec.transform.color import OPPONENT
from vqcodec.weights import kinds, registry
from vqcodec.weights.denoiser import Denoiser

_CONTINUED: Final = 0.5
"""Of the peak learning rate, where training goes on from a denoiser."""
_SCORED: Final = 24
"""Held-out pictures, of which the middle is denoised."""
_SCORED_A_MINUTE: Final = 2
_SCORED_SIDE: Final = 256


def train_denoiser(course: Course, *, init: str | Path | None = None) -> dict[str, Any]:
    """Train a denoiser and write its folder; returns model.json. `init` is a denoiser that is gone on from.

    Raises InputError, ModelError, OutputError, MissingExtraError.
    """
    start = None if init is None else registry.find_denoiser(init)
    if start is not None and (start.color != OPPONENT).any():
        raise ModelError(f"{init}: its colours are not those that denoisers are trained in")
    corpus = course.begin()
    settings = DenoiserSettings(**course.schedule, origin=course.origin(corpus, start))
    if start is not None:  # its size goes on, too
        width, blocks = len(start.network.head), len(start.network.expand)
        settings = replace(settings, width=width, blocks=blocks, rate=settings.rate * _CONTINUED)
    train, held_out = ([image.pixels for image in images] for images in (corpus.train, corpus.held_out or corpus.train))
    settings = course.timed(settings, course.watch)
    options = course.options("denoiser", "training the denoiser") | {"start": None if start is None else start.tensors}
    found = fit_denoiser(train, held_out, settings, **options)
    made = Denoiser(course.output.name, found | {"color": OPPONENT})
    made.check()
    course.tell("checking on held-out pictures", 0, 1)
    scored = held_out[: course.limited(_SCORED, _SCORED_A_MINUTE)]
    facts = {
        **({} if start is None else {"init_id": start.id}),
        **{f"held_out_gain_db_at_{sigma:g}": round(score(made, scored, sigma), 3) for sigma in SCORED_SIGMAS},
        "parameters": sum(array.size for array in found.values()),
        "macs_per_pixel": round(made.network.macs_per_pixel),
        "settings": asdict(settings),
    }
    summary = course.summary(made, kinds.DENOISER.name, {"init": init}, facts, corpus)
    course.write(made, summary)
    return summary


def score(denoiser: Denoiser, pictures: Sequence[UInt8], sigma: float) -> float:
    """Mean gain in PSNR over noisy pictures in dB, on their middles: what `vqcodec denoise` does."""
    gains = []
    rng = np.random.default_rng(0)
    for picture in pictures:
        top, left = (max(0, side - _SCORED_SIDE) // 2 for side in picture.shape[:2])
        clean = picture[top : top + _SCORED_SIDE, left : left + _SCORED_SIDE].astype(np.float64)
        noisy = np.clip(np.rint(clean + rng.normal(0, sigma, clean.shape)), 0, 255).astype(np.uint8)
        before, after = (np.square(found - clean).mean() + 1e-9 for found in (noisy, denoise(noisy, denoiser, sigma)))
        gains.append(10 * np.log10(before / after))
    return float(np.mean(gains))

"""`--kind denoiser`: a network that removes white noise (neural/denoiser.py), trained on pictures with noise added.

Order: load and hold out -> fit on noisy crops -> check on held-out pictures -> write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np

from vqcodec.arrays import UInt8
from vqcodec.codec.denoising import denoise
from vqcodec.errors import ModelError
from vqcodec.neural.denoiser import SCORED_SIGMAS, DenoiserSettings, fit_denoiser
from vqcodec.train.held_out import CHECKING
from vqcodec.train.result import Trained
from vqcodec.train.training_run import TrainingRun
from vqcodec.transform.color import OPPONENT
from vqcodec.weights import kinds, registry
from vqcodec.weights.denoiser import Denoiser

_STAGES: Final = ("the denoiser", "a check on held-out pictures")
_CONTINUED: Final = 0.5
"""Factor on the peak learning rate when a denoiser continues."""
_SCORED: Final = 24
"""Held-out pictures whose middle is denoised for the score."""
_SCORED_A_MINUTE: Final = 2
_SCORED_SIDE: Final = 256


def train_denoiser(run: TrainingRun, *, init: str | Path | None = None) -> Trained:
    """Train a denoiser, or continue the denoiser `init`, and write its folder.

    Raises InputError, ModelError, OutputError, MissingExtraError.
    """
    start = None if init is None else registry.find_denoiser(init)
    if start is not None and (start.color != OPPONENT).any():
        raise ModelError(f"{init}: its colour matrix differs from the one that denoisers are trained with")
    corpus = run.begin()
    run.tell_plan(corpus, kinds.DENOISER.name, start, _STAGES)
    settings = run.scheduled(DenoiserSettings, corpus, start)
    if start is not None:  # keeps its size
        width, blocks = len(start.network.head), len(start.network.expand)
        settings = replace(settings, width=width, blocks=blocks, rate=settings.rate * _CONTINUED)
    train, held_out = ([image.pixels for image in images] for images in (corpus.train, corpus.held_out or corpus.train))
    settings = run.timed(settings, run.watch)
    options = run.loop_options("denoiser", "training the denoiser")
    found = fit_denoiser(train, held_out, settings, options, start=None if start is None else start.tensors)
    made = Denoiser(run.output.name, found | {"color": OPPONENT})
    made.check()
    scored = held_out[: run.limited(_SCORED, _SCORED_A_MINUTE)]
    gains = {}
    for number, sigma in enumerate(SCORED_SIGMAS):
        run.tell(CHECKING, number, len(SCORED_SIGMAS))
        gains[sigma] = mean_gain_db(made, scored, sigma)
    facts = {
        **({} if start is None else {"init_id": start.id}),
        **{f"held_out_gain_db_at_{sigma:g}": round(gain_db, 3) for sigma, gain_db in gains.items()},
        "parameters": sum(array.size for array in found.values()),
        "macs_per_pixel": round(made.network.macs_per_pixel),
        "settings": asdict(settings),
    }
    summary = run.summary(made, kinds.DENOISER.name, {"init": init}, facts, corpus)
    return run.finish(made, summary)


def mean_gain_db(denoiser: Denoiser, pictures: Sequence[UInt8], sigma: float) -> float:
    """Mean gain of `vqcodec denoise` in PSNR over the noisy pictures, dB, on the middle of each picture."""
    gains = []
    rng = np.random.default_rng(0)
    for picture in pictures:
        top, left = (max(0, side - _SCORED_SIDE) // 2 for side in picture.shape[:2])
        clean = picture[top : top + _SCORED_SIDE, left : left + _SCORED_SIDE].astype(np.float64)
        noisy = np.clip(np.rint(clean + rng.normal(0, sigma, clean.shape)), 0, 255).astype(np.uint8)
        before, after = (np.square(found - clean).mean() + 1e-9 for found in (noisy, denoise(noisy, denoiser, sigma)))
        gains.append(10 * np.log10(before / after))
    return float(np.mean(gains))

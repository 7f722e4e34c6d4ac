"""Training of a denoiser (neural/denoiser.py) on pictures as they are, made noisy as they are drawn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec import registry
from vqcodec.color import OPPONENT
from vqcodec.denoising import denoise
from vqcodec.errors import MissingExtraError, ModelError
from vqcodec.files import check_new_folder, new_folder
from vqcodec.model import TENSORS, Denoiser, save_model
from vqcodec.train.data import identity, load_corpus
from vqcodec.train.log import TrainingLog
from vqcodec.train.sessions import Progress

try:
    from vqcodec.neural.denoiser import SCORED_SIGMAS, DenoiserSettings, fit_denoiser
    from vqcodec.neural.loop import check_device
    from vqcodec.train.neural import DEFAULT_MINUTES, settle
except ImportError as error:  # torch is an extra
    raise MissingExtraError("training a denoiser needs torch: pip install 'vqcodec[neural]'") from error

_CONTINUED: Final = 0.5
"""Of the peak learning rate, where training goes on from a denoiser."""
_SCORED: Final = 24
"""Held-out pictures, of which the middle is denoised."""
_SCORED_SIDE: Final = 256


def train_denoiser(
    folder: Path,
    output: Path,
    *,
    init: str | None = None,
    seed: int = 0,
    minutes: float | None = None,
    steps: int | None = None,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    log: Path | None = None,
    board: Path | None = None,
) -> dict[str, Any]:
    """Train a denoiser on a folder, a .tar or a gzipped idx file, and write the model folder `output`; returns model.json.

    `init` is a denoiser that is gone on from. `log` gets a JSON line every 50 steps, the folder `board` curves for TensorBoard.
    With `resume` the checkpoint beside `output` is gone on from. Raises InputError, ModelError, OutputError, MissingExtraError.
    """
    check_new_folder(output, overwrite=overwrite, marker=TENSORS)
    check_device(device)
    started = time.monotonic()
    if minutes is None and steps is None:
        minutes = DEFAULT_MINUTES
    tell: Progress = progress or (lambda what, done, total: None)
    start = None if init is None else registry.find_denoiser(init)
    if start is not None and (start.color != OPPONENT).any():
        raise ModelError(f"{init}: its colours are not those that denoisers are trained in")
    diary = TrainingLog(log, board)
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    settle([checkpoint], resume=resume, overwrite=overwrite)
    corpus = load_corpus(folder, tell)
    settings = DenoiserSettings(seed=seed, minutes=minutes, steps=steps)
    if start is not None:  # its size goes on, too
        width, blocks = len(start.network.head), len(start.network.expand)
        settings = replace(settings, width=width, blocks=blocks, rate=settings.rate * _CONTINUED)
    train, held_out = ([image.pixels for image in images] for images in (corpus.train, corpus.held_out or corpus.train))
    results: dict[str, Any] = {}

    def report(facts: dict[str, float]) -> None:
        results["optimiser_steps"] = facts["step"]
        tell("denoiser", round(1000 * facts["share"]), 1000)
        diary.facts("denoiser", facts)

    options: dict[str, Any] = {"device": device, "checkpoint": checkpoint, "report": report}
    found = fit_denoiser(train, held_out, settings, start=None if start is None else start.tensors, **options)
    made = Denoiser(output.name, found | {"color": OPPONENT})
    made.check()
    given: dict[str, object] = {"kind": registry.DENOISER, "init": init, "seed": seed, "minutes": minutes, "steps": steps}
    summary: dict[str, Any] = {
        **identity(made.id, registry.DENOISER, (folder, output), given),
        **({} if start is None else {"init_id": start.id}),
        "seconds": round(time.monotonic() - started),
        **results,
        **{f"held_out_gain_db_at_{sigma:g}": round(score(made, held_out, sigma), 3) for sigma in SCORED_SIGMAS},
        "parameters": sum(array.size for array in found.values()),
        "macs_per_pixel": round(made.network.macs_per_pixel),
        "settings": asdict(settings),
        "corpus": corpus.facts(),
    }
    diary.close()
    with new_folder(output, overwrite=overwrite, marker=TENSORS) as folder_of_model:
        save_model(folder_of_model, Denoiser(output.name, made.tensors, summary))
    checkpoint.unlink(missing_ok=True)
    return summary


def score(denoiser: Denoiser, pictures: Sequence[NDArray[np.uint8]], sigma: float) -> float:
    """What PSNR gains over noisy pictures in dB, a mean over the middles of the first ones: what `vqcodec denoise` does."""
    gains = []
    rng = np.random.default_rng(0)
    for picture in pictures[:_SCORED]:
        top, left = (max(0, side - _SCORED_SIDE) // 2 for side in picture.shape[:2])
        clean = picture[top : top + _SCORED_SIDE, left : left + _SCORED_SIDE].astype(np.float64)
        noisy = np.clip(np.rint(clean + rng.normal(0, sigma, clean.shape)), 0, 255).astype(np.uint8)
        before, after = (np.square(found - clean).mean() + 1e-9 for found in (noisy, denoise(noisy, denoiser, sigma)))
        gains.append(10 * np.log10(before / after))
    return float(np.mean(gains))

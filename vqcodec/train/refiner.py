"""Training of a refiner: the generator that makes decoded pictures sharp, against a discriminator (neural/refiner.py).

It learns on pictures coded by two models in turn: the one that it starts from and the lite one, so that it serves files with a
synthesis behind them and files without.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec import registry
from vqcodec.color import OPPONENT
from vqcodec.errors import MissingExtraError, ModelError
from vqcodec.files import check_new_folder, new_folder
from vqcodec.model import TENSORS, Refiner, save_model
from vqcodec.train.data import identity, load_corpus
from vqcodec.train.log import TrainingLog
from vqcodec.train.sessions import Progress, pick

try:
    from vqcodec.neural.loop import check_device
    from vqcodec.neural.perceptual import GradientStatistics, Lpips
    from vqcodec.neural.refiner import RefinerSettings, fit_refiner
    from vqcodec.train.neural import DEFAULT_MINUTES, settle
    from vqcodec.train.samples import make_refiner_samples
except ImportError as error:  # torch is an extra
    raise MissingExtraError("training a refiner needs torch: pip install 'vqcodec[neural]'") from error

_PIXELS: Final = 120_000_000
"""Of all samples; one takes 12 bytes a pixel."""
_HELD_OUT_PIXELS: Final = 8_000_000
_CONTINUED: Final = 0.5
"""Of the generator's peak learning rate, where training goes on from one: the discriminator begins anew."""


def train_refiner(
    folder: Path,
    output: Path,
    *,
    init: str,
    refiner: str | None = None,
    perceptual: Path | None = None,
    weights: dict[str, float | bool] | None = None,
    seed: int = 0,
    minutes: float | None = None,
    steps: int | None = None,
    device: str = "cpu",
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    log: Path | None = None,
    board: Path | None = None,
    sheets: Path | None = None,
) -> dict[str, Any]:
    """Train a refiner on a folder (or a .tar) coded by the model `init` and by the lite one; returns model.json.

    `refiner` is one whose generator is gone on from, against a new discriminator. `perceptual` is the folder of LPIPS's weights,
    without which statistics of gradients stand in; `weights` are of RefinerSettings (lambda_r, lambda_p, lambda_t, lambda_a,
    lambda_c, adaptive). `log` gets a JSON line every 50 steps; TensorBoard, in the folder `board`, curves and sheets of held-out
    crops, and the folder `sheets` these as PNG. With `resume` the checkpoint beside `output` is gone on from. Raises InputError,
    ModelError, OutputError, MissingExtraError.
    """
    check_new_folder(output, overwrite=overwrite, marker=TENSORS)
    check_device(device)
    started = time.monotonic()
    if minutes is None and steps is None:
        minutes = DEFAULT_MINUTES
    tell: Progress = progress or (lambda what, done, total: None)
    distance = GradientStatistics() if perceptual is None else Lpips(perceptual)
    models = [registry.find(name) for name in dict.fromkeys((init, registry.LITE_MODEL))]
    if any((model.color != OPPONENT).any() for model in models):
        raise ModelError(f"{init}: its colours are not those that refiners work in")
    start = None if refiner is None else registry.find_refiner(refiner)
    diary = TrainingLog(log, board, sheets)
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    settle([checkpoint], resume=resume, overwrite=overwrite)
    corpus = load_corpus(folder, tell)
    settings = RefinerSettings(seed=seed, minutes=minutes, steps=steps, **(weights or {}))  # type: ignore[arg-type]  # by name
    if start is not None:  # its size goes on, too
        width, blocks = len(start.network.head), len(start.network.expand)
        settings = replace(settings, width=width, blocks=blocks, rate=settings.rate * _CONTINUED)
    images = pick(corpus.train, _PIXELS, np.random.default_rng(seed))
    kept = pick(corpus.held_out or corpus.train, _HELD_OUT_PIXELS, np.random.default_rng(seed))
    train = make_refiner_samples(images, models, seed, "samples", tell)
    held_out = make_refiner_samples(kept, models, seed + 1, "held-out samples", tell)
    results: dict[str, Any] = {}

    def report(facts: dict[str, float]) -> None:
        results["generator_steps"] = facts["step"]
        tell("refiner", round(1000 * facts["share"]), 1000)
        diary.facts("refiner", facts)

    def show(step: int, pixels: NDArray[np.uint8]) -> None:
        diary.picture("original, decoded, refined", step, pixels)

    options: dict[str, Any] = {"device": device, "checkpoint": checkpoint, "report": report, "show": show}
    found, scores = fit_refiner(train, held_out, distance, settings, start=None if start is None else start.tensors, **options)
    made = Refiner(output.name, found | {"color": OPPONENT})
    made.check()
    given: dict[str, object] = {"kind": "refiner", "init": init, "refiner": refiner, "seed": seed, "minutes": minutes}
    given |= {"steps": steps, "perceptual": None if perceptual is None else perceptual.name}
    given |= {name.replace("_", "-"): value for name, value in (weights or {}).items() if value is not False}
    summary: dict[str, Any] = {
        **identity(made.id, registry.REFINER, (folder, output), given),
        **({} if start is None else {"refiner_id": start.id}),
        "decodes_of": [f"{model.name} {model.id[:12]}" for model in models],
        "distance": "statistics of gradients" if perceptual is None else "LPIPS 0.1, SqueezeNet 1.1",
        "seconds": round(time.monotonic() - started),
        **results,
        **{name: round(value, 4) for name, value in scores.items()},
        "parameters": sum(array.size for array in found.values()),
        "macs_per_pixel": round(made.network.macs_per_pixel),
        "settings": asdict(settings),
        "corpus": corpus.facts(),
    }
    diary.close()
    with new_folder(output, overwrite=overwrite, marker=TENSORS) as folder_of_model:
        save_model(folder_of_model, Refiner(output.name, made.tensors, summary))
    checkpoint.unlink(missing_ok=True)
    return summary

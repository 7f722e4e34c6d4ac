"""Training of a token model: an autoencoder of cells around one codebook (neural/token.py), on pictures as they are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec import frames, registry, tokens
from vqcodec.color import OPPONENT
from vqcodec.errors import MissingExtraError
from vqcodec.files import check_new_folder, new_folder
from vqcodec.model import TENSORS, TokenModel, save_model
from vqcodec.train.data import TrainingImage, identity, load_corpus
from vqcodec.train.log import TrainingLog
from vqcodec.train.sessions import Progress, pick

try:
    from vqcodec.neural.loop import check_device
    from vqcodec.neural.token import TokenSettings, fit_tokens
    from vqcodec.train.neural import DEFAULT_MINUTES, settle
except ImportError as error:  # torch is an extra
    raise MissingExtraError("training a token model needs torch: pip install 'vqcodec[neural]'") from error

_MEASURED_PIXELS: Final = 4_000_000
"""Of pictures that tell the coefficients' means and deviations."""
_HELD_OUT_PIXELS: Final = 500_000
_LEAST_SCALE: Final = 0.5
"""Grey levels: a coefficient that hardly ever changes is not blown up."""


def train_token(
    folder: Path,
    output: Path,
    *,
    given: dict[str, float | bool] | None = None,
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
    """Train a token model on a folder, a .tar or a gzipped idx file, and write the model folder `output`; returns model.json.

    It is of grey pictures if all are, else of colour. `given` are settings of TokenSettings: cell, codewords, beta, lambda_r,
    lambda_c, cosine. `log` gets a JSON line every 50 steps, the folder `board` curves for TensorBoard. With `resume` the checkpoint
    beside `output` is gone on from. Raises InputError, OutputError, MissingExtraError.
    """
    check_new_folder(output, overwrite=overwrite, marker=TENSORS)
    check_device(device)
    started = time.monotonic()
    if minutes is None and steps is None:
        minutes = DEFAULT_MINUTES
    tell: Progress = progress or (lambda what, done, total: None)
    diary = TrainingLog(log, board)
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    settle([checkpoint], resume=resume, overwrite=overwrite)
    corpus = load_corpus(folder, tell)
    settings = TokenSettings(seed=seed, minutes=minutes, steps=steps, **(given or {}))  # type: ignore[arg-type]  # by name
    components = max(image.pixels.shape[2] for image in corpus.train)
    pictures = [whole_cells(image.pixels, settings.cell, components) for image in corpus.train]
    measured = pick(corpus.train, _MEASURED_PIXELS, np.random.default_rng(seed))
    mean, scale = statistics([whole_cells(image.pixels, settings.cell, components) for image in measured], settings.cell)
    held_out = pick(corpus.held_out or corpus.train, _HELD_OUT_PIXELS, np.random.default_rng(seed))
    fixed = {"color": OPPONENT, "token.mean": mean, "token.scale": scale}
    results: dict[str, Any] = {}

    def score(found: dict[str, NDArray[Any]]) -> dict[str, float]:
        return score_files(TokenModel("in training", found | fixed), held_out)

    def report(facts: dict[str, float]) -> None:
        results.update({"optimiser_steps": facts["step"], "perplexity": round(facts["perplexity"], 1), "used": facts["used"]})
        tell("tokens", round(1000 * facts["share"]), 1000)
        diary.facts("token", facts)

    options: dict[str, Any] = {"device": device, "checkpoint": checkpoint, "report": report, "score": score}
    found = fit_tokens(pictures, mean, scale, settings, **options)
    made = TokenModel(output.name, found | fixed)
    made.check()
    command: dict[str, object] = {"kind": registry.TOKEN, "seed": seed, "minutes": minutes, "steps": steps}
    command |= {name.replace("_", "-"): value for name, value in (given or {}).items() if value is not False}
    summary: dict[str, Any] = {
        **identity(made.id, registry.TOKEN, (folder, output), command),
        "seconds": round(time.monotonic() - started),
        **results,
        **{name: round(value, 3) for name, value in score_files(made, held_out).items()},
        "parameters": sum(array.size for array in found.values()),
        "settings": asdict(settings),
        "corpus": corpus.facts(),
    }
    diary.close()
    with new_folder(output, overwrite=overwrite, marker=TENSORS) as folder_of_model:
        save_model(folder_of_model, TokenModel(output.name, made.tensors, summary))
    checkpoint.unlink(missing_ok=True)
    return summary


def whole_cells(pixels: NDArray[np.uint8], side: int, components: int) -> NDArray[np.uint8]:
    """Pixels uint8 [H, W, 1 or 3] with edges repeated up to whole cells, and grey ones in as many components as there are."""
    down, right = (-length % side for length in pixels.shape[:2])
    padded = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
    return np.broadcast_to(padded, (*padded.shape[:2], components))


def statistics(pictures: Sequence[NDArray[np.uint8]], side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and standard deviation of every coefficient of pictures uint8 [H, W, c], float32 [C] each, in grey levels."""
    cells = [tokens.forward(picture, side, OPPONENT).reshape(side * side * picture.shape[2], -1) for picture in pictures]
    count = sum(x.shape[1] for x in cells)
    mean = sum(x.sum(axis=1, dtype=np.float64) for x in cells) / count
    square = sum(np.square(x, dtype=np.float64).sum(axis=1) for x in cells) / count
    scale = np.sqrt(np.maximum(square - mean**2, _LEAST_SCALE**2))
    return mean.astype(np.float32), scale.astype(np.float32)


def score_files(model: TokenModel, images: Sequence[TrainingImage]) -> dict[str, float]:
    """PSNR in dB over all pixels of decoded pictures together, and mean bytes of their files: what `encode` and `decode` do."""
    squares = samples = size = 0
    for image in images:
        indices = tokens.encode(image.pixels, model)
        decoded = tokens.decode(indices, model, image.pixels.shape)
        squares += int(np.square(np.subtract(decoded, image.pixels, dtype=np.int64)).sum())
        samples += image.pixels.size
        size += len(tokens.write(image.pixels.shape, indices, model, frames.LEVELS))
    psnr_db = 10 * float(np.log10(255**2 * samples / max(squares, 1)))
    return {"held_out_psnr_db": psnr_db, "held_out_bytes": size / len(images)}

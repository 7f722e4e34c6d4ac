"""Training of a token prior: what codewords of a token model go together, and with which class (neural/token_prior.py)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from vqcodec import registry
from vqcodec.errors import InputError, MissingExtraError, ModelError
from vqcodec.files import check_new_folder, new_folder
from vqcodec.model import TENSORS, TokenModel, TokenPrior, save_model
from vqcodec.train.data import TrainingImage, identity, load_corpus
from vqcodec.train.log import TrainingLog
from vqcodec.train.sessions import Progress

try:
    from vqcodec.neural.loop import check_device
    from vqcodec.neural.token_prior import Grid, PriorSettings, encode_all, fit_prior
    from vqcodec.train.neural import DEFAULT_MINUTES, settle
    from vqcodec.train.token import whole_cells
except ImportError as error:  # torch is an extra
    raise MissingExtraError("training a token prior needs torch: pip install 'vqcodec[neural]'") from error


def train_prior(
    folder: Path,
    output: Path,
    *,
    init: str,
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
    """Train a prior for the token model `init` on a folder, a .tar or a gzipped idx file, and write the model folder `output`;
    returns model.json.

    Where pictures lie in two or more folders (those of idx files do, by label), these are classes. `log` gets a JSON line every 50
    steps, the folder `board` curves for TensorBoard. With `resume` the checkpoint beside `output` is gone on from. Raises
    InputError, ModelError, OutputError, MissingExtraError.
    """
    check_new_folder(output, overwrite=overwrite, marker=TENSORS)
    check_device(device)
    started = time.monotonic()
    if minutes is None and steps is None:
        minutes = DEFAULT_MINUTES
    tell: Progress = progress or (lambda what, done, total: None)
    model = registry.find_any(init)
    if not isinstance(model, TokenModel):
        raise ModelError(f"{model.name} is no token model, and a token prior is trained for one (train --kind token)")
    diary = TrainingLog(log, board)
    checkpoint = output.with_name(f"{output.name}.checkpoint")
    settle([checkpoint], resume=resume, overwrite=overwrite)
    corpus = load_corpus(folder, tell)
    if any(image.pixels.shape[2] > model.components for image in corpus.train + corpus.held_out):
        raise InputError(f"{folder}: it has pictures in colour, and token model {model.name} is of grey ones")
    labels = classes_of(corpus.train + corpus.held_out)
    train = grids_of(corpus.train, labels, model, "tokens", tell)
    held_out = grids_of(corpus.held_out, labels, model, "held-out tokens", tell)
    settings = PriorSettings(seed=seed, minutes=minutes, steps=steps)
    results: dict[str, Any] = {}

    def report(facts: dict[str, float]) -> None:
        results["optimiser_steps"] = facts["step"]
        tell("prior", round(1000 * facts["share"]), 1000)
        diary.facts("prior", facts)

    options: dict[str, Any] = {"device": device, "checkpoint": checkpoint, "report": report}
    found, bits = fit_prior(train, held_out, len(model.words), len(labels), settings, **options)
    grid = len(found["prior.rows"]), len(found["prior.columns"])
    found["prior.picture"] = np.array(picture_of(corpus.train, grid, model.side), np.uint16)
    found["prior.token_id"] = np.frombuffer(model.file_id, np.uint8)
    made = TokenPrior(output.name, found, {"labels": labels})
    made.check()
    made.check_model(model)
    command: dict[str, object] = {"kind": registry.TOKEN_PRIOR, "init": init, "seed": seed, "minutes": minutes, "steps": steps}
    summary: dict[str, Any] = {
        **identity(made.id, registry.TOKEN_PRIOR, (folder, output), command),
        "token_model": f"{model.name} {model.id[:12]}",
        "labels": labels,
        "seconds": round(time.monotonic() - started),
        **results,
        "held_out_bits_per_token": round(bits, 4),
        "parameters": sum(array.size for array in found.values()),
        "settings": asdict(settings),
        "corpus": corpus.facts(),
    }
    diary.close()
    with new_folder(output, overwrite=overwrite, marker=TENSORS) as folder_of_model:
        save_model(folder_of_model, TokenPrior(output.name, made.tensors, summary))
    checkpoint.unlink(missing_ok=True)
    return summary


def class_of(image: TrainingImage) -> str:
    """The first folder of its name; empty where it lies in none."""
    parts = PurePath(image.name).parts
    return parts[0] if len(parts) > 1 else ""


def classes_of(images: Sequence[TrainingImage]) -> list[str]:
    """The folders that pictures lie in, in order of name, if there are two or more; else nothing."""
    found = sorted({class_of(image) for image in images} - {""})
    return found if len(found) > 1 else []


def grids_of(
    images: Sequence[TrainingImage], labels: Sequence[str], model: TokenModel, stage: str, progress: Progress
) -> list[Grid]:
    """The tokens of pictures; one without a class has the label behind the last."""
    numbers = {label: number for number, label in enumerate(labels)}
    pictures = [whole_cells(image.pixels, model.side, model.components) for image in images]
    found = encode_all(pictures, model, lambda done: progress(stage, done, len(images)))
    return [Grid(grid, numbers.get(class_of(image), len(labels))) for grid, image in zip(found, images, strict=True)]


def picture_of(images: Sequence[TrainingImage], grid: tuple[int, int], side: int) -> tuple[int, int, int]:
    """Height, width and components that pictures have: those of all images, or whole cells of a grid where they differ or are
    larger."""
    components = max(image.pixels.shape[2] for image in images)
    height, width = images[0].pixels.shape[:2]
    alike = all(image.pixels.shape[:2] == (height, width) for image in images)
    if alike and (-(-height // side), -(-width // side)) == grid:
        return height, width, components
    return grid[0] * side, grid[1] * side, components

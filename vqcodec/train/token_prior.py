"""`--kind token-prior`: a transformer that predicts the indices of a token model, given a class (neural/token_prior.py).

Order: load and hold out -> indices of all pictures -> fit on masked indices -> write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Final

import numpy as np

from vqcodec.errors import InputError
from vqcodec.neural.token_prior import Grid, PriorSettings, encode_all, fit_prior
from vqcodec.train.data import TrainingImage
from vqcodec.train.result import Trained
from vqcodec.train.token import whole_cells
from vqcodec.train.training_run import TrainingRun
from vqcodec.train.watch import Progress
from vqcodec.weights import kinds, registry
from vqcodec.weights.token import TokenModel
from vqcodec.weights.token_prior import TokenPrior

_STAGES: Final = ("indices of all pictures", "the prior")


def train_prior(run: TrainingRun, *, init: str | Path) -> Trained:
    """Train a prior for the token model `init` and write its folder.

    If the pictures lie in two or more folders, these are the classes; pictures of an idx file have their labels for folders. Raises
    InputError, ModelError, OutputError, MissingExtraError.
    """
    model = registry.find_token(init)
    corpus = run.begin()
    run.tell_plan(corpus, kinds.TOKEN_PRIOR.name, model, _STAGES)
    if any(image.pixels.shape[2] > model.components for image in corpus.train + corpus.held_out):
        raise InputError(f"{run.folder}: has pictures in colour, and token model {model.name} is for grey ones")
    labels = classes_of(corpus.train + corpus.held_out)
    train = grids_of(corpus.train, labels, model, f"encoding {len(corpus.train)} pictures", run.watch)
    held_out = grids_of(corpus.held_out, labels, model, f"encoding {len(corpus.held_out)} held-out pictures", run.watch)
    settings = run.timed(run.scheduled(PriorSettings, corpus, model), run.watch)
    options = run.loop_options("prior", "training the prior")
    fitted = fit_prior(train, held_out, len(model.codebook), len(labels), settings, options)
    found = fitted.tensors
    grid = len(found["prior.rows"]), len(found["prior.columns"])
    found["prior.picture"] = np.array(picture_of(corpus.train, grid, model.side), np.uint16)
    found["prior.token_id"] = np.frombuffer(model.file_id, np.uint8)
    made = TokenPrior(run.output.name, found, {"labels": labels})
    made.check()
    made.check_model(model)
    facts = {
        "token_model": f"{model.name} {model.id[:12]}",
        "labels": labels,
        "held_out_bits_per_token": round(fitted.held_out_bits, 4),
        "parameters": sum(array.size for array in found.values()),
        "settings": asdict(settings),
    }
    summary = run.summary(made, kinds.TOKEN_PRIOR.name, {"init": init}, facts, corpus)
    return run.finish(made, summary)


def class_of(image: TrainingImage) -> str:
    """Class of an image: the first folder of its name, or an empty string."""
    parts = PurePath(image.name).parts
    return parts[0] if len(parts) > 1 else ""


def classes_of(images: Sequence[TrainingImage]) -> list[str]:
    """Classes of the images in order of name; empty if there are fewer than two."""
    found = sorted({class_of(image) for image in images} - {""})
    return found if len(found) > 1 else []


def grids_of(
    images: Sequence[TrainingImage], labels: Sequence[str], model: TokenModel, stage: str, progress: Progress
) -> list[Grid]:
    """Indices and labels of the images; an image without a class has the label len(labels)."""
    numbers = {label: number for number, label in enumerate(labels)}
    pictures = [whole_cells(image.pixels, model.side, model.components) for image in images]
    found = encode_all(pictures, model, lambda done: progress(stage, done, len(images)))
    return [Grid(grid, numbers.get(class_of(image), len(labels))) for grid, image in zip(found, images, strict=True)]


def picture_of(images: Sequence[TrainingImage], grid: tuple[int, int], side: int) -> tuple[int, int, int]:
    """Height, width and components of generated pictures: those of the images if all agree and fill the grid, else whole cells."""
    components = max(image.pixels.shape[2] for image in images)
    height, width = images[0].pixels.shape[:2]
    alike = all(image.pixels.shape[:2] == (height, width) for image in images)
    if alike and (-(-height // side), -(-width // side)) == grid:
        return height, width, components
    return grid[0] * side, grid[1] * side, components

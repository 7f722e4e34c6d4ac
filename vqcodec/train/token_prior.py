"""Training of a token prior: what codewords of a token model go together, and with which class (neural/token_prior.py)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from vqcodec.errors import InputError
from vqcodec.neural.token_prior import Grid, PriorSettings, encode_all, fit_prior
from vqcodec.train.course import Course
from vqcodec.train.data import TrainingImage
from vqcodec.train.token import whole_cells
from vqcodec.train.watch import Progress
from vqcodec.weights import kinds, registry
from vqcodec.weights.token import TokenModel
from vqcodec.weights.token_prior import TokenPrior


def train_prior(course: Course, *, init: str | Path) -> dict[str, Any]:
    """Train a prior for the token model `init` and write its folder; returns model.json.

    Where pictures lie in two or more folders (those of idx files do, by label), these are classes. Raises InputError, ModelError,
    OutputError, MissingExtraError.
    """
    model = registry.find_token(init)
    corpus = course.begin()
    if any(image.pixels.shape[2] > model.components for image in corpus.train + corpus.held_out):
        raise InputError(f"{course.folder}: it has pictures in colour, and token model {model.name} is of grey ones")
    labels = classes_of(corpus.train + corpus.held_out)
    train = grids_of(corpus.train, labels, model, f"encoding {len(corpus.train)} pictures", course.watch)
    held_out = grids_of(corpus.held_out, labels, model, f"encoding {len(corpus.held_out)} held-out pictures", course.watch)
    settings = course.timed(PriorSettings(**course.schedule, origin=course.origin(corpus, model)), course.watch)
    found, bits = fit_prior(
        train, held_out, len(model.codebook), len(labels), settings, **course.options("prior", "training the prior")
    )
    grid = len(found["prior.rows"]), len(found["prior.columns"])
    found["prior.picture"] = np.array(picture_of(corpus.train, grid, model.side), np.uint16)
    found["prior.token_id"] = np.frombuffer(model.file_id, np.uint8)
    made = TokenPrior(course.output.name, found, {"labels": labels})
    made.check()
    made.check_model(model)
    facts = {
        "token_model": f"{model.name} {model.id[:12]}",
        "labels": labels,
        "held_out_bits_per_token": round(bits, 4),
        "parameters": sum(array.size for array in found.values()),
        "settings": asdict(settings),
    }
    summary = course.summary(made, kinds.TOKEN_PRIOR.name, {"init": init}, facts, corpus)
    course.write(made, summary)
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

"""Training of a token model: an autoencoder of cells around one codebook (neural/token.py), on pictures as they are.

From nothing, or from a trained token model: trained against a discriminator its decoder alone makes a VQGAN of it, whose indices
are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32, UInt8
from vqcodec.codec import tokens
from vqcodec.errors import InputError, ModelError
from vqcodec.format import zstd_blocks
from vqcodec.neural.perceptual import Lpips
from vqcodec.neural.token import TokenSettings, fit_tokens
from vqcodec.train.course import Course
from vqcodec.train.data import TrainingImage
from vqcodec.train.sessions import pick
from vqcodec.transform.color import OPPONENT
from vqcodec.weights import kinds, registry
from vqcodec.weights.token import TokenModel

_MEASURED_PIXELS: Final = 4_000_000
"""Of pictures that tell the coefficients' means and deviations."""
_HELD_OUT_PIXELS: Final = 500_000
_CONTINUED: Final = 0.5
"""Of the peak learning rate, where training goes on from a model."""
_LPIPS_SIDE: Final = 32
"""Pixels that LPIPS wants, at least."""
_SHOWN, _SHOWN_SIDE = 6, 192
"""Held-out pictures of a sheet, and pixels a side of their middles."""
_UNIT: Final = 0.01
"""What a codeword of unit length, in float16, may be off."""
_LEAST_SCALE: Final = 0.5
"""Grey levels: a coefficient that hardly ever changes is not blown up."""


def train_token(
    course: Course,
    *,
    init: str | Path | None = None,
    parts: Sequence[str] = ("encoder", "decoder"),
    perceptual: Path | None = None,
    given: dict[str, float | bool] | None = None,
) -> dict[str, Any]:
    """Train a token model and write its folder; returns model.json.

    It is of grey pictures if all are, else of colour. `init` is a token model that is gone on from, with its sizes; `parts` without
    the encoder keep that and the codebook as they are. `given` are settings of TokenSettings: cell, codewords, cosine (without
    `init`), batch, beta, lambda_r, lambda_c, lambda_p, lambda_a, adaptive. `perceptual` is the folder of LPIPS's weights; without
    them statistics of gradients stand in where lambda_p is above 0. Raises InputError, ModelError, OutputError, MissingExtraError.
    """
    start = None if init is None else registry.find_token(init)
    lpips = None if perceptual is None else Lpips(perceptual)
    corpus = course.begin()
    own: dict[str, Any] = {"frozen": "encoder" not in parts, "origin": course.origin(corpus, start), **(given or {})}
    settings = TokenSettings(**course.schedule, **own)
    components = max(image.pixels.shape[2] for image in corpus.train + corpus.held_out)
    if start is not None:
        if (start.color != OPPONENT).any():
            raise ModelError(f"{start.name}: its colours are not those that token models are trained in")
        if components > start.components:
            raise InputError(f"token model {start.name} is of grey pictures, and {course.folder} has some in colour")
        settings, components = continued(settings, start), start.components
    if lpips is not None:
        check_sides(corpus.train + corpus.held_out, settings.cell)
    course.tell("measuring coefficients", 0, 1)
    pictures = [whole_cells(image.pixels, settings.cell, components) for image in corpus.train]
    if start is None:
        measured = pick(corpus.train, _MEASURED_PIXELS, np.random.default_rng(settings.seed))
        mean, scale = statistics([whole_cells(image.pixels, settings.cell, components) for image in measured], settings.cell)
    else:
        mean, scale = start.mean, start.scale
    held_out = pick(corpus.held_out or corpus.train, _HELD_OUT_PIXELS, np.random.default_rng(settings.seed))
    fixed = {"color": OPPONENT, "token.mean": mean, "token.scale": scale}

    def score(found: dict[str, NDArray[Any]]) -> dict[str, float]:
        return score_files(TokenModel("in training", found | fixed), held_out, lpips)

    def show(step: int, found: dict[str, NDArray[Any]]) -> None:
        shown = sheet(TokenModel("in training", found | fixed), held_out[:_SHOWN])
        course.diary.picture("original, decoded", step, shown)

    settings = course.timed(settings, course.watch)
    options = course.options("token", "training the token model", kept=("perplexity", "used")) | {
        "score": score,
        "show": show,
        "perceptual": lpips,
    }
    found = fit_tokens(pictures, mean, scale, settings, start=None if start is None else start.tensors, **options)
    made = TokenModel(course.output.name, found | fixed)
    made.check()
    course.tell("checking on held-out pictures", 0, 1)
    facts = {
        **({} if start is None else {"init_id": start.id}),
        **({} if lpips is None else {"distance": "LPIPS 0.1, SqueezeNet 1.1"}),
        **{name: round(value, 4) for name, value in score_files(made, held_out, lpips).items()},
        "parameters": sum(array.size for array in found.values()),
        "settings": asdict(settings),
    }
    command: dict[str, object] = {"init": init, "parts": "decoder" if settings.frozen else None}
    command |= {"perceptual": perceptual}
    command |= {name.replace("_", "-"): value for name, value in (given or {}).items() if value is not False}
    summary = course.summary(made, kinds.TOKEN.name, command, facts, corpus)
    course.write(made, summary)
    return summary


def continued(settings: TokenSettings, start: TokenModel) -> TokenSettings:
    """The settings for going on from a model: its sizes, and a lower learning rate."""
    lengths = np.linalg.norm(start.codebook.astype(np.float32), axis=1)
    return replace(
        settings,
        rate=settings.rate * _CONTINUED,
        cell=start.side,
        codewords=len(start.codebook),
        dim=start.codebook.shape[1],
        cosine=bool((np.abs(lengths - 1) < _UNIT).all()),
        width=len(start.tensors["encoder.head"]),
        blocks=len(start.tensors["encoder.expand"]),
    )


def check_sides(images: Sequence[TrainingImage], cell: int) -> None:
    """Raise InputError unless LPIPS can look at all of them, padded to whole cells."""
    for image in images:
        height, width = image.pixels.shape[:2]
        if min(-(-height // cell), -(-width // cell)) * cell < _LPIPS_SIDE:
            raise InputError(f"{image.name}: {width} x {height} pixels; LPIPS wants {_LPIPS_SIDE} a side (leave out --perceptual)")


def whole_cells(pixels: UInt8, side: int, components: int) -> UInt8:
    """Pixels uint8 [H, W, 1 or 3] with edges repeated up to whole cells, and grey ones in as many components as there are."""
    down, right = (-length % side for length in pixels.shape[:2])
    padded = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
    return np.broadcast_to(padded, (*padded.shape[:2], components))


def statistics(pictures: Sequence[UInt8], side: int) -> tuple[Float32, Float32]:
    """Mean and standard deviation of every coefficient of pictures uint8 [H, W, c], float32 [C] each, in grey levels."""
    cells = [tokens.forward(picture, side, OPPONENT).reshape(side * side * picture.shape[2], -1) for picture in pictures]
    count = sum(x.shape[1] for x in cells)
    mean = sum(x.sum(axis=1, dtype=np.float64) for x in cells) / count
    square = sum(np.square(x, dtype=np.float64).sum(axis=1) for x in cells) / count
    scale = np.sqrt(np.maximum(square - mean**2, _LEAST_SCALE**2))
    return mean.astype(np.float32), scale.astype(np.float32)


def score_files(model: TokenModel, images: Sequence[TrainingImage], lpips: Lpips | None) -> dict[str, float]:
    """PSNR in dB over all pixels of decoded pictures together, and mean bytes of their files: what `encode` and `decode` do; mean
    LPIPS, where there is one, of pictures padded to whole cells."""
    squares = samples = size = 0
    distances = []
    for image in images:
        indices = tokens.encode(image.pixels, model)
        decoded = tokens.decode(indices, model, image.pixels.shape)
        squares += int(np.square(np.subtract(decoded, image.pixels, dtype=np.int64)).sum())
        samples += image.pixels.size
        size += len(tokens.write(image.pixels.shape, indices, model, zstd_blocks.LEVELS))
        if lpips is not None:
            distances.append(lpips.between(*(whole_cells(p, model.side, p.shape[2]) for p in (image.pixels, decoded))))
    psnr_db = 10 * float(np.log10(255**2 * samples / max(squares, 1)))
    found = {"held_out_psnr_db": psnr_db, "held_out_bytes": size / len(images)}
    return found | ({"held_out_distance": float(np.mean(distances))} if distances else {})


def sheet(model: TokenModel, images: Sequence[TrainingImage]) -> UInt8:
    """Middles of pictures, of one size, below each other, each as the original and decoded: uint8 [H, 2 W, 3]."""
    side = min(_SHOWN_SIDE, *(length for image in images for length in image.pixels.shape[:2]))
    rows = []
    for image in images:
        top, left = ((length - side) // 2 for length in image.pixels.shape[:2])
        pixels = np.broadcast_to(image.pixels[top : top + side, left : left + side], (side, side, model.components))
        decoded = tokens.decode(tokens.encode(pixels, model), model, pixels.shape)
        rows.append(np.broadcast_to(np.concatenate([pixels, decoded], axis=1), (side, 2 * side, 3)))
    return np.concatenate(rows)

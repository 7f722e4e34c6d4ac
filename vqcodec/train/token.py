"""`--kind token`: an autoencoder of cells around one codebook (neural/token.py), trained on pictures.

Order: load and hold out -> mean and deviation of coefficients -> fit encoder, codebook and decoder -> check on real files -> write.
A trained decoder that continues alone against a discriminator makes a VQGAN of the model, whose indices stay the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

import numpy as np

from vqcodec.arrays import UInt8
from vqcodec.codec import tokens
from vqcodec.errors import InputError, ModelError
from vqcodec.format import zstd_blocks
from vqcodec.neural.perceptual import Lpips
from vqcodec.neural.token import Scaling, TokenSettings, fit_tokens
from vqcodec.train.data import TrainingImage
from vqcodec.train.held_out import CHECKING
from vqcodec.train.options import NO_TOKEN_OPTIONS, TokenOptions, command_options
from vqcodec.train.result import Trained
from vqcodec.train.selection import pick
from vqcodec.train.training_run import TrainingRun
from vqcodec.transform.color import OPPONENT
from vqcodec.weights import kinds, registry
from vqcodec.weights.folder import Tensors
from vqcodec.weights.token import TokenModel

_STAGES: Final = ("the token model", "a check on held-out pictures")
_MEASURED_PIXELS: Final = 4_000_000
"""Pixels of the pictures that give the coefficients' means and deviations."""
_HELD_OUT_PIXELS: Final = 500_000
_CONTINUED: Final = 0.5
"""Factor on the peak learning rate when a model continues."""
_LPIPS_SIDE: Final = 32
"""Least side of a picture for LPIPS, pixels."""
_SHOWN, _SHOWN_SIDE = 6, 192
"""Held-out pictures of a sheet, and side of their middles in pixels."""
_UNIT_TOLERANCE: Final = 0.01
"""Largest deviation of the length of a unit codeword that is stored as float16."""
_LEAST_SCALE: Final = 0.5
"""Lower bound of a coefficient's deviation, grey levels, so that nearly constant coefficients are not blown up."""


def train_token(
    run: TrainingRun,
    *,
    init: str | Path | None = None,
    parts: Sequence[str] = ("encoder", "decoder"),
    perceptual: Path | None = None,
    options: TokenOptions = NO_TOKEN_OPTIONS,
) -> Trained:
    """Train a token model, or continue the token model `init`, and write its folder.

    The model is for grey pictures if all pictures are grey, else for colour. Without "encoder" among `parts`, encoder and codebook
    of `init` stay as they are. `perceptual` is the folder of the LPIPS weights; without them, gradient statistics are the
    perceptual distance. Raises InputError, ModelError, OutputError, MissingExtraError.
    """
    start = None if init is None else registry.find_token(init)
    lpips = None if perceptual is None else Lpips(perceptual)
    corpus = run.begin()
    settings = replace(options.applied(run.scheduled(TokenSettings, corpus, start)), frozen="encoder" not in parts)
    images = corpus.train + corpus.held_out
    components = max(image.pixels.shape[2] for image in images)
    if start is not None:
        _check_start(start, components, run.folder)
        settings, components = continued(settings, start), start.components
    if lpips is not None:
        check_sides(images, settings.cell)
    run.tell_plan(corpus, kinds.TOKEN.name, start, _STAGES)
    run.tell("measuring coefficients", 0, 1)
    pictures = [whole_cells(image.pixels, settings.cell, components) for image in corpus.train]
    scaling = _measure(corpus.train, settings, components) if start is None else Scaling(start.mean, start.scale)
    held_out = pick(corpus.held_out or corpus.train, _HELD_OUT_PIXELS, np.random.default_rng(settings.seed))
    fixed = {"color": OPPONENT, "token.mean": scaling.mean, "token.scale": scaling.scale}

    def score(found: Tensors) -> dict[str, float]:
        return score_files(TokenModel("in training", found | fixed), held_out, lpips)

    def show(number: int, found: Tensors) -> None:
        shown = sheet(TokenModel("in training", found | fixed), held_out[:_SHOWN])
        run.training_log.picture("original, decoded", number, shown)

    settings = run.timed(settings, run.watch)
    found = fit_tokens(
        pictures,
        scaling,
        settings,
        run.loop_options("token", "training the token model", kept=("perplexity", "used")),
        score=score,
        start=None if start is None else start.tensors,
        perceptual=lpips,
        show=show,
    )
    made = TokenModel(run.output.name, found | fixed)
    made.check()
    run.tell(CHECKING, 0, 1)
    facts = {
        **({} if start is None else {"init_id": start.id}),
        **({} if lpips is None else {"distance": "LPIPS 0.1, SqueezeNet 1.1"}),
        **{name: round(value, 4) for name, value in score(found).items()},
        "parameters": sum(array.size for array in found.values()),
        "settings": asdict(settings),
    }
    own = {"init": init, "parts": "decoder" if settings.frozen else None, "perceptual": perceptual}
    summary = run.summary(made, kinds.TOKEN.name, own | command_options(options), facts, corpus)
    return run.finish(made, summary)


def _check_start(start: TokenModel, components: int, folder: Path) -> None:
    """Raise ModelError or InputError unless `start` can continue on pictures of up to `components` components."""
    if (start.color != OPPONENT).any():
        raise ModelError(f"{start.name}: its colour matrix differs from the one that token models are trained with")
    if components > start.components:
        raise InputError(f"token model {start.name} is for grey pictures, and {folder} has some in colour")


def _measure(images: list[TrainingImage], settings: TokenSettings, components: int) -> Scaling:
    """Mean and deviation of the coefficients of a random selection of images."""
    measured = pick(images, _MEASURED_PIXELS, np.random.default_rng(settings.seed))
    return statistics([whole_cells(image.pixels, settings.cell, components) for image in measured], settings.cell)


def continued(settings: TokenSettings, start: TokenModel) -> TokenSettings:
    """The settings with the sizes of the model that continues, and a lower learning rate."""
    lengths = np.linalg.norm(start.codebook.astype(np.float32), axis=1)
    return replace(
        settings,
        rate=settings.rate * _CONTINUED,
        cell=start.side,
        codewords=len(start.codebook),
        dim=start.codebook.shape[1],
        cosine=bool((np.abs(lengths - 1) < _UNIT_TOLERANCE).all()),
        width=len(start.tensors["encoder.head"]),
        blocks=len(start.tensors["encoder.expand"]),
    )


def check_sides(images: Sequence[TrainingImage], cell: int) -> None:
    """Raise InputError unless all images, padded to whole cells, are large enough for LPIPS."""
    for image in images:
        height, width = image.pixels.shape[:2]
        if min(-(-height // cell), -(-width // cell)) * cell < _LPIPS_SIDE:
            raise InputError(f"{image.name}: {width} x {height} pixels; LPIPS wants {_LPIPS_SIDE} a side (leave out --perceptual)")


def whole_cells(pixels: UInt8, side: int, components: int) -> UInt8:
    """Pixels uint8 [H, W, 1 or 3] padded to whole cells by repeating the edges, and grey pictures repeated to `components`."""
    down, right = (-length % side for length in pixels.shape[:2])
    padded = np.pad(pixels, ((0, down), (0, right), (0, 0)), mode="edge")
    return np.broadcast_to(padded, (*padded.shape[:2], components))


def statistics(pictures: Sequence[UInt8], side: int) -> Scaling:
    """Mean and standard deviation of every coefficient of pictures uint8 [H, W, c]."""
    cells = [tokens.forward(picture, side, OPPONENT).reshape(side * side * picture.shape[2], -1) for picture in pictures]
    count = sum(x.shape[1] for x in cells)
    mean = sum(x.sum(axis=1, dtype=np.float64) for x in cells) / count
    square = sum(np.square(x, dtype=np.float64).sum(axis=1) for x in cells) / count
    scale = np.sqrt(np.maximum(square - mean**2, _LEAST_SCALE**2))
    return Scaling(mean.astype(np.float32), scale.astype(np.float32))


def score_files(model: TokenModel, images: Sequence[TrainingImage], lpips: Lpips | None) -> dict[str, float]:
    """PSNR in dB over all pixels of all decoded pictures, and mean size of their files in bytes, as `encode` and `decode` make
    them.

    With `lpips`, also the mean LPIPS of the pictures padded to whole cells.
    """
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
    """A sheet uint8 [H, 2 W, 3]: the middle of each picture, original and decoded, one picture below the other."""
    side = min(_SHOWN_SIDE, *(length for image in images for length in image.pixels.shape[:2]))
    rows = []
    for image in images:
        top, left = ((length - side) // 2 for length in image.pixels.shape[:2])
        pixels = np.broadcast_to(image.pixels[top : top + side, left : left + side], (side, side, model.components))
        decoded = tokens.decode(tokens.encode(pixels, model), model, pixels.shape)
        rows.append(np.broadcast_to(np.concatenate([pixels, decoded], axis=1), (side, 2 * side, 3)))
    return np.concatenate(rows)

"""Pictures that a token prior makes up, whole or in part: masked cells -> tokens, in rounds -> pixels by the token model.

Cells are drawn in random order, and what a round draws, later rounds see: one cell a round where there are few, which is exact for
the distribution that the prior has learnt (Uria, Murray and Larochelle 2014); of more cells, ROUNDS rounds with ever more of them,
by MaskGIT's cosine (Chang et al. 2022, 3.2). With guidance G logits are (1 + G) of those with the label less G of those without one
(Ho and Salimans 2022). All that is random comes from numpy's generator: the same seed on the same machine makes the same picture;
between machines floating point may break a tie.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vqcodec.arrays import Bool, Float32, Int64, Intp, UInt8
from vqcodec.codec import tokens
from vqcodec.nets import transformer
from vqcodec.nets.transformer import Transformer
from vqcodec.runtime import progress
from vqcodec.weights.token import TokenModel
from vqcodec.weights.token_prior import TokenPrior

ROUNDS: Final = 16
_CELLS: Final = 1 << 11
"""Cells of pictures that are drawn at once."""
TEMPERATURES: Final = (0.01, 100.0)
"""Below, the likeliest alone is drawn; above, all tokens alike."""
MAX_GUIDANCE: Final = 100.0
_CANDIDATES: Final = 8
"""Draws of a repaired part, of which one is kept."""
_SWEEPS: Final = 40
"""Over each scale of a membrane."""
_DAMPING: Final = np.float32(0.8)
_FADE: Final = 4.0
"""Pixels over which the correction at a mask's border fades."""


# ------------------------------------------------------------------------------------------------ tokens


def draw(
    network: Transformer,
    grids: Int64,
    labels: Int64,
    rng: np.random.Generator,
    *,
    temperature: float = 1.0,
    guidance: float = 0.0,
) -> Int64:
    """Tokens int64 [B, h, w], as many of them masked in each picture, with these drawn; labels int64 [B]."""
    flat = grids.reshape(len(grids), -1).copy()
    hidden = flat == network.mask
    count = int(hidden[0].sum())
    order = np.where(hidden, rng.random(flat.shape), 2).argsort(axis=1)
    for start, stop in progress.steps(rounds(count)):
        cells = order[:, start:stop]
        scores = _guided(network, flat.reshape(grids.shape), labels, cells, guidance) / np.float32(temperature)
        np.put_along_axis(flat, cells, (scores + rng.gumbel(size=scores.shape)).argmax(axis=2), axis=1)
    return flat.reshape(grids.shape)


def rounds(count: int) -> list[tuple[int, int]]:
    """The cells, from the first to the one behind the last, that each round draws of so many."""
    if count <= ROUNDS:
        return [(number, number + 1) for number in range(count)]
    left = np.floor(count * np.cos(np.pi / 2 * np.arange(1, ROUNDS + 1) / ROUNDS)).astype(int)
    ends = np.maximum(count - left, np.arange(1, ROUNDS + 1))
    return list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True))


def _guided(network: Transformer, grids: Int64, labels: Int64, cells: Intp, guidance: float) -> Float32:
    found = transformer.logits(network, grids, labels, cells)
    if guidance and network.classes:
        found += np.float32(guidance) * (found - transformer.logits(network, grids, np.full_like(labels, network.classes), cells))
    return found


# ------------------------------------------------------------------------------------------------ whole pictures


def generate(prior: TokenPrior, model: TokenModel, labels: Int64, *, temperature: float, guidance: float, seed: int) -> UInt8:
    """A picture for each of the labels int64 [B], of which the number of classes is none: uint8 [B, H, W, 1 or 3]."""
    network, rng = prior.network, np.random.default_rng(seed)
    height, width, components = prior.picture
    h, w = -(-height // model.side), -(-width // model.side)
    pictures = np.empty((len(labels), height, width, components), np.uint8)
    parts = np.array_split(np.arange(len(labels)), min(len(labels), -(-len(labels) * h * w // _CELLS)))
    for part in progress.steps(parts, "drawing"):
        hidden = np.full((len(part), h, w), network.mask)
        grids = draw(network, hidden, labels[part], rng, temperature=temperature, guidance=guidance)
        for number, grid in zip(part, grids, strict=True):
            pictures[number] = tokens.decode(grid.astype(np.uint16), model, (height, width, components))
    return pictures


def sheet(pictures: UInt8, labels: Sequence[str]) -> UInt8:
    """Pictures [B, H, W] or [B, H, W, 3] side by side, uint8 [h H, w W] or [h H, w W, 3]: a row or more for each label, or nearly a
    square of one label. What is left of a row is black."""
    height, width = pictures.shape[1:3]
    groups = [np.flatnonzero(np.array(labels) == label) for label in dict.fromkeys(labels)]
    columns = max(map(len, groups)) if len(groups) > 1 else int(np.ceil(np.sqrt(len(pictures))))
    rows = [group[start : start + columns] for group in groups for start in range(0, len(group), columns)]
    out = np.zeros((len(rows) * height, columns * width, *pictures.shape[3:]), np.uint8)
    for down, row in enumerate(rows):
        for right, number in enumerate(row.tolist()):
            out[down * height : (down + 1) * height, right * width : (right + 1) * width] = pictures[number]
    return out


# ------------------------------------------------------------------------------------------------ parts of pictures


def repair(
    pixels: UInt8,
    mask: Bool,
    prior: TokenPrior,
    model: TokenModel,
    *,
    label: int,
    temperature: float,
    seed: int,
    threads: int = 1,
) -> UInt8:
    """Pixels uint8 [H, W, 1 or 3] with those of the mask [H, W] made up, and all others as they are. `label` is the number of the
    picture's class, or that of classes if it has none. Raises InputError.

    What the mask hides has no part in it. Cells that the mask touches are drawn given the others, a few times, and the draw that
    comes closest to what is known of their pixels is decoded; inside the mask the error that the decode has around it is taken off,
    fading inwards, so that no edge shows (Perez, Gangnet and Blake 2003). Grids larger than the prior's are drawn window by window.
    """
    filled = _rounded(membrane(pixels - np.float32(128), mask) + 128)
    known, rng = tokens.encode(filled, model, threads).astype(np.int64), np.random.default_rng(seed)
    grid = np.where(touched(mask, model.side), prior.network.mask, known)
    masked = int((grid == prior.network.mask).sum())
    with progress.stage("drawing", masked, lambda: masked - int((grid == prior.network.mask).sum())):
        while (left := np.argwhere(grid == prior.network.mask)).size:
            window = _window(left[0].tolist(), prior.network.grid, grid.shape)
            part = tuple(slice(cells.start * model.side, cells.stop * model.side) for cells in window)
            grid[window] = _best(grid[window], filled[part], ~mask[part], prior.network, model, label, temperature, rng)
    decoded = tokens.decode(grid.astype(np.uint16), model, pixels.shape, threads=threads).astype(np.float32)
    mended = decoded + membrane(pixels - decoded, mask, _FADE)
    return np.where(mask[:, :, None], _rounded(mended), pixels)


def _window(cell: Sequence[int], most: tuple[int, int], grid: tuple[int, ...]) -> tuple[slice, slice]:
    """Of at most so many rows and columns of cells, around a cell of a grid."""
    starts = (max(0, min(place - size // 2, length - size)) for place, size, length in zip(cell, most, grid, strict=True))
    rows, columns = (slice(start, min(start + size, length)) for start, size, length in zip(starts, most, grid, strict=True))
    return rows, columns


def _best(
    grid: Int64,
    pixels: UInt8,
    known: Bool,
    network: Transformer,
    model: TokenModel,
    label: int,
    temperature: float,
    rng: np.random.Generator,
) -> Int64:
    """Tokens [h, w] with the masked ones drawn, _CANDIDATES times; those that come closest to the known pixels of their cells."""
    labels = np.full(_CANDIDATES, label)
    drawn = draw(network, np.repeat(grid[None], _CANDIDATES, axis=0), labels, rng, temperature=temperature)
    decoded = [tokens.decode(candidate.astype(np.uint16), model, pixels.shape) for candidate in drawn]
    errors = [np.square(np.subtract(found, pixels, dtype=np.float32)[known]).sum() for found in decoded]
    best: Int64 = drawn[int(np.argmin(errors))]
    return best


def _rounded(values: Float32) -> UInt8:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def touched(mask: Bool, side: int) -> Bool:
    """The cells, [h, w], that have a pixel of the mask [H, W]."""
    down, right = (-length % side for length in mask.shape)
    padded = np.pad(mask, ((0, down), (0, right)))
    found: Bool = padded.reshape(padded.shape[0] // side, side, -1, side).max(axis=(1, 3))
    return found


def membrane(values: Float32, mask: Bool, fade: float = np.inf) -> Float32:
    """Values float32 [H, W, c] with those of the mask [H, W] made smooth: each the mean of the four around it or, where they `fade`
    to nothing over so many pixels, a little less (the screened Poisson equation without a source). Zero if all are masked.

    Solved from coarse to fine, each scale by a few sweeps from the one above: nearly, not exactly.
    """
    if not mask.any():
        return values
    part = tuple(slice(max(0, found[0] - 1), found[-1] + 2) for found in (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)))
    out = values.copy()
    out[part] = _smoothed(values[part], mask[part], fade)
    return out


def _smoothed(values: Float32, mask: Bool, fade: float) -> Float32:
    if mask.all() or not mask.any():
        return np.where(mask[:, :, None], np.float32(0), values)
    height, width = mask.shape
    edges = (0, height % 2), (0, width % 2)
    known = np.pad(~mask, edges).astype(np.float32)[:, :, None]
    counts = _halved(known)
    means: Float32 = (_halved(np.pad(values, (*edges, (0, 0))) * known) / np.maximum(counts, 1)).astype(np.float32, copy=False)
    coarse = _smoothed(means, counts[:, :, 0] == 0, fade / 2)
    inside = mask[:, :, None]
    found = np.where(inside, coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width], values)
    weight = np.float32(1 / (4 + 1 / fade**2))
    for _ in range(_SWEEPS):
        around = np.pad(found, ((1, 1), (1, 1), (0, 0)), mode="edge")
        smooth = weight * (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:])
        found = np.where(inside, found + _DAMPING * (smooth - found), values)
    return found


def _halved(values: Float32) -> Float32:
    """Sums of 2x2 values."""
    height, width, components = values.shape
    return values.reshape(height // 2, 2, width // 2, 2, components).sum(axis=(1, 3))

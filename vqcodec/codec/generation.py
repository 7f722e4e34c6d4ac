"""Generation: a token prior draws masked tokens in rounds, and the token model decodes them to pixels.

Cells are drawn in random order, and each round sees the tokens of earlier rounds. With up to MAX_ROUNDS masked cells, each round
draws one, which samples exactly from the distribution that the prior has learnt (Uria, Murray and Larochelle 2014). With more,
MAX_ROUNDS rounds draw more and more cells each, by MaskGIT's cosine schedule (Chang et al. 2022, 3.2). With guidance G the logits
are (1 + G) * those with the label - G * those without one (Ho and Salimans 2022). All randomness comes from numpy's generator: the
same seed gives the same picture on the same machine. Between machines, floating-point differences may break ties differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int64, Intp, UInt8
from vqcodec.codec import tokens
from vqcodec.nets import transformer
from vqcodec.nets.transformer import Transformer
from vqcodec.runtime import progress
from vqcodec.weights.token import TokenModel
from vqcodec.weights.token_prior import TokenPrior

MAX_ROUNDS: Final = 16
_CELLS_AT_ONCE: Final = 1 << 11
"""Cells of all pictures that are drawn together."""
TEMPERATURES: Final = (0.01, 100.0)
"""Range of temperatures. Below it only the likeliest token would be drawn, above it all tokens about equally often."""
MAX_GUIDANCE: Final = 100.0


def generate(prior: TokenPrior, model: TokenModel, labels: Int64, *, temperature: float, guidance: float, seed: int) -> UInt8:
    """Pictures uint8 [B, H, W, 1 or 3], one for each of the labels int64 [B]. The number of classes stands for no label."""
    network, rng = prior.network, np.random.default_rng(seed)
    height, width, components = prior.picture
    h, w = -(-height // model.side), -(-width // model.side)
    pictures = np.empty((len(labels), height, width, components), np.uint8)
    parts = np.array_split(np.arange(len(labels)), min(len(labels), -(-len(labels) * h * w // _CELLS_AT_ONCE)))
    for part in progress.steps(parts, "drawing"):
        masked = np.full((len(part), h, w), network.mask_token)
        grids = draw_tokens(network, masked, labels[part], rng, temperature=temperature, guidance=guidance)  # int64 [n, h, w]
        for number, grid in zip(part, grids, strict=True):
            pictures[number] = tokens.decode(grid.astype(np.uint16), model, (height, width, components))
    return pictures


def draw_tokens(
    network: Transformer,
    grids: Int64,
    labels: Int64,
    rng: np.random.Generator,
    *,
    temperature: float = 1.0,
    guidance: float = 0.0,
) -> Int64:
    """Tokens int64 [B, h, w] with the masked ones drawn. All grids have equally many masked cells; labels int64 [B]."""
    flat = grids.reshape(len(grids), -1).copy()  # int64 [B, h * w]
    masked = flat == network.mask_token
    count = int(masked[0].sum())
    order = np.where(masked, rng.random(flat.shape), 2).argsort(axis=1)  # masked cells first, in random order
    for start, stop in progress.steps(round_bounds(count)):
        cells = order[:, start:stop]
        scores = _guided_logits(network, flat.reshape(grids.shape), labels, cells, guidance) / np.float32(temperature)
        np.put_along_axis(flat, cells, (scores + rng.gumbel(size=scores.shape)).argmax(axis=2), axis=1)
    return flat.reshape(grids.shape)


def round_bounds(count: int) -> list[tuple[int, int]]:
    """The (start, stop) of each round in the order of drawing `count` cells."""
    if count <= MAX_ROUNDS:
        return [(number, number + 1) for number in range(count)]
    left = np.floor(count * np.cos(np.pi / 2 * np.arange(1, MAX_ROUNDS + 1) / MAX_ROUNDS)).astype(int)
    ends = np.maximum(count - left, np.arange(1, MAX_ROUNDS + 1))
    return list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True))


def _guided_logits(network: Transformer, grids: Int64, labels: Int64, cells: Intp, guidance: float) -> Float32:
    """Logits float32 [B, n, codewords] of the cells [B, n]."""
    logits = transformer.logits(network, grids, labels, cells)
    if guidance and network.classes:
        unlabelled = transformer.logits(network, grids, np.full_like(labels, network.classes), cells)
        logits += np.float32(guidance) * (logits - unlabelled)
    return logits


def contact_sheet(pictures: UInt8, labels: Sequence[str]) -> UInt8:
    """Pictures [B, H, W] or [B, H, W, 3] in a grid, uint8 [rows * H, columns * W] or [rows * H, columns * W, 3].

    Each label starts a new row. Pictures of a single label form roughly a square. Unused places are black.
    """
    height, width = pictures.shape[1:3]
    groups = [np.flatnonzero(np.array(labels) == label) for label in dict.fromkeys(labels)]
    columns = max(map(len, groups)) if len(groups) > 1 else int(np.ceil(np.sqrt(len(pictures))))
    rows = [group[start : start + columns] for group in groups for start in range(0, len(group), columns)]
    out = np.zeros((len(rows) * height, columns * width, *pictures.shape[3:]), np.uint8)
    for down, row in enumerate(rows):
        for right, number in enumerate(row.tolist()):
            out[down * height : (down + 1) * height, right * width : (right + 1) * width] = pictures[number]
    return out

"""Inpainting (`vqcodec repair`): a token prior draws the masked part of a picture so that it fits its surroundings.

    picture -> masked pixels filled smoothly -> tokens -> tokens of masked cells drawn -> decoded -> blended at the mask's border

Pixels under the mask have no influence on the result, and pixels outside it do not change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from vqcodec.arrays import Bool, Float32, Int64, UInt8
from vqcodec.codec import tokens
from vqcodec.codec.generation import draw_tokens
from vqcodec.nets.transformer import Transformer
from vqcodec.runtime import progress
from vqcodec.weights.token import TokenModel
from vqcodec.weights.token_prior import TokenPrior

_CANDIDATES: Final = 8
"""Draws of each window, of which the best is kept."""
_SWEEPS: Final = 40
"""Jacobi sweeps of the membrane's solver at each resolution."""
_DAMPING: Final = np.float32(0.8)
_FADE_PIXELS: Final = 4.0
"""Distance from the mask's border over which the subtracted decode error fades."""


def inpaint(
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
    """Pixels uint8 [H, W, 1 or 3] with those under the mask bool [H, W] drawn. `label` is the picture's class; the number of
    classes stands for no label. Raises InputError.

    Cells that the mask touches are drawn several times, given the other cells; the draw whose decode comes closest to the known
    pixels of these cells is kept. The decode's error at the mask's border is then subtracted inside the mask, fading inwards, so
    that no edge shows (Perez, Gangnet and Blake 2003). Grids larger than the prior's are drawn window by window.
    """
    filled = _rounded(membrane(pixels - np.float32(128), mask) + 128)
    known, rng = tokens.encode(filled, model, threads).astype(np.int64), np.random.default_rng(seed)
    grid = np.where(touched_cells(mask, model.side), prior.network.mask_token, known)  # int64 [h, w]
    masked = int((grid == prior.network.mask_token).sum())
    with progress.stage("drawing", masked, lambda: masked - int((grid == prior.network.mask_token).sum())):
        while (left := np.argwhere(grid == prior.network.mask_token)).size:
            window = _window(left[0].tolist(), prior.network.grid, grid.shape)
            part = tuple(slice(cells.start * model.side, cells.stop * model.side) for cells in window)
            grid[window] = _best_draw(
                grid[window], filled[part], ~mask[part], prior.network, model, label=label, temperature=temperature, rng=rng
            )
    decoded = tokens.decode(grid.astype(np.uint16), model, pixels.shape, threads=threads).astype(np.float32)
    blended = decoded + membrane(pixels - decoded, mask, _FADE_PIXELS)
    return np.where(mask[:, :, None], _rounded(blended), pixels)


def touched_cells(mask: Bool, side: int) -> Bool:
    """The cells, bool [h, w], of `side` pixels square that contain a pixel of the mask [H, W]."""
    down, right = (-length % side for length in mask.shape)
    padded = np.pad(mask, ((0, down), (0, right)))
    touched: Bool = padded.reshape(padded.shape[0] // side, side, -1, side).max(axis=(1, 3))
    return touched


def _window(cell: Sequence[int], largest: tuple[int, int], grid: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of cells around a cell of a grid, at most `largest` of each."""
    starts = (max(0, min(place - size // 2, length - size)) for place, size, length in zip(cell, largest, grid, strict=True))
    rows, columns = (slice(start, min(start + size, length)) for start, size, length in zip(starts, largest, grid, strict=True))
    return rows, columns


def _best_draw(
    grid: Int64,
    pixels: UInt8,
    known: Bool,
    network: Transformer,
    model: TokenModel,
    *,
    label: int,
    temperature: float,
    rng: np.random.Generator,
) -> Int64:
    """Tokens int64 [h, w] with the masked ones drawn: of _CANDIDATES draws, the one closest to `pixels` [H, W, 1 or 3] where these
    are `known`, bool [H, W]."""
    labels = np.full(_CANDIDATES, label)
    candidates = draw_tokens(network, np.repeat(grid[None], _CANDIDATES, axis=0), labels, rng, temperature=temperature)
    decoded = [tokens.decode(candidate.astype(np.uint16), model, pixels.shape) for candidate in candidates]
    errors = [np.square(np.subtract(picture, pixels, dtype=np.float32)[known]).sum() for picture in decoded]
    best: Int64 = candidates[int(np.argmin(errors))]
    return best


def _rounded(values: Float32) -> UInt8:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


# ------------------------------------------------------------------------------------------------ smooth filling


def membrane(values: Float32, mask: Bool, fade_pixels: float = np.inf) -> Float32:
    """Values float32 [H, W, c] with those under the mask [H, W] interpolated smoothly from its border; 0 if all are masked.

    Each masked value is the mean of its four neighbours (the Laplace equation). With `fade_pixels` it is slightly less, and values
    decay to 0 over this distance (the screened Poisson equation without a source). The solution is approximate: a few sweeps at
    each resolution, from coarse to fine.
    """
    if not mask.any():
        return values
    part = tuple(slice(max(0, used[0] - 1), used[-1] + 2) for used in (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)))
    out = values.copy()
    out[part] = _solve(values[part], mask[part], fade_pixels)
    return out


def _solve(values: Float32, mask: Bool, fade_pixels: float) -> Float32:
    """`membrane` without the crop to the mask's surroundings."""
    if mask.all() or not mask.any():
        return np.where(mask[:, :, None], np.float32(0), values)
    height, width = mask.shape
    edges = (0, height % 2), (0, width % 2)
    known = np.pad(~mask, edges).astype(np.float32)[:, :, None]
    counts = _sums_2x2(known)
    means: Float32 = (_sums_2x2(np.pad(values, (*edges, (0, 0))) * known) / np.maximum(counts, 1)).astype(np.float32, copy=False)
    coarse = _solve(means, counts[:, :, 0] == 0, fade_pixels / 2)
    inside = mask[:, :, None]
    found = np.where(inside, coarse.repeat(2, axis=0).repeat(2, axis=1)[:height, :width], values)
    weight = np.float32(1 / (4 + 1 / fade_pixels**2))
    for _ in range(_SWEEPS):
        around = np.pad(found, ((1, 1), (1, 1), (0, 0)), mode="edge")
        smooth = weight * (around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:])
        found = np.where(inside, found + _DAMPING * (smooth - found), values)
    return found


def _sums_2x2(values: Float32) -> Float32:
    """Sums over squares of 2x2 values."""
    height, width, components = values.shape
    return values.reshape(height // 2, 2, width // 2, 2, components).sum(axis=(1, 3))

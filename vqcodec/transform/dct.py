"""8x8 DCT and colour in one matrix product: pixels of a block <-> coefficients of a cell.

Both directions fold the colour matrix into the transform: a block of [8, 8, 3] pixels is one row vector of 192, a cell is
one of C channels, and one [n, 192] @ [192, C] product is the whole step. The inverse is exact: integer coefficients times
an integer matrix, every partial sum below 2**53, so float64 BLAS gives the same integers in any order of summation.

    basis[u][x]  = round(2**15 * a(u) * cos((2x + 1) u pi / 16)),  a(0) = sqrt(1/8), a(u) = 1/2       (DCT-II, orthonormal)
    matrix[k][y][x][c] = (basis[u][y] * basis[v][x] * S[c][component] + 2**(42 - SHIFT)) >> (43 - SHIFT)       (S of grey: 2**13)
    pixel = clamp((sum_k coefficient[k] * matrix[k] + 128 * 2**(10 + SHIFT) + 2**(D - 1)) >> D, 0, 2**depth - 1),
            D = 18 + SHIFT - depth: a grey level is one of 256, whatever the bits of a sample

Bound: |coefficient| <= 2**22 (1/1024 of a grey level, clamped); for one pixel sum over u,v of |basis[u][y] basis[v][x]|
< 8 * 2**30, times color.COLOR_LIMIT: sum |matrix| < 2**(3 + 2 + SHIFT); so |sum| < 2**(27 + SHIFT) = 2**45.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Float64, Int16, Int32, Int64, Intp, Pixels
from vqcodec.transform.color import COLOR_SHIFT, analysis_matrix
from vqcodec.transform.layouts import Layout

BLOCK: Final = 8
_HALF: Final = BLOCK // 2
BASIS_SHIFT: Final = 15
SHIFT: Final = 18
COEFFICIENT_SHIFT: Final = 10
"""Coefficients are integers in 1/1024 of a grey level."""
COEFFICIENT_MAX: Final = 1 << 22
_CELLS_PER_STRIP = 512
"""Cells per matrix product: a strip of half blocks (384 KB of float64) stays in the cache."""


@lru_cache(maxsize=1)
def basis() -> Int64:
    """The 1-D DCT basis, int64 [8 frequencies, 8 samples], in 1/2**15."""
    u, x = np.arange(BLOCK)[:, None], np.arange(BLOCK)[None, :]
    waves = np.cos((2 * x + 1) * u * np.pi / 16) * np.where(u == 0, np.sqrt(1 / 8), 0.5)
    return np.rint(waves * (1 << BASIS_SHIFT)).astype(np.int64)


def inverse_matrix(layout: Layout, synthesis: Int32) -> Float64:
    """Integer-valued float64 [C, 8 * 8 * components]: channels to centred pixels, in 1/2**SHIFT."""
    down = 2 * BASIS_SHIFT + COLOR_SHIFT - SHIFT
    component, u, v = np.array(layout.positions).T
    blocks = basis()[u][:, :, None] * basis()[v][:, None, :]  # int64 [C, 8, 8], 1/2**30
    columns = synthesis.T[component].astype(np.int64) if layout.components == 3 else np.array([[1 << COLOR_SHIFT]])
    scaled = (blocks[:, :, :, None] * columns[:, None, None, :] + (1 << (down - 1))) >> down  # int64 [C, 8, 8, components]
    return scaled.reshape(layout.channels, -1).astype(np.float64)


def scaled_matrix(layout: Layout, synthesis: Int32, side: int) -> tuple[Float32, Intp]:
    """For pictures of `side` (1, 2 or 4) pixels to a cell: float32 [C', side * side * components], and the C' channels that count.

    The low side x side coefficients of a cell are those of its block made smaller, times 8 / side.
    """
    u, x = np.arange(side)[:, None], np.arange(side)[None, :]
    waves = np.cos((2 * x + 1) * u * np.pi / (2 * side)) * np.where(u == 0, np.sqrt(1 / side), np.sqrt(2 / side))
    rows, channels = [], []
    for channel, (component, v, h) in enumerate(layout.positions):
        if v < side and h < side:
            column = synthesis[:, component] / (1 << COLOR_SHIFT) if layout.components == 3 else np.ones(1)
            rows.append((waves[v][:, None, None] * waves[h][None, :, None] * column).reshape(-1) * (side / BLOCK))
            channels.append(channel)
    return np.array(rows, np.float32), np.array(channels, np.intp)


def forward_matrix(layout: Layout, synthesis: Int32) -> Float32:
    """float32 [8 * 8 * components, C]: centred pixels to channels, in grey levels."""
    waves = basis() / (1 << BASIS_SHIFT)
    analysis = analysis_matrix(synthesis) if layout.components == 3 else np.ones((1, 1))
    component, u, v = np.array(layout.positions).T
    blocks = waves[u][:, :, None] * waves[v][:, None, :]  # float64 [C, 8, 8]
    scaled = blocks[:, :, :, None] * analysis[component][:, None, None, :]  # float64 [C, 8, 8, components]
    return scaled.reshape(layout.channels, -1).astype(np.float32).T


def sample_type(depth: int) -> type[np.uint8] | type[np.uint16]:
    """Of pixels with so many bits a sample."""
    return np.uint8 if depth == 8 else np.uint16


def to_blocks(pixels: Pixels) -> Pixels:
    """Pixels [H, W, components] as blocks [h, 8, w, 8, components]; edges are replicated."""
    height, width, components = pixels.shape
    padded = np.pad(pixels, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="edge")
    return padded.reshape(padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK, components)


def forward(pixels: Pixels, layout: Layout, synthesis: Int32, depth: int = 8, channels: slice = slice(None)) -> Float32:
    """Pixels [H, W, components] to coefficients float32 [C, h * w] in grey levels, those of `channels`; edges are replicated."""
    every = to_blocks(pixels)  # [h, 8, w, 8, components]
    h, _, w, _, components = every.shape
    matrix = np.ascontiguousarray(forward_matrix(layout, synthesis)[:, channels])
    out = np.empty((matrix.shape[1], h * w), np.float32)
    rows = max(1, _CELLS_PER_STRIP // w)
    for top in range(0, h, rows):
        strip = every[top : top + rows]
        blocks = strip.transpose(0, 2, 1, 3, 4).reshape(-1, BLOCK * BLOCK * components)  # [n, 192]
        centred = blocks.astype(np.float32) * np.float32(1 / (1 << (depth - 8))) - np.float32(128)
        out[:, top * w : top * w + len(blocks)] = (centred @ matrix).T
    return out


def inverse(
    latents: Int16,
    step: int,
    grid: tuple[int, int],
    matrix: Float64,
    out: Pixels,
    depth: int = 8,
) -> None:
    """Latents int16 [C, h * w] (1/16 step) to pixels, written into `out` [H, W, components]; exact.

    `step` is in 1/64 of a grey level, so latent * step is in 1/1024. `matrix` is `inverse_matrix(...)`.
    """
    h, w = grid
    height, width, components = out.shape
    levels = 1 << (depth - 8)  # of a sample, to a grey level
    line, n = BLOCK * components, w * max(1, _CELLS_PER_STRIP // w)
    halves = _mirror_parts(matrix * (levels / (1 << (COEFFICIENT_SHIFT + SHIFT))))  # a power of two: all stays exact
    offsets = 128 * levels + 0.5, 0.0
    sums, total = np.empty((2, n, _HALF * line)), np.empty((n, _HALF * line))  # fresh memory for every strip would cost more
    for first in range(0, h * w, n):
        strip = latents[:, first : first + n]
        most, least = strip.max(axis=1), strip.min(axis=1)
        used = (most > 0) | (least < 0)  # high bands are often silent: they add nothing
        clipped = max(int(most.max()), -int(least.min())) * step > COEFFICIENT_MAX
        even, odd = sums[:, : strip.shape[1]]
        for (rows, weights), offset, found in zip(halves, offsets, (even, odd), strict=True):
            here = used[rows]
            coefficients = np.ones((np.count_nonzero(here) + 1, strip.shape[1]))  # exact integers; the ones are for the offset
            np.multiply(strip[rows[here]], np.float64(step), out=coefficients[:-1])
            if clipped:
                np.clip(coefficients, -COEFFICIENT_MAX, COEFFICIENT_MAX, out=coefficients)
            offset_row = np.full((1, _HALF * line), offset)
            np.matmul(coefficients.T, np.concatenate([weights[here], offset_row]), out=found)
        upper, lower = np.add(even, odd, out=total[: len(even)]), np.subtract(even, odd, out=odd)
        lines = np.empty((len(even) // w, BLOCK, w, line), out.dtype)
        for pixels, place in ((upper, lines[:, :_HALF]), (lower, lines[:, : _HALF - 1 : -1])):
            np.clip(pixels, 0, 256 * levels - 1, out=pixels)
            place[:] = pixels.astype(out.dtype).reshape(-1, w, _HALF, line).transpose(0, 2, 1, 3)
        top = first // w * BLOCK
        bottom = min(height, top + len(lines) * BLOCK)
        out[top:bottom] = lines.reshape(-1, w * BLOCK, components)[: bottom - top, :width]


def _mirror_parts(matrix: Float64) -> list[tuple[Intp, Float64]]:
    """What is even, and what is odd, of waves [C, 8 * 8 * components] when a block is turned upside down: the C' channels that have
    it, and their upper halves float64 [C', 4 * 8 * components].

    A wave has only one of the two: rounding, half up, could leave it with both, but no product of two of the basis's numbers and a
    colour's lies halfway (it has at most 19 factors of two, and would need 24). The upper half of a block is the sum of the parts,
    its lower half, from the last line upwards, their difference.
    """
    lines = matrix.reshape(len(matrix), BLOCK, -1)
    upper, lower = lines[:, :_HALF].reshape(len(matrix), -1), lines[:, : _HALF - 1 : -1].reshape(len(matrix), -1)
    found = []
    for part in ((upper + lower) / 2, (upper - lower) / 2):
        rows = np.flatnonzero(part.any(axis=1))
        found.append((rows, part[rows]))
    return found


def inverse_float(coefficients: Float32, columns: int, matrix: Float32, out: Pixels, depth: int = 8) -> None:
    """Coefficients float32 [C, h * columns] in grey levels to pixels, written into `out` [H, W, components].

    Not exact as `inverse` is. `matrix` float32 [C, side * side * components] is `inverse_matrix(...)` over 2**SHIFT, or of
    `scaled_matrix`.
    """
    height, width, components = out.shape
    side = round((matrix.shape[1] / components) ** 0.5)
    levels = 1 << (depth - 8)
    pixels = coefficients.T @ matrix
    pixels *= np.float32(levels)
    pixels += np.float32(128 * levels + 0.5)
    np.clip(pixels, 0, 256 * levels - 1, out=pixels)
    blocks = pixels.astype(out.dtype).reshape(-1, columns, side, side, components)
    out[:] = blocks.transpose(0, 2, 1, 3, 4).reshape(-1, columns * side, components)[:height, :width]

"""8x8 DCT and colour transform in one matrix product: pixels of a block <-> coefficients of a cell.

Both directions fold the colour matrix into the DCT. A block of [8, 8, 3] pixels is a row vector of 192 values, a cell is a
row vector of C channels, and one product [n, 192] @ [192, C] transforms n blocks. The inverse is exact: integer coefficients
times an integer matrix, with every partial sum below 2**53, so float64 BLAS gives the same integers in any order of summation.

    basis[u][x]  = round(2**15 * a(u) * cos((2x + 1) u pi / 16)),  a(0) = sqrt(1/8), a(u) = 1/2       (DCT-II, orthonormal)
    matrix[k][y][x][c] = (basis[u][y] * basis[v][x] * S[c][component] + 2**(42 - SHIFT)) >> (43 - SHIFT)       (S of grey: 2**13)
    pixel = clamp((sum_k coefficient[k] * matrix[k] + 128 * 2**(10 + SHIFT) + 2**(D - 1)) >> D, 0, 2**depth - 1),
            D = 18 + SHIFT - depth; there are 256 grey levels at every sample depth

Bound: |coefficient| <= 2**22 (1/1024 of a grey level, clamped). For one pixel the sum over u, v of |basis[u][y] basis[v][x]|
is < 8 * 2**30; times color.COLOR_LIMIT this gives sum |matrix| < 2**(3 + 2 + SHIFT), so |sum| < 2**(27 + SHIFT) = 2**45.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float32, Float64, Int16, Int32, Int64, Intp, Pixels
from vqcodec.transform.color import COLOR_SHIFT, inverse_color_matrix
from vqcodec.transform.layouts import Layout

BLOCK: Final = 8
_HALF: Final = BLOCK // 2
BASIS_SHIFT: Final = 15
SHIFT: Final = 18
COEFFICIENT_SHIFT: Final = 10
"""Coefficients are integers in 1/1024 of a grey level."""
COEFFICIENT_MAX: Final = 1 << 22
_CELLS_PER_STRIP = 512
"""Cells per matrix product. The half blocks of a strip (384 KB of float64) fit in the cache."""


@lru_cache(maxsize=8)
def basis(side: int) -> Float64:
    """The orthonormal DCT-II basis of `side` samples, float64 [side frequencies, side samples]."""
    u, x = np.arange(side)[:, None], np.arange(side)[None, :]
    amplitude = np.where(u == 0, np.sqrt(1 / side), np.sqrt(2 / side))
    found: Float64 = np.cos((2 * x + 1) * u * np.pi / (2 * side)) * amplitude
    found.flags.writeable = False
    return found


@lru_cache(maxsize=1)
def integer_basis() -> Int64:
    """`basis(8)` as the format rounds it, int64 [8 frequencies, 8 samples] in 1/2**BASIS_SHIFT."""
    return np.rint(basis(BLOCK) * (1 << BASIS_SHIFT)).astype(np.int64)


def forward_matrix(layout: Layout, color_matrix: Int32) -> Float32:
    """float32 [8 * 8 * components, C]: centred pixels to channels, in grey levels. Approximate inverse of `inverse_matrix`."""
    rounded = integer_basis() / (1 << BASIS_SHIFT)
    colors = inverse_color_matrix(color_matrix) if layout.components == 3 else np.ones((1, 1))
    component, u, v = np.array(layout.positions).T
    blocks = rounded[u][:, :, None] * rounded[v][:, None, :]  # float64 [C, 8, 8]
    scaled = blocks[:, :, :, None] * colors[component][:, None, None, :]  # float64 [C, 8, 8, components]
    return scaled.reshape(layout.channels, -1).astype(np.float32).T


def inverse_matrix(layout: Layout, color_matrix: Int32) -> Float64:
    """Integer-valued float64 [C, 8 * 8 * components]: channels to centred pixels, in 1/2**SHIFT."""
    down = 2 * BASIS_SHIFT + COLOR_SHIFT - SHIFT
    component, u, v = np.array(layout.positions).T
    blocks = integer_basis()[u][:, :, None] * integer_basis()[v][:, None, :]  # int64 [C, 8, 8], 1/2**30
    columns = color_matrix.T[component].astype(np.int64) if layout.components == 3 else np.array([[1 << COLOR_SHIFT]])
    scaled = (blocks[:, :, :, None] * columns[:, None, None, :] + (1 << (down - 1))) >> down  # int64 [C, 8, 8, components]
    return scaled.reshape(layout.channels, -1).astype(np.float64)


def scaled_matrix(layout: Layout, color_matrix: Int32, side: int) -> tuple[Float32, Intp]:
    """The inverse matrix for pictures of `side` (1, 2 or 4) pixels per cell, float32 [C', side * side * components], and the
    channels [C'] that it uses.

    The low side x side coefficients of a cell are those of its downscaled block, times 8 / side.
    """
    small = basis(side)
    rows, channels = [], []
    for channel, (component, v, h) in enumerate(layout.positions):
        if v < side and h < side:
            column = color_matrix[:, component] / (1 << COLOR_SHIFT) if layout.components == 3 else np.ones(1)
            rows.append((small[v][:, None, None] * small[h][None, :, None] * column).reshape(-1) * (side / BLOCK))
            channels.append(channel)
    return np.array(rows, np.float32), np.array(channels, np.intp)


def sample_type(depth: int) -> type[np.uint8] | type[np.uint16]:
    """The dtype of pixels with `depth` bits per sample."""
    return np.uint8 if depth == 8 else np.uint16


def to_blocks(pixels: Pixels) -> Pixels:
    """Pixels [H, W, components] as blocks [h, 8, w, 8, components]; the right and bottom edges are repeated."""
    height, width, components = pixels.shape
    padded = np.pad(pixels, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="edge")
    return padded.reshape(padded.shape[0] // BLOCK, BLOCK, padded.shape[1] // BLOCK, BLOCK, components)


def forward(pixels: Pixels, layout: Layout, color_matrix: Int32, depth: int = 8, channels: slice = slice(None)) -> Float32:
    """Pixels [H, W, components] to the coefficients of `channels`, float32 [C, h * w] in grey levels; edges are repeated."""
    every = to_blocks(pixels)  # [h, 8, w, 8, components]
    h, _, w, _, components = every.shape
    matrix = np.ascontiguousarray(forward_matrix(layout, color_matrix)[:, channels])
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
    step_64: int,
    grid: tuple[int, int],
    matrix: Float64,
    out: Pixels,
    depth: int = 8,
) -> None:
    """Latents int16 [C, h * w], in 1/16 step, to pixels in `out` [H, W, components]; bit-exact on every machine.

    `grid` is (h, w) and `matrix` is `inverse_matrix(...)`. latent * step_64 is in 1/1024 of a grey level.
    """
    h, w = grid
    height, width, components = out.shape
    levels = 1 << (depth - 8)  # sample values per grey level
    line, n = BLOCK * components, w * max(1, _CELLS_PER_STRIP // w)
    parts = _mirror_parts(matrix * (levels / (1 << (COEFFICIENT_SHIFT + SHIFT))), 128 * levels + 0.5)  # an exact division
    sums, total = np.empty((2, n, _HALF * line)), np.empty((n, _HALF * line))  # allocated once, which is faster than once per strip
    for first in range(0, h * w, n):
        strip = latents[:, first : first + n]
        even, odd = sums[:, : strip.shape[1]]  # float64 [n, 4 * 8 * components] each
        _sum_parts(strip, step_64, parts, (even, odd))
        upper, lower = np.add(even, odd, out=total[: len(even)]), np.subtract(even, odd, out=odd)
        lines = np.empty((len(even) // w, BLOCK, w, line), out.dtype)
        for pixels, place in ((upper, lines[:, :_HALF]), (lower, lines[:, : _HALF - 1 : -1])):
            np.clip(pixels, 0, 256 * levels - 1, out=pixels)
            place[:] = pixels.astype(out.dtype).reshape(-1, w, _HALF, line).transpose(0, 2, 1, 3)
        top = first // w * BLOCK
        bottom = min(height, top + len(lines) * BLOCK)
        out[top:bottom] = lines.reshape(-1, w * BLOCK, components)[: bottom - top, :width]


class _MirrorPart(NamedTuple):
    """The even or the odd part of basis functions under a vertical flip of the block."""

    channels: Intp
    """The channels [C'] that have this part."""
    weights: Float64
    """The upper halves of their basis functions, float64 [C', 4 * 8 * components]."""
    offset: float
    """The constant to add to the sums of this part."""


def _mirror_parts(matrix: Float64, offset: float) -> tuple[_MirrorPart, _MirrorPart]:
    """The even and the odd part of basis functions [C, 8 * 8 * components]; a constant `offset` of all pixels is even.

    The upper half of a block is the sum of both parts; the lower half, read from the last line upwards, is their difference. Every
    basis function has exactly one of the parts, which halves the work. Rounding (half up) could only break this if a product of
    two basis values and a colour value lay halfway between integers; that takes 24 factors of two, and it has at most 19.
    """
    lines = matrix.reshape(len(matrix), BLOCK, -1)
    upper, lower = lines[:, :_HALF].reshape(len(matrix), -1), lines[:, : _HALF - 1 : -1].reshape(len(matrix), -1)
    even, odd = (upper + lower) / 2, (upper - lower) / 2
    in_even, in_odd = np.flatnonzero(even.any(axis=1)), np.flatnonzero(odd.any(axis=1))
    return _MirrorPart(in_even, even[in_even], offset), _MirrorPart(in_odd, odd[in_odd], 0.0)


def _sum_parts(strip: Int16, step_64: int, parts: Sequence[_MirrorPart], sums: Sequence[Float64]) -> None:
    """Write the sums of each part's weighted basis functions for latents int16 [C, n] into `sums`, [n, 4 * 8 * components] each."""
    most, least = strip.max(axis=1), strip.min(axis=1)
    used = (most > 0) | (least < 0)  # high-frequency channels are often all zero; skip these
    clipped = max(int(most.max()), -int(least.min())) * step_64 > COEFFICIENT_MAX
    for part, found in zip(parts, sums, strict=True):
        here = used[part.channels]
        coefficients = np.ones((np.count_nonzero(here) + 1, strip.shape[1]))  # integers; the last row, ones, adds the offset
        np.multiply(strip[part.channels[here]], np.float64(step_64), out=coefficients[:-1])
        if clipped:
            np.clip(coefficients, -COEFFICIENT_MAX, COEFFICIENT_MAX, out=coefficients)
        offset_row = np.full((1, part.weights.shape[1]), part.offset)
        np.matmul(coefficients.T, np.concatenate([part.weights[here], offset_row]), out=found)


def inverse_float(coefficients: Float32, columns: int, matrix: Float32, out: Pixels, depth: int = 8) -> None:
    """Coefficients float32 [C, h * columns] in grey levels to pixels in `out` [H, W, components]; rounding may differ by machine.

    `matrix` float32 [C, side * side * components] is `inverse_matrix(...)` over 2**SHIFT, or that of `scaled_matrix`.
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

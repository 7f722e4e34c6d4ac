"""Denoising: a network estimates white Gaussian noise in the lapped transform's domain, and the estimate is subtracted.

    noisy = lapped coefficients of (pixels - 128) in the denoiser's colours                         float32 [192, h, w]
    noise = level * network(denoiser_features(noisy, level)), as lapped coefficients                float32 [192, h, w]
    pixel = round(pixel - noise as pixels), 0 to 255

The network is that of convolution.py. Its outputs are in units of the noise level, so pictures of all levels look alike to it.

The level is sigma for a colour picture and sqrt(3) sigma for a grey one. The grey plane of a colour picture has less noise than R,
G and B have; with these levels the grey planes of both are alike. A grey picture has zeros for chroma, and its chroma outputs are
ignored.

Estimates for several offsets of the cell grid are averaged (cycle spinning, Coifman and Donoho 1995). As basis functions of
neighbouring cells overlap, no block edges show. The picture is mirrored at its edges. The arithmetic is floating point: pixels
agree within 1 of 255 between machines.
"""

from __future__ import annotations

from functools import partial
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float32, Int32, Intp, UInt8
from vqcodec.nets import convolution
from vqcodec.nets.convolution import Rows
from vqcodec.nets.synthesis import OUTPUTS
from vqcodec.runtime import progress
from vqcodec.runtime.workers import shared_empty, side_by_side
from vqcodec.transform import dct, lapped
from vqcodec.transform.color import OPPONENT
from vqcodec.transform.layouts import COLOR_8X8, GREY, Layout, shared_channels
from vqcodec.weights.denoiser import Denoiser

SIGMA_CENTRE: Final = 20.0
"""Noise level in grey levels at which the network's noise input is 0."""
LINEAR_DIVISOR: Final = 8.0
"""Divisor of the linear inputs, which are large where the picture is not flat."""


class Offset(NamedTuple):
    """Pixels (0 to 7) by which the grid of cells begins above and left of the picture."""

    down: int
    right: int


OFFSETS: Final = (Offset(0, 0), Offset(4, 4))
"""Offsets of the cell grid over which estimates are averaged."""
MIN_SIGMA: Final = 1.0
"""Noise level in grey levels below which a picture is left unchanged."""
MAX_SIGMA: Final = 100.0
"""Largest noise level, in grey levels."""
_MIN_NOISE_FREQUENCY: Final = 5
"""Vertical and horizontal frequency from which on coefficients count as noise."""
_QUIET_SHARE: Final = 0.05
"""Share of the blocks, the quietest ones, from which the noise is estimated."""
_MIN_BLOCKS: Final = 16
"""Least number of these blocks."""
_MAX_CLIPPED: Final = 0.01
"""Share of a block's samples that may be black or white."""


def denoise(
    pixels: UInt8,
    denoiser: Denoiser,
    sigma: float,
    threads: int = 1,
    offsets: tuple[Offset, ...] = OFFSETS,
) -> UInt8:
    """Pixels uint8 [H, W, 1 or 3] with white noise of standard deviation `sigma` (grey levels) removed."""
    height, width = pixels.shape[:2]
    out = shared_empty(pixels.shape, pixels.dtype)
    estimate = partial(estimate_noise, pixels, denoiser, sigma)

    def strip(rows: Rows) -> None:
        top, bottom = 8 * rows[0], min(height, 8 * rows[1])
        noise = sum(estimate(offset, rows)[: bottom - top] for offset in progress.steps(offsets)) / np.float32(len(offsets))
        out[top:bottom] = np.clip(np.rint(pixels[top:bottom] - noise), 0, 255)

    with progress.stage("denoising"):
        side_by_side(strip, convolution.strips(denoiser.network.halo + 2, (-(-height // 8), -(-width // 8))), threads)
    return out


def estimate_noise(pixels: UInt8, denoiser: Denoiser, sigma: float, offset: Offset, rows: Rows) -> Float32:
    """Estimated noise float32 [8 n, W, c] in n `rows` of 8 pixels of the picture uint8 [H, W, c], in grey levels."""
    height, width, components = pixels.shape
    (down, right), halo = offset, denoiser.network.halo + 1  # basis functions reach into one more cell
    layout = GREY if components == 1 else COLOR_8X8
    first, last = rows[0] - halo, rows[1] + (down > 0) + halo
    first, last = max(first, -1), min(last, -(-(height + down) // 8) + 1)  # cells whose basis functions reach into the picture
    columns = -(-(width + right) // 8) + 2
    y = _mirrored(8 * (first - 1) - down, 8 * (last + 1) - down, height)
    x = _mirrored(-16 - right, 8 * columns - right, width)
    noisy = _to_lapped(pixels[y[:, None], x], layout, denoiser.color)  # float32 [192, last - first, columns]
    level = sigma * (3 / components) ** 0.5
    kept = max(first, rows[0] - 1), min(last, rows[1] + (down > 0) + 1)
    outputs = convolution.run_network(denoiser.network, denoiser_features(noisy, level), (kept[0] - first, kept[1] - first))
    noise = _from_lapped(outputs, layout, denoiser.color) * np.float32(level)  # float32 [8 (kept[1] - kept[0]), 8 columns, c]
    top = 8 * (rows[0] - kept[0]) + down
    return noise[top : top + 8 * (rows[1] - rows[0]), 8 + right : 8 + right + width]


def _mirrored(start: int, stop: int, length: int) -> Intp:
    """Indices of the positions start..stop - 1 in a row of `length` pixels that is mirrored at both ends, edge pixels repeated."""
    index = np.arange(start, stop) % (2 * length)
    return np.minimum(index, 2 * length - 1 - index)


def _to_lapped(pixels: UInt8, layout: Layout, color: Int32) -> Float32:
    """Lapped coefficients float32 [192, h, w] in grey levels of the inner h x w cells of pixels uint8 [8 h + 16, 8 w + 16, c]."""
    h, w = pixels.shape[0] // 8, pixels.shape[1] // 8
    cells = np.zeros((OUTPUTS, h, w), np.float32)
    cells[shared_channels(layout, COLOR_8X8)[1]] = dct.forward(pixels, layout, color).reshape(-1, h, w)
    return np.ascontiguousarray(lapped.to_lapped(cells)[:, 1:-1, 1:-1])


def _from_lapped(coefficients: Float32, layout: Layout, color: Int32) -> Float32:
    """Pixel differences float32 [8 h, 8 w, c] (without the offset 128) of lapped coefficients float32 [192, h, w]."""
    _, h, w = coefficients.shape
    cells = lapped.from_lapped(coefficients)
    matrix = (dct.inverse_matrix(layout, color) / (1 << dct.SHIFT)).astype(np.float32)
    kept = cells[shared_channels(layout, COLOR_8X8)[1]].reshape(len(matrix), -1)
    blocks = (kept.T @ matrix).reshape(h, w, 8, 8, -1)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(8 * h, 8 * w, -1)


def denoiser_features(noisy: Float32, level: float) -> Float32:
    """Network inputs float32 [385, rows, columns] for noisy lapped coefficients [192, rows, columns] and their noise level, both in
    grey levels.

    The coefficients x in units of the level, linear (x / 8) and compressed (sign(x) log(1 + |x|)); then log(level / 20).
    """
    x = noisy * np.float32(1 / level)
    log_level = np.full((1, *x.shape[1:]), np.log(level / SIGMA_CENTRE), np.float32)
    return np.concatenate([x * np.float32(1 / LINEAR_DIVISOR), np.copysign(np.log1p(np.abs(x)), x), log_level])


# ------------------------------------------------------------------------------------------------ estimation of the noise level


def estimate_sigma(pixels: UInt8) -> float:
    """Standard deviation, in grey levels, of the white noise in pixels uint8 [H, W, 1 or 3]; at most MAX_SIGMA, 0 if the picture
    has no whole 8x8 block.

    It is measured in the highest frequencies of the blocks that are quietest in the other frequencies. White noise is independent
    between frequencies, so this choice of blocks does not bias it (compare the finest wavelets of Donoho and Johnstone 1994, and
    the flat patches of Liu, Tanaka and Okutomi 2013). Colour pictures are measured in chroma, where pictures have little energy and
    white noise has as much as in luma. Clipping reduces noise, so blocks with clipped samples are left out if there are others.
    """
    height, width, components = pixels.shape
    h, w = height // 8, width // 8
    if h * w == 0:
        return 0.0
    layout = GREY if components == 1 else COLOR_8X8
    plane, v, u = np.array(layout.positions).T
    measured = plane > 0 if components == 3 else plane == 0
    high = np.minimum(v, u) >= _MIN_NOISE_FREQUENCY
    samples, others = np.flatnonzero(measured & high), np.flatnonzero(measured & ~high & (np.maximum(v, u) > 0))
    statistics = []  # three rows for the blocks of each strip: see below
    for top, bottom in progress.steps(convolution.strips(0, (h, w)), "estimating the noise"):
        part = pixels[8 * top : 8 * bottom, : 8 * w]
        energy = np.square(dct.forward(part, layout, OPPONENT))  # [C, n]
        clipped = ((part == 0) | (part == 255)).reshape(bottom - top, 8, w, -1).mean(axis=(1, 3)).reshape(-1)
        statistics.append(np.stack([components * energy[samples].mean(axis=0), energy[others].mean(axis=0), clipped]))
    variance, rest, clipped = np.concatenate(statistics, axis=1)  # of the noise; energy of other frequencies; share of samples
    unclipped = clipped <= max(_MAX_CLIPPED, np.quantile(clipped, 0.25))
    order = np.argsort(rest[unclipped], kind="stable")
    quiet = order[: max(_MIN_BLOCKS, int(_QUIET_SHARE * len(order)))]
    return float(min(MAX_SIGMA, np.sqrt(variance[unclipped][quiet].mean())))

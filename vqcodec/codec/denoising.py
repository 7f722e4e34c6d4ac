"""White Gaussian noise taken out of a picture, by a network that was trained on noisy ones.

    noisy = lapped coefficients of the pixels - 128, color by color (lapped.to_lapped of dct.py's cells)    float32 [192, h, w]
    noise = level * network(denoiser_features(noisy, level))                                                of the same coefficients
    pixel = round(pixel - noise in pixels), 0 to 255

The network is that of convolution.py: what it finds is in units of the noise, so that pictures of all noise levels look alike
to it.
The level is sigma of a colour picture, whose grey plane has less noise than each of R, G and B, and sqrt(3) sigma of a grey one:
then the grey planes of both are alike.
Basis functions of neighbouring cells overlap, and estimates for several positions of the grid are averaged (cycle spinning,
Coifman and Donoho 1995), so that no block shows its edges. Beyond its edges a picture is mirrored. Floating point: pixels agree
within 1 of 255 between machines. A grey picture has zeros for chroma and ignores the chroma that comes out.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int32, Intp, UInt8
from vqcodec.nets import convolution
from vqcodec.nets.synthesis import OUTPUTS
from vqcodec.runtime import progress
from vqcodec.runtime.workers import shared_empty, side_by_side
from vqcodec.transform import dct, lapped
from vqcodec.transform.color import OPPONENT
from vqcodec.transform.layouts import COLOR_8X8, GREY, Layout, shared_channels
from vqcodec.weights.denoiser import Denoiser

SIGMA_CENTRE: Final = 20.0
LINEAR_DIVISOR: Final = 8.0
"""Of a denoiser's linear inputs, which are large where the picture is not flat."""
PLACES: Final = ((0, 0), (4, 4))
"""Pixels down and across by which the grids are shifted whose estimates are averaged."""
NO_NOISE: Final = 1.0
"""Grey levels of sigma below which a picture is left as it is."""
MAX_SIGMA: Final = 100.0
"""Grey levels of sigma, at most."""
_HIGH: Final = 5
"""The frequency, down and across, from which on noise is looked for."""
_QUIET: Final = 0.05
"""Share of the blocks that tell."""
_LEAST_BLOCKS: Final = 16
_CLIPPED: Final = 0.01
"""Share of a block's samples that may be black or white."""


def denoise(
    pixels: UInt8,
    denoiser: Denoiser,
    sigma: float,
    threads: int = 1,
    places: tuple[tuple[int, int], ...] = PLACES,
) -> UInt8:
    """Pixels uint8 [H, W, 1 or 3] without most of their noise, of standard deviation `sigma` in grey levels."""
    height, width = pixels.shape[:2]
    out = shared_empty(pixels.shape, pixels.dtype)
    estimate = partial(estimate_noise, pixels, denoiser, sigma)

    def strip(rows: tuple[int, int]) -> None:
        top, bottom = 8 * rows[0], min(height, 8 * rows[1])
        noise = sum(estimate(place, rows)[: bottom - top] for place in progress.steps(places)) / np.float32(len(places))
        out[top:bottom] = np.clip(np.rint(pixels[top:bottom] - noise), 0, 255)

    with progress.stage("denoising"):
        side_by_side(strip, convolution.strips(denoiser.network.halo + 2, (-(-height // 8), -(-width // 8))), threads)
    return out


def estimate_noise(pixels: UInt8, denoiser: Denoiser, sigma: float, place: tuple[int, int], rows: tuple[int, int]) -> Float32:
    """The noise float32 [8 n, W, c] in n rows of 8 pixels, from the first to the one behind the last, of pixels uint8 [H, W, c].

    The grid of cells begins `place` (0 to 7) pixels above and left of the picture.
    """
    height, width, components = pixels.shape
    (down, right), halo = place, denoiser.network.halo + 1  # basis functions reach into one more cell
    layout = GREY if components == 1 else COLOR_8X8
    first, last = rows[0] - halo, rows[1] + (down > 0) + halo
    first, last = max(first, -1), min(last, -(-(height + down) // 8) + 1)  # cells whose basis functions reach into the picture
    columns = -(-(width + right) // 8) + 2
    y = _mirrored(8 * (first - 1) - down, 8 * (last + 1) - down, height)
    x = _mirrored(-16 - right, 8 * columns - right, width)
    noisy = _to_lapped(pixels[y[:, None], x], layout, denoiser.color)
    level = sigma * (3 / components) ** 0.5
    kept = max(first, rows[0] - 1), min(last, rows[1] + (down > 0) + 1)
    found = convolution.run_network(denoiser.network, denoiser_features(noisy, level), (kept[0] - first, kept[1] - first))
    noise = _to_pixels(lapped.from_lapped(found), layout, denoiser.color) * np.float32(level)
    top = 8 * (rows[0] - kept[0]) + down
    return noise[top : top + 8 * (rows[1] - rows[0]), 8 + right : 8 + right + width]


def _mirrored(start: int, stop: int, length: int) -> Intp:
    """Where in a row of so many pixels those of start..stop - 1 are, when it goes on mirrored on both sides, edges twice."""
    place = np.arange(start, stop) % (2 * length)
    return np.minimum(place, 2 * length - 1 - place)


def _to_lapped(pixels: UInt8, layout: Layout, color: Int32) -> Float32:
    """Pixels uint8 [8 h + 16, 8 w + 16, c] to lapped coefficients of the inner h x w cells, float32 [192, h, w] in grey levels."""
    h, w = pixels.shape[0] // 8, pixels.shape[1] // 8
    cells = np.zeros((OUTPUTS, h, w), np.float32)
    cells[shared_channels(layout, COLOR_8X8)[1]] = dct.forward(pixels, layout, color).reshape(-1, h, w)
    return np.ascontiguousarray(lapped.to_lapped(cells)[:, 1:-1, 1:-1])


def denoiser_features(noisy: Float32, sigma: float) -> Float32:
    """Inputs float32 [385, rows, columns] of a denoiser, for lapped coefficients [192, rows, columns] of a noisy
    picture, and the noise's standard deviation, both in grey levels: linear, and as the synthesis has them; and log(sigma / 20)."""
    x = noisy * np.float32(1 / sigma)
    level = np.full((1, *x.shape[1:]), np.log(sigma / SIGMA_CENTRE), np.float32)
    return np.concatenate([x * np.float32(1 / LINEAR_DIVISOR), np.copysign(np.log1p(np.abs(x)), x), level])


def _to_pixels(cells: Float32, layout: Layout, color: Int32) -> Float32:
    """Coefficients float32 [192, h, w] to what they are in pixels [8 h, 8 w, c], around 0."""
    _, h, w = cells.shape
    matrix = (dct.inverse_matrix(layout, color) / (1 << dct.SHIFT)).astype(np.float32)
    kept = cells[shared_channels(layout, COLOR_8X8)[1]].reshape(len(matrix), -1)
    blocks = (kept.T @ matrix).reshape(h, w, 8, 8, -1)
    return blocks.transpose(0, 2, 1, 3, 4).reshape(8 * h, 8 * w, -1)


# ------------------------------------------------------------------------------------------------ how much noise there is


def estimate_sigma(pixels: UInt8) -> float:
    """Standard deviation in grey levels of the white noise in pixels uint8 [H, W, 1 or 3], at most MAX_SIGMA; 0 where no block of
    8x8 is whole.

    From the highest frequencies of those blocks that are quietest in the others, which know nothing of them where there is noise
    alone (as wavelets' finest of Donoho and Johnstone 1994, and the flat patches of Liu, Tanaka and Okutomi 2013). In colour from
    chroma, where pictures have little and white noise as much as anywhere. Blocks with clipped samples, whose noise is less, are
    left out where there are others.
    """
    height, width, components = pixels.shape
    h, w = height // 8, width // 8
    if h * w == 0:
        return 0.0
    layout = GREY if components == 1 else COLOR_8X8
    plane, v, u = np.array(layout.positions).T
    seen = plane > 0 if components == 3 else plane == 0
    high = np.minimum(v, u) >= _HIGH
    samples, others = np.flatnonzero(seen & high), np.flatnonzero(seen & ~high & (np.maximum(v, u) > 0))
    facts = []  # of each block: variance of the noise if all there is is noise, energy of the rest, and share of clipped samples
    for top, bottom in progress.steps(convolution.strips(0, (h, w)), "estimating the noise"):
        part = pixels[8 * top : 8 * bottom, : 8 * w]
        x = np.square(dct.forward(part, layout, OPPONENT))
        clipped = ((part == 0) | (part == 255)).reshape(bottom - top, 8, w, -1).mean(axis=(1, 3)).reshape(-1)
        facts.append(np.stack([components * x[samples].mean(axis=0), x[others].mean(axis=0), clipped]))
    variance, rest, clipped = np.concatenate(facts, axis=1)
    whole = clipped <= max(_CLIPPED, np.quantile(clipped, 0.25))
    order = np.argsort(rest[whole], kind="stable")
    quiet = order[: max(_LEAST_BLOCKS, int(_QUIET * len(order)))]
    return float(min(MAX_SIGMA, np.sqrt(variance[whole][quiet].mean())))

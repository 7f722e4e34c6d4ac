"""The synthesis network's inputs and outputs: decoded latents -> coefficients closer to the original.

The synthesis restores what the quantiser lost. From the decoded latents of a cell and its surroundings it predicts, in quantiser
steps, a change of every coefficient, including high chroma that was never coded. It is residual and its last layer starts at zero,
so training starts from the plain decode (He et al. 2016).

    features: sign(x) log(1 + |x|) of the latents x of the 96 channels of COLOR_4X4, in steps, 0 where a channel is not coded;
        and log(step / 32), for steps up to 180 grey levels                                    float32 [97, n]
    coefficient = step * (latent + network(features))                                          192 channels of COLOR_8X8

The network is that of convolution.py. A grey picture has zeros for chroma, and its chroma outputs are ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int16
from vqcodec.nets.convolution import Rows, RunNetwork
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, LATENT_UNIT, Layout, shared_channels

SEEN: Final = COLOR_4X4.channels
"""Latent channels among the inputs."""
FEATURES: Final = SEEN + 1
OUTPUTS: Final = COLOR_8X8.channels
NOISE: Final = 8
"""Noise channels among a refiner's inputs. Without them all cells without coded latents would get the same texture, in a grid."""
GRAIN: Final = 64
"""Luma basis functions for which a refiner outputs a noise level: texture of which only the strength is known."""
REFINER_OUTPUTS: Final = OUTPUTS + GRAIN
INPUTS: Final = {"synthesis": FEATURES, "refiner": OUTPUTS + FEATURES + NOISE, "denoiser": 2 * OUTPUTS + 1}
"""Input channels of the networks that see coefficients, by name."""
MIN_STEP_LEVELS: Final = 4.0
"""Quantiser step in grey levels below which nothing is left to restore, and the plain decode is used."""
MAX_STEP_LEVELS: Final = 180.0
"""Largest step in training, in grey levels. Larger ones occur only with targets, and are passed to the network as this value."""
STEP_CENTRE_LEVELS: Final = 32.0

DecodeRows = Callable[[Rows], Float32]
"""Decodes some rows of cells to coefficients float32 [C', n] in grey levels."""


@cache  # on first use: models without networks never need it
def _compressed() -> Float32:
    """sign(x) log(1 + |x|) in steps of every int16 latent x in 1/16 step, indexed by its bits as uint16; float32 [65536]."""
    x = np.arange(1 << 16).astype(np.uint16).view(np.int16) / LATENT_UNIT
    return np.copysign(np.log1p(np.abs(x)), x).astype(np.float32)


def synthesis_features(latents: Int16, layout: Layout, step_levels: float) -> Float32:
    """Network inputs float32 [97, n] for latents int16 [C, n]."""
    out = np.zeros((FEATURES, latents.shape[1]), np.float32)
    own, inputs = shared_channels(layout, COLOR_4X4)
    out[inputs] = _compressed().take(latents[own].view(np.uint16))
    out[-1] = np.log(min(step_levels, MAX_STEP_LEVELS) / STEP_CENTRE_LEVELS)
    return out


def synthesise(
    run: RunNetwork, halo: int, latents: Int16, step_levels: float, grid: tuple[int, int], layout: Layout, rows: Rows
) -> Float32:
    """Coefficients float32 [C', n] in grey levels of some rows of cells, with the network `run` and its `halo`.

    `latents` int16 [C, h * w] cover the whole grid (h, w). C' is the number of channels of `layout.whole`.
    """
    h, w = grid
    top, bottom = max(0, rows[0] - halo), min(h, rows[1] + halo)
    inputs = synthesis_features(latents[:, top * w : bottom * w], layout, step_levels)  # float32 [97, n with halo]
    outputs = run(inputs.reshape(FEATURES, bottom - top, w), (rows[0] - top, rows[1] - top)).reshape(OUTPUTS, -1)
    coefficients = np.ascontiguousarray(outputs[shared_channels(layout.whole, COLOR_8X8)[1]])  # float32 [C', n]
    coefficients[: layout.channels] += latents[:, rows[0] * w : rows[1] * w] * np.float32(1 / LATENT_UNIT)
    coefficients *= np.float32(step_levels)
    return coefficients


def plain_coefficients(latents: Int16, step_levels: float, grid: tuple[int, int], layout: Layout, rows: Rows) -> Float32:
    """Coefficients float32 [C', n] in grey levels of some rows without a network: the latents, and zeros for channels that are
    not coded."""
    given = latents[:, rows[0] * grid[1] : rows[1] * grid[1]]
    out = np.zeros((layout.whole.channels, given.shape[1]), np.float32)
    out[: len(given)] = given * np.float32(step_levels / LATENT_UNIT)
    return out

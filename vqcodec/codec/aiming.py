"""What an encoder aims at when the decoder has a synthesis: not coefficients, but latents that the synthesis turns into them.

For decoded latents L, wanted coefficients y and the synthesis S with derivative J, the gradient of |S(L) - y|^2 / 2 is
J^T (S(L) - y); without a synthesis it is L - y, and L less it is y. So the aim is L - J^T (S(L) - y), and the search then takes
what is cheap near it: latents of one picture improved by gradient descent through its decoder (Campos et al. 2019), a few steps of
it, with the real quantiser in the loop. Only the encoder does this; files and decoders are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int16, UInt8
from vqcodec.nets import convolution
from vqcodec.nets.convolution import ConvNetwork
from vqcodec.nets.synthesis import FEATURES, OUTPUTS, synthesis_features
from vqcodec.runtime import progress
from vqcodec.transform.layouts import COLOR_4X4, COLOR_8X8, LATENT_UNIT, Layout, shared_channels

_STRIP_CELLS: Final = 1 << 13
"""Half of a large group: the rows around a strip, which are done twice, are many, and what its derivative keeps is 3 kB a cell."""


def aims(network: ConvNetwork, latents: Int16, wanted: Float32, step: float, grid: tuple[int, int], layout: Layout) -> Float32:
    """Aims float32 [C, h * w] for latents int16 [C, h * w] of one tile group; all but latents in steps.

    `wanted` float32 [C', h * w] has the channels of COLOR_8X8, or of the layout for a grey picture; `step` is in grey levels.
    """
    h, w = grid
    full = layout.whole
    places = shared_channels(full, COLOR_8X8)[1]
    unseen = np.setdiff1d(np.arange(OUTPUTS), places)
    own, inputs = shared_channels(layout, COLOR_4X4)
    found = np.empty(latents.shape, np.float32)
    reach = 2 * network.halo
    for top, bottom in progress.steps(convolution.strips(network.halo, grid, _STRIP_CELLS)):
        first, last = max(0, top - reach), min(h, bottom + reach)
        cells = np.s_[:, first * w : last * w]
        here = latents[cells] * np.float32(1 / LATENT_UNIT)
        outputs, pull_back = run_and_pull_back(
            network, synthesis_features(latents[cells], layout, step).reshape(FEATURES, last - first, w)
        )
        error = outputs.reshape(OUTPUTS, -1)  # in place: groups are large
        error[unseen] = 0
        error[places] -= wanted[cells]
        error[places[: len(here)]] += here
        gradient = error[places[: len(here)]]
        slope = 1 / (1 + np.abs(here[own]))  # of sign(x) log(1 + |x|)
        gradient[own] += slope * pull_back(error.reshape(-1, last - first, w)).reshape(FEATURES, -1)[inputs]
        kept = np.s_[:, (top - first) * w : (bottom - first) * w]
        found[:, top * w : bottom * w] = (here - gradient)[kept]
    return found


def run_and_pull_back(network: ConvNetwork, x: Float32) -> tuple[Float32, Callable[[Float32], Float32]]:
    """The outputs of `run_network`, and the transposed derivative: errors [192, rows, columns] to gradients [97, rows, columns]."""
    rows, width = (0, x.shape[1]), x.shape[2] + 2
    hidden = convolution.head(network, x)
    active: list[list[UInt8]] = []  # of every block and chunk, in bits: all that its derivative needs to know
    for number in range(len(network.expand)):
        bits: list[UInt8] = []
        hidden = convolution.block(network, number, hidden, width, rows, partial(_note_active, bits))
        active.append(bits)

    def pull_back(errors: Float32) -> Float32:
        gradient = np.zeros((len(network.head), x.shape[1] + 2, width), np.float32)
        gradient[:, 1:-1, 1:-1] = (network.tail.T @ errors.reshape(len(errors), -1)).reshape(-1, *x.shape[1:])
        flat = gradient.reshape(len(gradient), -1)
        for number in reversed(range(len(network.expand))):
            inner = np.zeros_like(flat)
            for cells, bits in zip(convolution.chunks(rows, width), active[number], strict=True):
                wide = network.project[number].T @ flat[:, cells]
                wide *= np.unpackbits(bits, axis=1, count=wide.shape[1])
                inner[:, cells] = network.expand[number].T @ wide
            convolution.clear_sides(inner, width)
            taps = network.depthwise[number][:, ::-1]
            for cells in convolution.chunks(rows, width):
                flat[:, cells] += convolution.depthwise(inner, taps, width, cells)
        pulled: Float32 = network.head.T @ gradient[:, 1:-1, 1:-1].reshape(len(gradient), -1)
        return pulled.reshape(-1, *x.shape[1:])

    return convolution.tail(network, hidden, width, rows), pull_back


def _note_active(bits: list[UInt8], wide: Float32) -> None:
    bits.append(np.packbits(wide > 0, axis=1))

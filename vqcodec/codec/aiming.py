"""Gradient steps on latents through the synthesis network, so that what the decoder restores comes close to the original.

For latents L, original coefficients y and a synthesis S with derivative J, the gradient of |S(L) - y|^2 / 2 is J^T (S(L) - y). One
unit step from L gives the target L - J^T (S(L) - y). Without a synthesis S(L) = L, and the target is y. The encoder quantises near
these targets and takes the next step from the latents that result: gradient descent through the decoder (Campos et al. 2019) with
the real quantiser in the loop. Only the encoder does this; format and decoder are not affected.
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
"""Cells of a strip: half of a large tile group. The rows around a strip are computed twice and are many; the activations that the
derivative needs take 3 kB a cell."""


def gradient_targets(
    network: ConvNetwork, latents: Int16, original: Float32, step_levels: float, grid: tuple[int, int], layout: Layout
) -> Float32:
    """Targets float32 [C, h * w] in steps, one gradient step from the latents int16 [C, h * w] of a tile group of `grid` (h, w).

    `original` float32 [C', h * w] holds the original's coefficients in steps. C' is the number of channels of `layout.whole`.
    """
    h, w = grid
    channels = shared_channels(layout.whole, COLOR_8X8)[1]  # of the network's outputs, in the order of `original`
    ignored = np.setdiff1d(np.arange(OUTPUTS), channels)
    own, inputs = shared_channels(layout, COLOR_4X4)
    targets = np.empty(latents.shape, np.float32)
    reach = 2 * network.halo  # the network's halo, and once more for its derivative
    for top, bottom in progress.steps(convolution.strips(network.halo, grid, _STRIP_CELLS)):
        first, last = max(0, top - reach), min(h, bottom + reach)
        cells = np.s_[:, first * w : last * w]
        here = latents[cells] * np.float32(1 / LATENT_UNIT)  # float32 [C, n]
        outputs, vjp = run_with_vjp(
            network, synthesis_features(latents[cells], layout, step_levels).reshape(FEATURES, last - first, w)
        )
        error = outputs.reshape(OUTPUTS, -1)  # S(L) - y, computed in place: tile groups are large
        error[ignored] = 0
        error[channels] -= original[cells]
        error[channels[: len(here)]] += here
        gradient = error[channels[: len(here)]]  # float32 [C, n]
        slope = 1 / (1 + np.abs(here[own]))  # derivative of sign(x) log(1 + |x|)
        gradient[own] += slope * vjp(error.reshape(-1, last - first, w)).reshape(FEATURES, -1)[inputs]
        kept = np.s_[:, (top - first) * w : (bottom - first) * w]
        targets[:, top * w : bottom * w] = (here - gradient)[kept]
    return targets


def run_with_vjp(network: ConvNetwork, x: Float32) -> tuple[Float32, Callable[[Float32], Float32]]:
    """The outputs of `convolution.run_network`, and its vector-Jacobian product.

    The latter takes errors [192, rows, columns] of the outputs to gradients [97, rows, columns] of the inputs.
    """
    rows, width = (0, x.shape[1]), x.shape[2] + 2
    hidden = convolution.head(network, x)
    active: list[list[UInt8]] = []  # for each block and chunk: one bit for each rectifier, 1 where it passes its input
    for number in range(len(network.expand)):
        bits: list[UInt8] = []
        hidden = convolution.block(network, number, hidden, width, rows, partial(_note_active, bits))
        active.append(bits)

    def vjp(errors: Float32) -> Float32:
        gradient = np.zeros((x.shape[1] + 2, width, len(network.head)), np.float32)
        gradient[1:-1, 1:-1] = (errors.reshape(len(errors), -1).T @ network.tail).reshape(*x.shape[1:], -1)
        flat = gradient.reshape(-1, len(network.head))
        for number in reversed(range(len(network.expand))):
            inner = np.zeros_like(flat)
            for cells, bits in zip(convolution.chunks(rows, width), active[number], strict=True):
                wide = flat[cells] @ network.project[number]
                wide *= np.unpackbits(bits, axis=1, count=wide.shape[1])
                inner[cells] = wide @ network.expand[number]
            convolution.clear_sides(inner, width)
            taps = network.depthwise[number][:, ::-1]
            for cells in convolution.chunks(rows, width):
                flat[cells] += convolution.depthwise(inner, taps, width, cells)
        inputs: Float32 = network.head.T @ gradient[1:-1, 1:-1].reshape(-1, len(network.head)).T
        return inputs.reshape(-1, *x.shape[1:])

    return convolution.tail(network, hidden, width, rows), vjp


def _note_active(bits: list[UInt8], rectified: Float32) -> None:
    bits.append(np.packbits(rectified > 0, axis=1))

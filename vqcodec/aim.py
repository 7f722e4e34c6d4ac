"""What an encoder aims at when the decoder has a synthesis: not coefficients, but latents that the synthesis turns into them.

For decoded latents L, wanted coefficients y and the synthesis S with derivative J, the gradient of |S(L) - y|^2 / 2 is
J^T (S(L) - y); without a synthesis it is L - y, and L less it is y. So the aim is L - J^T (S(L) - y), and the search then takes
what is cheap near it: latents of one picture improved by gradient descent through its decoder (Campos et al. 2019), a few steps of
it, with the real quantiser in the loop. Only the encoder does this; files and decoders are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vqcodec import networks
from vqcodec.bands import COLOR_4X4, COLOR_8X8, Layout
from vqcodec.networks import UNIT, Floats, Synthesis

_STRIP_CELLS: Final = 1 << 12
"""A quarter of a large group: what a strip's derivative keeps is 4 kB a cell."""


def aims(
    network: Synthesis, latents: NDArray[np.int16], wanted: Floats, step: float, grid: tuple[int, int], layout: Layout
) -> Floats:
    """Aims float32 [C, h * w] for latents int16 [C, h * w] of one tile group; all but latents in steps.

    `wanted` float32 [C', h * w] has the channels of COLOR_8X8, or of the layout for a grey picture; `step` is in grey levels.
    """
    h, w = grid
    full = COLOR_8X8 if layout.components == 3 else layout
    places = networks.shared_channels(full, COLOR_8X8)[1]
    own, inputs = networks.shared_channels(layout, COLOR_4X4)
    found = np.empty(latents.shape, np.float32)
    reach = 2 * network.halo
    for top, bottom in networks.strips(network.halo, grid, _STRIP_CELLS):
        first, last = max(0, top - reach), min(h, bottom + reach)
        cells = np.s_[:, first * w : last * w]
        here = latents[cells] * np.float32(1 / UNIT)
        correction, pull_back = correct_and_pull_back(
            network, networks.features(latents[cells], layout, step).reshape(networks.FEATURES, last - first, w)
        )
        error = np.zeros((networks.OUTPUTS, here.shape[1]), np.float32)
        error[places] = correction.reshape(networks.OUTPUTS, -1)[places] - wanted[cells]
        error[places[: len(here)]] += here
        gradient = error[places[: len(here)]]
        slope = 1 / (1 + np.abs(here[own]))  # of sign(x) log(1 + |x|)
        gradient[own] += slope * pull_back(error.reshape(-1, last - first, w)).reshape(networks.FEATURES, -1)[inputs]
        kept = np.s_[:, (top - first) * w : (bottom - first) * w]
        found[:, top * w : bottom * w] = (here - gradient)[kept]
    return found


def correct_and_pull_back(network: Synthesis, x: Floats) -> tuple[Floats, Callable[[Floats], Floats]]:
    """As `networks.correct`, and the derivative's transpose: from errors [192, rows, columns] to gradients [97, rows, columns]."""
    _, rows, columns = x.shape
    hidden = network.head @ x.reshape(len(x), -1)
    hidden += network.head_bias[:, None]
    active = []
    for block in range(len(network.expand)):
        mixed = _depthwise(hidden, network.depthwise[block], rows, columns)  # then in place: groups are large
        mixed += network.depthwise_bias[block][:, None]
        wide = network.expand[block] @ mixed
        del mixed
        wide += network.expand_bias[block][:, None]
        active.append(wide > 0)
        wide.clip(*networks.POSITIVE, out=wide)
        hidden += network.project[block] @ wide
        del wide
        hidden += network.project_bias[block][:, None]
    correction = network.tail @ hidden
    del hidden
    correction += network.tail_bias[:, None]
    correction = correction.reshape(-1, rows, columns)

    def pull_back(errors: Floats) -> Floats:
        gradient = network.tail.T @ errors.reshape(len(errors), -1)
        for block in reversed(range(len(network.expand))):
            wide = network.project[block].T @ gradient
            wide *= active[block]
            inner = network.expand[block].T @ wide
            del wide
            gradient += _depthwise(inner, network.depthwise[block][:, ::-1], rows, columns)
        pulled: Floats = (network.head.T @ gradient).reshape(-1, rows, columns)
        return pulled

    return correction, pull_back


def _depthwise(x: Floats, taps: Floats, rows: int, columns: int) -> Floats:
    """A 3x3 convolution of every channel by itself, zeros outside: x [W, rows * columns], taps [W, 9]."""
    padded = np.pad(x.reshape(-1, rows, columns), ((0, 0), (1, 1), (1, 1)))
    out = np.zeros((len(x), rows, columns), np.float32)
    for tap in range(9):
        out += taps[:, tap, None, None] * padded[:, tap // 3 : tap // 3 + rows, tap % 3 : tap % 3 + columns]
    return out.reshape(len(x), -1)

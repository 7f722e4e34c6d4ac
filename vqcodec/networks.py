"""Numpy inference of a model's networks on the grid of cells: a 3x3 convolution is nine matrix products.

The *synthesis* restores what the quantiser lost: from the decoded latents of a cell and its surroundings it predicts, in
units of the step, what to add to every coefficient, high chroma that was never coded included. It is residual and its last
layer starts at zero, so an untrained one changes nothing (He et al. 2016; DESIGN: start from the classical solution).

    features = sign(x) log(1 + |x|) of the 96 channels of COLOR_4X4, x in steps, and log(step / 32)     float32 [97, n]
    hidden = head @ features;   n times: hidden += second * relu(first * hidden)   (* is a 3x3 convolution, zeros outside)
    coefficient = step * (x + tail @ hidden)                                       192 channels of COLOR_8X8

Floating point, unlike all that parses a file: pixels agree within 1 of 255 between machines. A grey picture has zeros for
chroma and ignores the chroma that comes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec.bands import COLOR_4X4, COLOR_8X8, Layout

Floats = NDArray[np.float32]
UNIT: Final = 16
"""Latents are in 1/16 step."""
FEATURES: Final = COLOR_4X4.channels + 1
OUTPUTS: Final = COLOR_8X8.channels
MIN_STEP: Final = 4.0
"""Grey levels below which nothing is left to restore: the plain decode is used."""
_STEP_CENTRE: Final = 32.0
_STRIP_CELLS: Final = 1 << 14
"""Cells of a strip: its activations stay near the cache and memory does not grow with the picture."""


@dataclass(frozen=True, eq=False)
class Synthesis:
    """Weights: head [W, 97] and its bias [W], first and second [blocks, W, 9 W] (tap by tap) and their biases, tail [192, W]."""

    head: Floats
    head_bias: Floats
    first: Floats
    first_bias: Floats
    second: Floats
    second_bias: Floats
    tail: Floats
    tail_bias: Floats

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> Synthesis:
        """From a model's tensors `synthesis.*`, float16. Raises KeyError, ValueError."""
        found = cls(*(tensors[f"synthesis.{name}"].astype(np.float32) for name in cls.__dataclass_fields__))
        width = len(found.head)
        blocks = len(found.first)
        shapes = [(width, FEATURES), (width,)] + [(blocks, width, 9 * width), (blocks, width)] * 2 + [(OUTPUTS, width), (OUTPUTS,)]
        for name, shape in zip(cls.__dataclass_fields__, shapes, strict=True):
            weights = getattr(found, name)
            if weights.shape != shape or not np.isfinite(weights).all():
                raise ValueError(f"synthesis.{name} is wrong")
        return found

    @property
    def halo(self) -> int:
        """Cells around a cell that it depends on."""
        return 2 * len(self.first)

    @property
    def macs_per_pixel(self) -> float:
        weights = self.head.size + self.first.size + self.second.size + self.tail.size
        return weights / 64


def features(latents: NDArray[np.int16], layout: Layout, step: float) -> Floats:
    """Latents int16 [C, n] to inputs float32 [97, n]; `step` in grey levels."""
    out = np.zeros((FEATURES, latents.shape[1]), np.float32)
    own, inputs = shared_channels(layout, COLOR_4X4)
    used = latents[own] * np.float32(1 / UNIT)
    out[inputs] = np.copysign(np.log1p(np.abs(used)), used)
    out[-1] = np.log(step / _STEP_CENTRE)
    return out


def shared_channels(layout: Layout, other: Layout) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The channels that two layouts share: their numbers in `layout`, and those in `other`."""
    place = {position: channel for channel, position in enumerate(other.positions)}
    pairs = [(channel, place[position]) for channel, position in enumerate(layout.positions) if position in place]
    own, others = np.array(pairs, np.intp).T
    return own, others


def _convolve(x: Floats, weights: Floats, bias: Floats, width: int, pad: NDArray[np.bool_]) -> Floats:
    """A 3x3 convolution of padded rows: x [W, n], rows of `width` cells; where `pad` is set the result is 0."""
    channels, n = x.shape
    out = np.empty((len(weights), n), np.float32)
    out[:] = bias[:, None]
    inner = slice(width + 1, n - width - 1)
    for tap in range(9):
        shift = (tap // 3 - 1) * width + tap % 3 - 1
        source = x[:, inner.start + shift : inner.stop + shift]
        out[:, inner] += weights[:, tap * channels : (tap + 1) * channels] @ source
    out[:, pad] = 0
    return out


def _strip(network: Synthesis, x: Floats, rows: int, columns: int) -> Floats:
    """Inputs [97, rows, columns] to corrections [192, rows, columns]; the outside is zeros."""
    padded = np.zeros((len(network.head), rows + 2, columns + 2), np.float32)
    padded[:, 1:-1, 1:-1] = (network.head @ x.reshape(len(x), -1) + network.head_bias[:, None]).reshape(-1, rows, columns)
    pad = np.ones((rows + 2, columns + 2), np.bool_)
    pad[1:-1, 1:-1] = False
    flat, outside = padded.reshape(len(network.head), -1), pad.reshape(-1)
    for block in range(len(network.first)):
        inner = _convolve(flat, network.first[block], network.first_bias[block], columns + 2, outside)
        np.maximum(inner, 0, out=inner)
        flat += _convolve(inner, network.second[block], network.second_bias[block], columns + 2, outside)
    middle = np.ascontiguousarray(padded[:, 1:-1, 1:-1]).reshape(len(network.head), -1)
    out: Floats = (network.tail @ middle + network.tail_bias[:, None]).reshape(-1, rows, columns)
    return out


def strips(network: Synthesis, grid: tuple[int, int]) -> list[tuple[int, int]]:
    """First and last row of every strip in which a picture is synthesised."""
    h, w = grid
    rows = max(2 * network.halo, _STRIP_CELLS // w)
    return [(top, min(h, top + rows)) for top in range(0, h, rows)]


def synthesise(
    network: Synthesis, latents: NDArray[np.int16], step: float, grid: tuple[int, int], layout: Layout, rows: tuple[int, int]
) -> Floats:
    """Coefficients float32 [C', n] in grey levels of some rows of cells, with their surroundings taken into account.

    `latents` int16 [C, h * w] of the whole picture. C' is that of COLOR_8X8, or of the layout for a grey one.
    """
    h, w = grid
    top, bottom = max(0, rows[0] - network.halo), min(h, rows[1] + network.halo)
    window = latents[:, top * w : bottom * w]
    full = COLOR_8X8 if layout.components == 3 else layout
    correction = _strip(network, features(window, layout, step).reshape(FEATURES, bottom - top, w), bottom - top, w)
    kept = correction[:, rows[0] - top : rows[1] - top].reshape(OUTPUTS, -1)
    out = np.ascontiguousarray(kept[shared_channels(full, COLOR_8X8)[1]])
    out[: layout.channels] += latents[:, rows[0] * w : rows[1] * w] * np.float32(1 / UNIT)
    out *= np.float32(step)
    return out

"""Contexts of graphic pixels by a network of a graphic model, in exact integers.

The network sees the grey levels x, integers 0..127, of the decoded pixels at PLACES around a pixel, and tells the pixel's context.
With `unit` of layers.py, clamp(floor(s / 1024), 0, 127) of a sum s:

    u = unit(first x + first_bias)      v = unit(second u + second_bias)      scores = out v + out_bias

The context is the number of the largest score, the first one of equal scores. `PixelContexts.from_tensors` proves that all sums are
exact in float32 in any order of summation.

    pixels.first, .second, .out                   int16 [W, 36], [V, W], [P, V]; P = 1..256
    pixels.first_bias, .second_bias, .out_bias    int32 [W], [V], [P]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32, Intp, UInt8
from vqcodec.entropy.layers import UNIT_SHIFT, Layer, unit
from vqcodec.entropy.linear import FLOAT32_EXACT

REACH: Final = 4
"""Rows above a pixel, and columns to both sides, that the network sees."""
PLACES: Final = (
    *((-up, x) for up in range(REACH, 0, -1) for x in range(-REACH, min(REACH, 2 * up - 1) + 1)),
    *((0, x) for x in range(-REACH, 0)),
)
"""Row and column, relative to a pixel, of those that the network sees; all come before it in the order of x + 2 y."""
MOST_CONTEXTS: Final = 256
LAYERS: Final = ("first", "second", "out")
PREFIX: Final = "pixels."
"""Beginning of the names of a network's tensors."""


@dataclass(frozen=True, eq=False)
class PixelContexts:
    """The network in a model's tensors `pixels.*`; the weights of its first two layers are divided by 2**UNIT_SHIFT."""

    first: Layer
    second: Layer
    out: Layer

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> PixelContexts:
        """The network in a model's tensors. Raises KeyError, ValueError, ModelError."""
        first, second, out = (_layer(tensors, name) for name in LAYERS)
        if not 1 <= len(out.weights) <= MOST_CONTEXTS:
            raise ValueError(f"{PREFIX}out does not have 1 to {MOST_CONTEXTS} outputs")
        first.check(f"{PREFIX}first", (len(first.weights), len(PLACES)), FLOAT32_EXACT)
        second.check(f"{PREFIX}second", (len(second.weights), len(first.weights)), FLOAT32_EXACT)
        out.check(f"{PREFIX}out", (len(out.weights), len(second.weights)), FLOAT32_EXACT)
        return cls(first / (1 << UNIT_SHIFT), second / (1 << UNIT_SHIFT), out)

    @property
    def places(self) -> tuple[tuple[int, int], ...]:
        """PLACES."""
        return PLACES

    @property
    def count(self) -> int:
        """The number of contexts."""
        return len(self.out.weights)

    def of(self, around: Sequence[UInt8]) -> Intp:
        """The contexts [n] of pixels whose grey levels at each of PLACES are given, uint8 [n] each."""
        levels: Float32 = np.array(around, np.float32).T  # [n, 36]
        scores = self.out(unit(self.second(unit(self.first(levels)))))  # [n, P]
        found: Intp = scores.argmax(axis=1)
        return found


def _layer(tensors: Mapping[str, NDArray[Any]], name: str) -> Layer:
    weights, bias = tensors[PREFIX + name], tensors[f"{PREFIX}{name}_bias"]
    if weights.dtype != np.int16 or bias.dtype != np.int32 or weights.ndim != 2:
        raise ValueError(f"{PREFIX}{name} is not int16 of two dimensions with a bias of int32")
    return Layer(weights.astype(np.float32), bias.astype(np.float32))

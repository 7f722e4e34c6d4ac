"""Layers of networks in exact integers: affine maps, and the units between them.

All values are integers held in float32. `Layer.check` proves that no sum leaves the 24 bits in which they are exact in any order of
summation, on any device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Float64
from vqcodec.errors import ModelError

UNIT_SHIFT: Final = 10
"""Sums of the hidden layers are in 1/2**UNIT_SHIFT of a unit."""
UNIT_MAX: Final = 127
"""Units, and all other inputs of layers, are integers of at most UNIT_MAX."""
UNIT_BOUNDS: Final = np.float32(0), np.float32(UNIT_MAX)


@dataclass(frozen=True, eq=False)
class Layer:
    """An affine map: `weights` float32 [out, in] and `bias` float32 [out], integers or integers over a power of two."""

    weights: Float32
    bias: Float32

    def __call__(self, x: Float32) -> Float32:
        """Outputs float32 [n, out] for inputs float32 [n, in]."""
        result: Float32 = x @ self.weights.T
        result += self.bias
        return result

    def __truediv__(self, divisor: int) -> Layer:
        return Layer(self.weights / np.float32(divisor), self.bias / np.float32(divisor))

    def check(self, name: str, shape: tuple[int, int], limit: int) -> None:
        """Raise ModelError unless the shape is right and no output, for inputs of at most UNIT_MAX, reaches `limit`."""
        require(self.weights.shape == shape and self.bias.shape == shape[:1], name, "has a wrong shape")
        require(int(reach_of(self.weights, self.bias).max(initial=0)) < limit, name, "is too large to be exact")


def reach_of(weights: Float32, bias: Float32 | int) -> Float64:
    """Largest magnitude of each output for inputs of at most UNIT_MAX, float64 [out]."""
    weight: Float64 = np.abs(weights.astype(np.float64)).sum(axis=1)
    return weight * UNIT_MAX + np.abs(np.asarray(bias, np.float64))


def require(condition: bool, name: str, message: str) -> None:
    """Raise ModelError about the tensor `name` unless the condition holds."""
    if not condition:
        raise ModelError(f"model: {name} {message}")


def unit(sums: Float32) -> Float32:
    """clamp(floor(sums), 0, UNIT_MAX), in place."""
    return np.floor(sums.clip(*UNIT_BOUNDS, out=sums), out=sums)

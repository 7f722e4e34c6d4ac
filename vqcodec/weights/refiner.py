"""Refiners: networks that sharpen a decoded picture (codec/sharpening.py). Files do not refer to them.

color                int32 [3, 3]      colour matrix (color.py) that it was trained with
refiner.NAME         float16           weights of convolution.ConvNetwork
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from vqcodec.nets.convolution import ConvNetwork
from vqcodec.nets.synthesis import INPUTS, OUTPUTS, REFINER_OUTPUTS
from vqcodec.weights.folder import Weights, checking


@dataclass(frozen=True, eq=False)
class Refiner(Weights):
    """A loaded refiner."""

    noun: ClassVar[str] = "a refiner"

    @cached_property
    def network(self) -> ConvNetwork:
        outputs = OUTPUTS if len(self.tensors["refiner.tail"]) == OUTPUTS else REFINER_OUTPUTS  # older refiners have no grain
        return ConvNetwork.from_tensors(self.tensors, "refiner", inputs=INPUTS["refiner"], outputs=outputs)

    def check(self) -> None:
        """Raise ModelError unless every tensor is present, of the right shape, and finite."""
        with checking("refiner", self.tensors):
            _ = self.network
            if self.color.shape != (3, 3):
                raise ValueError("color is wrong")

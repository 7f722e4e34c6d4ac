"""Refiners: networks that sharpen a decode (codec/sharpening.py). No file names one. Tensors:

color                int32 [3, 3]      colour matrix (color.py) that it was trained in
refiner.NAME         float16           weights of convolution.ConvNetwork
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vqcodec.nets.convolution import ConvNetwork
from vqcodec.nets.synthesis import INPUTS, OUTPUTS, REFINER_OUTPUTS
from vqcodec.weights.folder import Weights, checking, read_weights


@dataclass(frozen=True, eq=False)
class Refiner(Weights):
    """A loaded refiner (sharpening.Sharpener)."""

    @cached_property
    def network(self) -> ConvNetwork:
        outputs = OUTPUTS if len(self.tensors["refiner.tail"]) == OUTPUTS else REFINER_OUTPUTS  # older refiners have no grain
        return ConvNetwork.from_tensors(self.tensors, "refiner", inputs=INPUTS["refiner"], outputs=outputs)

    def check(self) -> None:
        """Raise ModelError unless every tensor is present and of the right shape."""
        with checking("refiner", self.tensors):
            _ = self.network
            if self.color.shape != (3, 3):
                raise ValueError("color is wrong")


def load_refiner(folder: Path) -> Refiner:
    """Load and check the folder of a refiner; raises ModelError."""
    refiner = Refiner(*read_weights(folder))
    refiner.check()
    return refiner

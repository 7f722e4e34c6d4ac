"""Denoisers (codec/denoising.py). Files do not refer to them. A model of another kind may hold this network as well.

color                int32 [3, 3]      colour matrix (color.py) that it was trained with
denoiser.NAME        float16           weights of convolution.ConvNetwork
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np

from vqcodec.nets.convolution import ConvNetwork
from vqcodec.nets.synthesis import INPUTS, OUTPUTS
from vqcodec.weights.folder import TENSORS, Weights, checking


@dataclass(frozen=True, eq=False)
class Denoiser(Weights):
    """A loaded denoiser, perhaps with the tensors of another model."""

    noun: ClassVar[str] = "a denoiser"

    @cached_property
    def network(self) -> ConvNetwork:
        return ConvNetwork.from_tensors(self.tensors, "denoiser", inputs=INPUTS["denoiser"], outputs=OUTPUTS)

    def check(self) -> None:
        """Raise ModelError unless every tensor is present, of the right shape, and finite."""
        with checking("denoiser", self.tensors):
            _ = self.network
            if self.color.shape != (3, 3) or not np.linalg.det(self.color):
                raise ValueError("color is wrong")


def has_denoiser(folder: Path) -> bool:
    """Whether a folder's tensors include a denoiser, by their names alone; False if they cannot be read."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / TENSORS, "numpy") as tensors:
            return "denoiser.head" in tensors.keys()  # noqa: SIM118  # not a mapping
    except (SafetensorError, OSError):
        return False

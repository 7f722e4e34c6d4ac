"""Settings of the fits of an exact model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vqcodec.codec.choices import LAMBDA


@dataclass(frozen=True, kw_only=True)
class ExactSettings:
    """Everything that decides the outcome, besides the corpus and the base model."""

    seed: int = 0
    sweeps: int = 2
    lambda_: float = LAMBDA
    """Squared steps per bit."""
    strength: float = 0.0
    """Pull of every fit towards the base model, in samples; 0 without one."""
    sweep_pixels: int = 40_000_000
    statistics_pixels: int = 80_000_000
    small_files: int = 1200
    """Small crops that the streams are trained on."""
    few_files: int = 200
    """Least number of whole pictures that are counted with a base model: fewer pictures are coded at up to eight steps each."""


DEFAULTS: Final = ExactSettings()
"""Settings of `train` without options."""

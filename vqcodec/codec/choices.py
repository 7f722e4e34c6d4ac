"""Choices of the encoder by model, effort and quantiser step; a decoder does not need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vqcodec.format import zstd_blocks
from vqcodec.options import Tune
from vqcodec.weights.exact import ExactModel

LAMBDA: Final = 0.13
"""Squared steps per bit: at high rate dD/dR of a uniform quantiser is -0.12 step^2."""
_LAMBDA_BEFORE_SYNTHESIS: Final = 0.10
"""Lambda for models with a synthesis: keeps more texture as input of the synthesis and the refiner, at the same PSNR."""
_FINE_DCS_FROM_LEVELS: Final = 24.0
"""Smallest quantiser step, in grey levels, with fine DCs; at finer steps an error of half a step is invisible."""
_MASKING: Final = {"psnr": 0, "ssim": 4}
"""Strength of masking (entropy/masking.py)."""


@dataclass(frozen=True)
class Effort:
    """The encoder's trade of time for bytes."""

    levels: tuple[int, ...] = zstd_blocks.LEVELS
    """Levels of zstd that are tried."""
    maps_ahead: int = 1
    """Further merge maps that are tried after one that did not make the file smaller (streams.pack)."""
    rounds: int = 0
    """Rounds of aiming (aiming.py) for models with a synthesis. Each takes three to four times as long as coding itself."""

    @property
    def plane_levels(self) -> tuple[int, ...]:
        """Levels of zstd that are tried for alpha planes and planes of tokens: the first two."""
        return self.levels[:2]


_FASTEST, _FAST, _THOROUGH = Effort(zstd_blocks.FAST_LEVELS, 0), Effort(zstd_blocks.FAST_LEVELS), Effort()
EFFORTS: Final = (_FASTEST, _FAST, _FAST, *[_THOROUGH] * 3, Effort(rounds=1), Effort(rounds=2), Effort(rounds=4))
"""Efforts 1 to 9. Some are equal, as room for future methods (gains and times: docs/results.md)."""


def effort_of(number: int) -> Effort:
    """The effort 1..9."""
    return EFFORTS[number - 1]


def rounds_of(model: ExactModel, effort: int) -> int:
    """Rounds of aiming at an effort 1..9; 0 if the model has no synthesis to aim for."""
    return 0 if model.synthesis is None else effort_of(effort).rounds


def lambda_of(model: ExactModel) -> float:
    """Lambda of the codebook search in squared steps per bit."""
    return LAMBDA if model.synthesis is None else _LAMBDA_BEFORE_SYNTHESIS


def masking_of(tune: Tune) -> int:
    """Strength of masking for a tune."""
    return _MASKING[tune]


def fine_dcs(components: int, step_levels: float) -> bool:
    """Whether to code DCs finely. Not for grey: small grey pictures would grow by 0.1 %."""
    return components == 3 and step_levels >= _FINE_DCS_FROM_LEVELS

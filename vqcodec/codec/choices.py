"""Choices of the encoder by model, effort and quantiser step; a decoder does not need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vqcodec.arrays import Pixels
from vqcodec.format import zstd_blocks
from vqcodec.options import Tune
from vqcodec.weights.exact import ExactModel

LAMBDA: Final = 0.13
"""Squared steps per bit: at high rate dD/dR of a uniform quantiser is -0.12 step^2."""
_LAMBDA_BEFORE_SYNTHESIS: Final = 0.10
"""Lambda for models with a synthesis: keeps more texture as input of the synthesis and the refiner, at the same PSNR."""
_FINE_DCS_FROM_LEVELS: Final = 24.0
"""Smallest quantiser step, in grey levels, with fine DCs; at finer steps an error of half a step is invisible."""
DEFAULT_TILE: Final = 1024
_GROUPED_ABOVE: Final = 1 << 22
"""Pixels above which a picture has tile groups by default."""
_MASKING: Final = {"psnr": 0, "ssim": 5}
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

    @property
    def residual_levels(self) -> tuple[int, ...]:
        """Level of zstd for residuals of predicted pixels: the last one, which takes few matches for skewed literals."""
        return self.levels[-1:]


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


def tile_of(pixels: Pixels, tile: int | None) -> int | None:
    """The side of tile groups in pixels: `tile` if given, else DEFAULT_TILE for large pictures [H, W, C]; None: one group."""
    return tile or (DEFAULT_TILE if pixels.shape[0] * pixels.shape[1] > _GROUPED_ABOVE else None)


def fine_dcs(components: int, step_levels: float) -> bool:
    """Whether to code DCs finely. Not for grey: small grey pictures would grow by 0.1 %."""
    return components == 3 and step_levels >= _FINE_DCS_FROM_LEVELS

"""Token models: the codebook and the two networks of a VQ-VAE (codec/tokens.py).

C = side * side * components is the number of coefficients of a cell. Cells are 8 or 16 pixels wide and high, grey or colour, so C
is 64, 192, 256 or 768.

    color                int32 [3, 3]      colour matrix (color.py)
    token.words          float16 [K, D]    the codebook, 2 <= K <= 65536
    token.mean           float32 [C]       mean of each coefficient, subtracted before the encoder
    token.scale          float32 [C]       divisor of each coefficient before the encoder
    encoder.NAME         float16           weights of convolution.ConvNetwork with C inputs and D outputs
    decoder.NAME         float16           weights of convolution.ConvNetwork with D inputs and C outputs
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32
from vqcodec.nets.convolution import ConvNetwork
from vqcodec.weights.folder import Weights, checking

MAX_TOKENS: Final = 1 << 16
"""Largest number of codewords: indices are uint16."""


class TokenCell(NamedTuple):
    """The cell of a token model: its side in pixels, and its components (1 or 3)."""

    side: int
    components: int


_CELLS: Final = (TokenCell(8, 1), TokenCell(8, 3), TokenCell(16, 1), TokenCell(16, 3))
TOKEN_CELLS: Final = {cell.side**2 * cell.components: cell for cell in _CELLS}
"""Cells by their number of coefficients."""


@dataclass(frozen=True, eq=False)
class TokenModel(Weights):
    """A loaded token model."""

    noun: ClassVar[str] = "a token model"

    @property
    def codebook(self) -> NDArray[np.float16]:
        """The codebook, float16 [K, D]."""
        return self.tensors["token.words"]

    @property
    def mean(self) -> Float32:
        """Mean of each coefficient, float32 [C] in grey levels."""
        return self.tensors["token.mean"]

    @property
    def scale(self) -> Float32:
        """Divisor of each coefficient, float32 [C] in grey levels."""
        return self.tensors["token.scale"]

    @property
    def channels(self) -> int:
        """Number of coefficients of a cell."""
        return len(self.mean)

    @property
    def side(self) -> int:
        """Width and height of a cell in pixels."""
        return TOKEN_CELLS[self.channels].side

    @property
    def components(self) -> int:
        """1 if the model codes only grey pictures, else 3."""
        return TOKEN_CELLS[self.channels].components

    @property
    def bits(self) -> int:
        """Bits of an index."""
        return (len(self.codebook) - 1).bit_length()

    @cached_property
    def encoder(self) -> ConvNetwork:
        return ConvNetwork.from_tensors(self.tensors, "encoder", inputs=self.channels, outputs=self.codebook.shape[1])

    @cached_property
    def decoder(self) -> ConvNetwork:
        return ConvNetwork.from_tensors(self.tensors, "decoder", inputs=self.codebook.shape[1], outputs=self.channels)

    def check(self) -> None:
        """Raise ModelError unless every tensor is present, of the right shape, and finite."""
        with checking("token model", self.tensors):
            codebook, mean, scale = self.codebook, self.mean, self.scale
            if codebook.ndim != 2 or not 2 <= len(codebook) <= MAX_TOKENS or not np.isfinite(codebook).all():
                raise ValueError("token.words is wrong")
            if mean.ndim != 1 or len(mean) not in TOKEN_CELLS or not np.isfinite(mean).all():
                raise ValueError("token.mean is wrong")
            if scale.shape != mean.shape or not (np.isfinite(scale).all() and (scale > 0).all()):
                raise ValueError("token.scale is wrong")
            if self.color.shape != (3, 3) or not np.linalg.det(self.color):
                raise ValueError("color is wrong")
            _ = self.encoder, self.decoder

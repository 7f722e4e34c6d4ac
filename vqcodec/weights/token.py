"""Token models: the codebook and the two networks of a VQ-VAE (codec/tokens.py has what is done with them).

C is side * side * components, of cells of 8 or 16 pixels a side, grey or in colour: 64, 192, 256 or 768.

    color                int32 [3, 3]      colour matrix (color.py)
    token.words          float16 [K, D]    the codebook, 2 <= K <= 65536
    token.mean           float32 [C]       of the coefficients of cells, and
    token.scale          float32 [C]       what they are divided by before the encoder
    encoder.NAME         float16           weights of convolution.ConvNetwork with C inputs and D outputs
    decoder.NAME         float16           with D inputs and C outputs
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Float32
from vqcodec.nets.convolution import ConvNetwork
from vqcodec.weights.folder import Weights, checking

TOKEN_CELLS: Final = {64: (8, 1), 192: (8, 3), 256: (16, 1), 768: (16, 3)}
"""Pixels a side and components of the cells of a token model, by the number of its coefficients."""


MAX_TOKENS: Final = 1 << 16


@dataclass(frozen=True, eq=False)
class TokenModel(Weights):
    """A loaded token model (tokens.py)."""

    @property
    def codebook(self) -> NDArray[np.float16]:
        """The codebook, float16 [K, D]."""
        return self.tensors["token.words"]

    @property
    def mean(self) -> Float32:
        """Of the coefficients, float32 [C] in grey levels."""
        return self.tensors["token.mean"]

    @property
    def scale(self) -> Float32:
        """Of the coefficients, float32 [C] in grey levels."""
        return self.tensors["token.scale"]

    @property
    def channels(self) -> int:
        """Coefficients of a cell."""
        return len(self.mean)

    @property
    def side(self) -> int:
        """Pixels a side of a cell."""
        return TOKEN_CELLS[self.channels][0]

    @property
    def components(self) -> int:
        """1 for a model of grey pictures alone, else 3."""
        return TOKEN_CELLS[self.channels][1]

    @property
    def bits(self) -> int:
        """Of an index."""
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
            words, mean, scale = self.codebook, self.mean, self.scale
            if words.ndim != 2 or not 2 <= len(words) <= MAX_TOKENS or not np.isfinite(words).all():
                raise ValueError("token.words is wrong")
            if mean.ndim != 1 or len(mean) not in TOKEN_CELLS or not np.isfinite(mean).all():
                raise ValueError("token.mean is wrong")
            if scale.shape != mean.shape or not (np.isfinite(scale).all() and (scale > 0).all()):
                raise ValueError("token.scale is wrong")
            if self.color.shape != (3, 3) or not np.linalg.det(self.color):
                raise ValueError("color is wrong")
            _ = self.encoder, self.decoder

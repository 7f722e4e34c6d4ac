"""Codebooks, and the tables with which a decoder turns symbols into residuals.

A codebook of dimension d > 1 has up to 256 codewords. One of them may be the *escape*: it stands for d values that follow in the
escape codebook, which is scalar. A codebook of dimension 1 is a *scalar codebook* over one fixed alphabet (`ALPHABET`): each
integer up to +-15 has its own symbol and a trained reconstruction; larger ones, up to +-SCALAR_MAX steps, share logarithmic bins
whose low bits follow raw. A codeword's symbol is its rank by falling probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float32, Int16, Int32, Int64, Intp, UInt8
from vqcodec.transform.layouts import LATENT_UNIT

NATURAL_SIZE: Final = 256
"""Scale factor of codewords as the codebook has them, in 1/256."""
SCALAR_MAX: Final = 2047
"""Largest magnitude in steps that a scalar codebook can code."""
NO_CODEWORD: Final = 255
"""Value of `SymbolTable.raw_bits` for a symbol that a codebook does not have."""
_EXACT: Final = 15
"""Largest magnitude with a symbol of its own."""
_PLACES: Final = 256
"""Entries of a SymbolTable per codebook: symbols are bytes."""


class Alphabet(NamedTuple):
    """Letters of integers: `values` int32, their smallest magnitudes, signed; `raw_bits` uint8, numbers of low bits after them."""

    values: Int32
    raw_bits: UInt8


def alphabet(octaves: int) -> Alphabet:
    """The letters of integers below 1 << `octaves` in magnitude (container.py, section 4)."""
    values, raw_bits = [0], [0]
    for magnitude in range(1, _EXACT + 1):
        values += [magnitude, -magnitude]
        raw_bits += [0, 0]
    for octave in range(4, octaves):
        for eighth in range(8):
            first = (8 + eighth) << (octave - 3)
            values += [first, -first]
            raw_bits += [octave - 3] * 2
    return Alphabet(np.array(values, np.int32), np.array(raw_bits, np.uint8))


_SCALAR = alphabet(SCALAR_MAX.bit_length())
ALPHABET, ALPHABET_RAW_BITS = _SCALAR.values.astype(np.int16), _SCALAR.raw_bits
"""Smallest magnitude of each scalar symbol, signed, in steps, int16 [143]; number of raw bits that follow it, uint8 [143]."""


def alphabet_symbols(values: Int64) -> Int64:
    """Letters of integers, int64: indices into `alphabet` (container.py, section 4)."""
    magnitude = np.abs(values)
    octave = np.frexp(np.maximum(magnitude, 1).astype(np.float64))[1].astype(np.int64) - 1
    eighth = (magnitude >> np.maximum(octave - 3, 0)) - 8
    large = 2 * _EXACT + 1 + 16 * (octave - 4) + 2 * eighth
    position = np.where(magnitude > _EXACT, large, 2 * magnitude - 1) + (values < 0)
    return np.where(values == 0, 0, position)


class ScalarValues(NamedTuple):
    """The coding of each integer from -SCALAR_MAX to SCALAR_MAX, in this order, by a scalar codebook.

    `symbols` uint8; `codewords` int32, the reconstructions in 1/16 step; `bits` float32, code lengths with raw bits.
    """

    symbols: UInt8
    codewords: Int32
    bits: Float32


@dataclass(frozen=True, eq=False)
class Codebook:
    """One codebook, codewords by falling probability.

    `codewords` int16 [d, K] in 1/16 step; `bits` float32 [K], static code lengths; `escape`, the rank of the escape, or -1;
    `alphabet` uint8 [K], the index into ALPHABET of each rank (None unless scalar).
    """

    codewords: Int16
    bits: Float32
    escape: int
    alphabet: UInt8 | None

    @property
    def dim(self) -> int:
        return self.codewords.shape[0]

    @property
    def size(self) -> int:
        return self.codewords.shape[1]

    @cached_property
    def raw_bits(self) -> UInt8:
        """Number of raw bits after each symbol, uint8 [K]; scalar codebooks only."""
        return ALPHABET_RAW_BITS[self.alphabet]

    @cached_property
    def rows(self) -> Int32:
        """The codewords as rows, int32 [K, d]."""
        return np.ascontiguousarray(self.codewords.T, dtype=np.int32)

    @cached_property
    def scalar(self) -> ScalarValues:
        """Symbols, reconstructions and code lengths of all integers; scalar codebooks only."""
        values = np.arange(-SCALAR_MAX, SCALAR_MAX + 1)
        ranks = np.empty(len(ALPHABET), np.uint8)
        ranks[self.alphabet] = np.arange(self.size)
        symbols = ranks[alphabet_symbols(values)]
        raw = self.raw_bits[symbols]
        reconstructions = np.where(raw > 0, values * LATENT_UNIT, self.codewords[0][symbols])
        return ScalarValues(symbols, reconstructions.astype(np.int32), self.bits[symbols] + raw)


@dataclass(frozen=True, eq=False)
class SymbolTable:
    """All codebooks of one dimension in one table, so that symbols of several codebooks are looked up at once.

    `first` intp [B] is the entry of each codebook's symbol 0 (meaningless for codebooks of other dimensions). The entries:
    `codewords` int32 [entries, d] in 1/16 step; `raw_bits` uint8, the number of raw bits after the symbol, NO_CODEWORD if the
    codebook does not have it; `bits` float32, code lengths with raw bits.
    """

    first: Intp
    codewords: Int32
    raw_bits: UInt8
    bits: Float32

    @classmethod
    def from_codebooks(cls, codebooks: Sequence[Codebook], dim: int) -> SymbolTable:
        """The table of those codebooks that have dimension `dim`."""
        own = [number for number, codebook in enumerate(codebooks) if codebook.dim == dim]
        first = np.zeros(len(codebooks), np.intp)
        entries = _PLACES * len(own)
        codewords, raw_bits = np.zeros((entries, dim), np.int32), np.full(entries, NO_CODEWORD, np.uint8)
        bits = np.zeros(entries, np.float32)
        for place, number in enumerate(own):
            codebook, start = codebooks[number], _PLACES * place
            here = slice(start, start + codebook.size)
            first[number], codewords[here] = start, codebook.rows
            raw_bits[here] = codebook.raw_bits if dim == 1 else 0
            bits[here] = codebook.bits + raw_bits[here]
        return cls(first, codewords, raw_bits, bits)


def with_low_bits(codewords: Int32, low: Int32) -> Int32:
    """Reconstructions int32 [n] in 1/16 step of scalar codewords with their raw low bits; `codewords` is changed in place."""
    codewords += np.sign(codewords) * (low * LATENT_UNIT)
    return codewords


def scaled_codewords(codewords: Int32, sizes: Int32 | int) -> Int32:
    """Codewords int32 [..., n] scaled by `sizes` in 1/256, int32 [n] or one for all; rounded half up."""
    if isinstance(sizes, int) and sizes == NATURAL_SIZE:
        return codewords
    return (codewords * sizes + NATURAL_SIZE // 2) >> 8

"""Vector quantisation of residuals with the codebook of a class: residuals <-> symbols.

A book of dimension d > 1 has up to 256 codewords, one of which may be the *escape*: it stands for d values that follow in
the escape book. A book of dimension 1 is a *scalar book* over one fixed alphabet (`ALPHABET`): the integers up to +-15 each
have a symbol of their own and a trained reconstruction; larger ones share logarithmic bins whose low bits follow raw, so
there is no ceiling short of LATENT_MAX. The symbol of a codeword is its rank by falling probability.

The search is entropy-constrained (Chou, Lookabaugh, Gray 1989): argmin |x - c|^2 + lambda * bits(c).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

UNIT: Final = 16
"""Codewords and residuals are in 1/16 of a step."""
SCALAR_MAX: Final = 2047
_EXACT: Final = 15
_CHUNK: Final = 2048  # vectors per search product: 2 MB of scores stay in the cache


def _alphabet() -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    values, raw_bits = [0], [0]
    for magnitude in range(1, _EXACT + 1):
        values += [magnitude, -magnitude]
        raw_bits += [0, 0]
    for octave in range(4, 11):
        for eighth in range(8):
            first = (8 + eighth) << (octave - 3)
            values += [first, -first]
            raw_bits += [octave - 3] * 2
    return np.array(values, np.int16), np.array(raw_bits, np.uint8)


ALPHABET, ALPHABET_RAW_BITS = _alphabet()
"""int16 [143] smallest magnitude of each scalar symbol (signed, in steps); uint8 [143] raw bits that follow it."""


def alphabet_symbols(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Integers in +-SCALAR_MAX to positions in ALPHABET."""
    magnitude = np.abs(values)
    octave = np.frexp(np.maximum(magnitude, 1).astype(np.float64))[1].astype(np.int64) - 1
    eighth = (magnitude >> np.maximum(octave - 3, 0)) - 8
    large = 2 * _EXACT + 1 + 16 * (octave - 4) + 2 * eighth
    position = np.where(magnitude > _EXACT, large, 2 * magnitude - 1) + (values < 0)
    return np.where(values == 0, 0, position)


@dataclass(frozen=True)
class Book:
    """One codebook, codewords by falling probability.

    `words` int16 [d, K] in 1/16 step; `bits` float32 [K] static code lengths; `escape` the rank of the escape, or -1;
    `alphabet` uint8 [K], of scalar books, the place in ALPHABET of every rank.
    """

    words: NDArray[np.int16]
    bits: NDArray[np.float32]
    escape: int
    alphabet: NDArray[np.uint8] | None

    @property
    def dim(self) -> int:
        return self.words.shape[0]

    @property
    def size(self) -> int:
        return self.words.shape[1]

    @cached_property
    def raw_bits(self) -> NDArray[np.uint8]:
        """Raw bits behind each symbol, uint8 [K]; scalar books only."""
        return ALPHABET_RAW_BITS[self.alphabet]

    @cached_property
    def scalar(self) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.float32]]:
        """For every integer in +-SCALAR_MAX (scalar books only): symbol, reconstruction in 1/16 step, bits with raw bits."""
        values = np.arange(-SCALAR_MAX, SCALAR_MAX + 1)
        ranks = np.empty(len(ALPHABET), np.uint8)
        ranks[self.alphabet] = np.arange(self.size)
        symbols = ranks[alphabet_symbols(values)]
        raw = self.raw_bits[symbols]
        reconstruction = np.where(raw > 0, values * UNIT, self.words[0][symbols])
        return symbols, reconstruction.astype(np.int32), self.bits[symbols] + raw

    @cached_property
    def search(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """-2 C float32 [d, K] and |C|^2 float32 [K] in squared steps; the escape is out of reach."""
        words = self.words.astype(np.float32) * np.float32(1 / UNIT)
        energy = (words * words).sum(axis=0)
        if self.escape >= 0:
            energy[self.escape] = np.inf
            words[:, self.escape] = 0
        return np.float32(-2) * words, energy.astype(np.float32)


def quantize_scalar(
    book: Book, x: NDArray[np.float32], rate: float
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]:
    """Residuals float32 [n] in steps to (symbols uint8, raw low bits int32, reconstructions int32 in 1/16 step).

    `rate` is lambda in squared steps per bit. Candidates: the nearest integer, the next one towards zero, and zero.
    """
    symbols, reconstructions, bits = book.scalar
    nearest = np.clip(np.rint(x), -SCALAR_MAX, SCALAR_MAX).astype(np.int32)
    best = nearest + SCALAR_MAX
    best_cost = (x - reconstructions[best] * np.float32(1 / UNIT)) ** 2 + rate * bits[best]
    for candidate in (best - np.sign(nearest), np.full_like(best, SCALAR_MAX)):
        cost = (x - reconstructions[candidate] * np.float32(1 / UNIT)) ** 2 + rate * bits[candidate]
        best = np.where(cost < best_cost, candidate, best)
        best_cost = np.minimum(cost, best_cost)
    chosen = symbols[best]
    low = np.abs(best - SCALAR_MAX) & ((1 << book.raw_bits[chosen].astype(np.int32)) - 1)
    return chosen, low, reconstructions[best]


def dequantize_scalar(book: Book, symbols: NDArray[np.uint8], low: NDArray[np.int32]) -> NDArray[np.int32]:
    """Symbols and raw low bits to reconstructions int32 [n] in 1/16 step."""
    words = book.words[0][symbols].astype(np.int32)
    return words + np.sign(words) * (low * UNIT)


def quantize_vector(book: Book, x: NDArray[np.float32], rate: float) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Residuals float32 [d, n] in steps to (symbols uint8 [n], costs float32 [n] less |x|^2); never the escape."""
    words, energy = book.search
    bias = energy + np.float32(rate) * book.bits
    symbols = np.empty(x.shape[1], np.uint8)
    costs = np.empty(x.shape[1], np.float32)
    for start in range(0, x.shape[1], _CHUNK):
        scores = x[:, start : start + _CHUNK].T @ words + bias  # float32 [n, K]
        index = scores.argmin(axis=1)
        symbols[start : start + _CHUNK] = index
        costs[start : start + _CHUNK] = scores[np.arange(len(index)), index]
    return symbols, costs


def dequantize_vector(book: Book, symbols: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Symbols uint8 [n] to codewords int16 [d, n] in 1/16 step."""
    return book.words.take(symbols, axis=1)

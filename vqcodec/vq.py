"""Vector quantisation of residuals with the codebook of a class: residuals <-> symbols.

A book of dimension d > 1 has up to 256 codewords, one of which may be the *escape*: it stands for d values that follow in
the escape book. A book of dimension 1 is a *scalar book* over one fixed alphabet (`ALPHABET`): the integers up to +-15 each
have a symbol of their own and a trained reconstruction; larger ones share logarithmic bins whose low bits follow raw, so
there is no ceiling short of LATENT_MAX. The symbol of a codeword is its rank by falling probability.

The search is entropy-constrained (Chou, Lookabaugh, Gray 1989): argmin |x - c|^2 + lambda * bits(c).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

UNIT: Final = 16
"""Codewords and residuals are in 1/16 of a step."""
SCALAR_MAX: Final = 2047
_SCALAR_BOUNDS: Final = np.float32(-SCALAR_MAX), np.float32(SCALAR_MAX)
_EXACT: Final = 15
_BARRED: Final = np.float32(1e30)
"""More than any cost, but finite: on some processors numpy warns of an invalid value in a product with infinity."""
_SURELY: Final = 0.999
"""Of a bound that sums in float32 might cross by rounding."""
_CHUNK: Final = 256  # vectors per search product: 256 KB of scores stay in the cache


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
    def rows(self) -> NDArray[np.int32]:
        """The codewords one after the other, int32 [K, d]."""
        return np.ascontiguousarray(self.words.T, dtype=np.int32)

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

    def scalar_search(self, rate: float) -> ScalarSearch:
        """What `quantize_scalar` looks up at a lambda; made once."""
        if rate not in self._scalar_searches:
            self._scalar_searches[rate] = ScalarSearch.of(self, rate)
        return self._scalar_searches[rate]

    @cached_property
    def _scalar_searches(self) -> dict[float, ScalarSearch]:
        return {}

    def vector_search(self, rate: float) -> VectorSearch:
        """What `quantize_vector` looks up at a lambda; made once."""
        if rate not in self._vector_searches:
            self._vector_searches[rate] = VectorSearch.of(self, rate)
        return self._vector_searches[rate]

    @cached_property
    def _vector_searches(self) -> dict[float, VectorSearch]:
        return {}


@dataclass(frozen=True)
class VectorSearch:
    """A vector book at a lambda: `weights` as of `weights_of`, with which the escape is never found; the symbol `zero` of the zero
    word; and `reach`, a squared length in steps up to which a vector is nearest to that, and costs less than an escape: most are.
    """

    weights: NDArray[np.float32]
    zero: int
    reach: float

    @classmethod
    def of(cls, book: Book, rate: float) -> VectorSearch:
        words, biases = book.words.astype(np.float32) * np.float32(1 / UNIT), np.float32(rate) * book.bits
        if book.escape >= 0:
            words[:, book.escape] = 0
            biases[book.escape] += _BARRED
        lengths = np.sqrt((words * words).sum(axis=0))
        zeros = np.flatnonzero((lengths == 0) & (biases < _BARRED))
        if not len(zeros):
            return cls(weights_of(words, biases), 0, -1.0)
        zero = int(zeros[0])  # the likeliest, if there are more
        others = lengths > 0
        # |x - w|^2 + b >= |x|^2 + b0 for all x of a length of at most (|w|^2 + b - b0) / 2 |w|
        radii = (lengths[others] + (biases[others] - biases[zero]) / lengths[others]) / 2
        radius = float(radii.min(initial=np.inf))
        reach = radius * abs(radius)
        if book.escape >= 0:
            reach = min(reach, rate * float(book.bits[book.escape]) - float(biases[zero]))
        return cls(weights_of(words, biases), zero, _SURELY * reach)


@dataclass(frozen=True)
class ScalarSearch:
    """A scalar book at a lambda, for every integer in +-SCALAR_MAX, the least one first.

    `symbols` uint8 and raw `low` bits int32; reconstructions int32 `words` in 1/16 step and float32 `steps`; float32 `costs` in
    squared steps, the `least` of them; intp `towards_zero`, the place of the next integer there.
    """

    symbols: NDArray[np.uint8]
    low: NDArray[np.int32]
    words: NDArray[np.int32]
    steps: NDArray[np.float32]
    costs: NDArray[np.float32]
    least: float
    towards_zero: NDArray[np.intp]

    @classmethod
    def of(cls, book: Book, rate: float) -> ScalarSearch:
        symbols, words, bits = book.scalar
        values = np.arange(-SCALAR_MAX, SCALAR_MAX + 1)
        low = np.abs(values).astype(np.int32) & ((1 << book.raw_bits[symbols].astype(np.int32)) - 1)
        steps, costs = words * np.float32(1 / UNIT), np.float32(rate) * bits
        return cls(symbols, low, words, steps, costs, float(costs.min()), values - np.sign(values) + SCALAR_MAX)


NO_WORD: Final = 255


@dataclass(frozen=True)
class Shelf:
    """The books of one dimension, one after the other, so that symbols of several are looked up at once.

    `first` intp [B] is the place of each book's symbol 0 (of no use for books of other dimensions). For every place: `words` int32
    [places, d] in 1/16 step; `raw_bits` uint8 behind the symbol, NO_WORD if there is no such symbol; `bits` float32 with these.
    """

    first: NDArray[np.intp]
    words: NDArray[np.int32]
    raw_bits: NDArray[np.uint8]
    bits: NDArray[np.float32]


def shelve(books: Sequence[Book], dim: int) -> Shelf:
    """The books of a dimension."""
    own = [number for number, book in enumerate(books) if book.dim == dim]
    first = np.zeros(len(books), np.intp)
    words, raw_bits = np.zeros((len(own) << 8, dim), np.int32), np.full(len(own) << 8, NO_WORD, np.uint8)
    bits = np.zeros(len(own) << 8, np.float32)
    for place, number in enumerate(own):
        book, start = books[number], place << 8
        here = slice(start, start + book.size)
        first[number], words[here] = start, book.rows
        raw_bits[here] = book.raw_bits if dim == 1 else 0
        bits[here] = book.bits + raw_bits[here]
    return Shelf(first, words, raw_bits, bits)


def quantize_scalar(
    book: Book, x: NDArray[np.float32], rate: float
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]:
    """Residuals float32 [n] in steps to (symbols uint8, raw low bits int32, reconstructions int32 in 1/16 step).

    `rate` is lambda in squared steps per bit. Candidates: the nearest integer, the next one towards zero, and zero.
    """
    search = book.scalar_search(rate)
    places = np.full((3, len(x)), SCALAR_MAX, np.intp)
    places[0] += np.rint(x).clip(*_SCALAR_BOUNDS).astype(np.intp)
    search.towards_zero.take(places[0], out=places[1])
    costs = search.steps.take(places)
    costs -= x
    costs *= costs
    costs += search.costs.take(places)
    best = places[costs.argmin(axis=0), np.arange(len(x))]
    return search.symbols.take(best), search.low.take(best), search.words.take(best)


def with_low_bits(words: NDArray[np.int32], low: NDArray[np.int32]) -> NDArray[np.int32]:
    """Reconstructions int32 [n] in 1/16 step of the words of scalar symbols, which are changed, and the raw bits behind these."""
    words += np.sign(words) * (low * UNIT)
    return words


def quantize_vector(
    book: Book, x: NDArray[np.float32], rate: float
) -> tuple[NDArray[np.uint8], NDArray[np.intp], NDArray[np.float32]]:
    """Residuals float32 [n, d] in steps to symbols uint8 [n], never the escape; places intp [m] of those that are not next to zero,
    and their costs float32 [m] in squared steps. Of the others none costs more than an escape.

    `rate` is lambda in squared steps per bit.
    """
    search = book.vector_search(rate)
    symbols = np.full(len(x), search.zero, np.uint8)
    energies = np.einsum("nd,nd->n", x, x)
    away = np.flatnonzero(energies > search.reach)
    if not len(away):
        return symbols, away, energies[:0]
    index, costs = nearest(x.take(away, axis=0), search.weights)
    symbols[away] = index
    costs += energies.take(away)
    return symbols, away, costs


def weights_of(words: NDArray[np.float32], biases: NDArray[np.float32]) -> NDArray[np.float32]:
    """What `nearest` multiplies with, float32 [d + 1, K]; words are [d, K]. The bias is one more dimension, of which x has 1."""
    return np.concatenate([np.float32(-2) * words, ((words * words).sum(axis=0) + biases)[None]])


def nearest(x: NDArray[np.float32], weights: NDArray[np.float32]) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """For every x [n, d] the index [n] of the word of least |x - word|^2 + bias, and this cost less |x|^2, float32 [n].

    `weights` are of `weights_of`: one product does it all, a strip at a time.
    """
    (n, dim), size = x.shape, weights.shape[1]
    extended = np.ones((n, dim + 1), np.float32)
    extended[:, :dim] = x
    scores = np.empty((min(n, _CHUNK), size), np.float32)
    first = np.arange(0, scores.size, size)
    index, costs = np.empty(n, np.intp), np.empty(n, np.float32)
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        found = np.matmul(extended[part], weights, out=scores[: part.stop - start])
        np.argmin(found, axis=1, out=index[part])
        found.take(first[: len(found)] + index[part], out=costs[part])
    return index, costs


def dequantize_vector(book: Book, symbols: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Symbols uint8 [n] to codewords int32 [n, d] in 1/16 step."""
    return book.rows.take(symbols, axis=0)

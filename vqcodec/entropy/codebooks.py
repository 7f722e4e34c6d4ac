"""Vector quantisation of residuals with the codebook of a class: residuals <-> symbols.

A book of dimension d > 1 has up to 256 codewords, one of which may be the *escape*: it stands for d values that follow in
the escape book. A book of dimension 1 is a *scalar book* over one fixed alphabet (`ALPHABET`): the integers up to +-15 each
have a symbol of their own and a trained reconstruction; larger ones share logarithmic bins whose low bits follow raw, to
+-SCALAR_MAX steps. The symbol of a codeword is its rank by falling probability.

The search is entropy-constrained (Chou, Lookabaugh, Gray 1989): argmin |x - c|^2 + lambda * bits(c).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int16, Int32, Int64, Intp, UInt8

LATENT_UNIT: Final = 16
"""Codewords and residuals are in 1/16 of a step."""
NATURAL: Final = 256
"""The size of words as codebooks have them."""
SCALAR_MAX: Final = 2047
_SCALAR_BOUNDS: Final = np.float32(-SCALAR_MAX), np.float32(SCALAR_MAX)
_EXACT: Final = 15
_BARRED: Final = np.float32(1e30)
"""More than any cost, but finite: on some processors numpy warns of an invalid value in a product with infinity."""
_SURELY: Final = 0.999
"""Of a bound that sums in float32 might cross by rounding."""
_CHUNK: Final = 256  # vectors per search product: 256 KB of scores stay in the cache


def _alphabet() -> tuple[Int16, UInt8]:
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


def alphabet_symbols(values: Int64) -> Int64:
    """Integers in +-SCALAR_MAX to positions in ALPHABET."""
    magnitude = np.abs(values)
    octave = np.frexp(np.maximum(magnitude, 1).astype(np.float64))[1].astype(np.int64) - 1
    eighth = (magnitude >> np.maximum(octave - 3, 0)) - 8
    large = 2 * _EXACT + 1 + 16 * (octave - 4) + 2 * eighth
    position = np.where(magnitude > _EXACT, large, 2 * magnitude - 1) + (values < 0)
    return np.where(values == 0, 0, position)


@dataclass(frozen=True)
class Codebook:
    """One codebook, codewords by falling probability.

    `words` int16 [d, K] in 1/16 step; `bits` float32 [K] static code lengths; `escape` the rank of the escape, or -1;
    `alphabet` uint8 [K], of scalar books, the place in ALPHABET of every rank.
    """

    words: Int16
    bits: Float32
    escape: int
    alphabet: UInt8 | None

    @property
    def dim(self) -> int:
        return self.words.shape[0]

    @property
    def size(self) -> int:
        return self.words.shape[1]

    @cached_property
    def raw_bits(self) -> UInt8:
        """Raw bits behind each symbol, uint8 [K]; scalar books only."""
        return ALPHABET_RAW_BITS[self.alphabet]

    @cached_property
    def rows(self) -> Int32:
        """The codewords one after the other, int32 [K, d]."""
        return np.ascontiguousarray(self.words.T, dtype=np.int32)

    @cached_property
    def scalar(self) -> tuple[UInt8, Int32, Float32]:
        """For every integer in +-SCALAR_MAX (scalar books only): symbol, reconstruction in 1/16 step, bits with raw bits."""
        values = np.arange(-SCALAR_MAX, SCALAR_MAX + 1)
        ranks = np.empty(len(ALPHABET), np.uint8)
        ranks[self.alphabet] = np.arange(self.size)
        symbols = ranks[alphabet_symbols(values)]
        raw = self.raw_bits[symbols]
        reconstruction = np.where(raw > 0, values * LATENT_UNIT, self.words[0][symbols])
        return symbols, reconstruction.astype(np.int32), self.bits[symbols] + raw


@dataclass(frozen=True)
class VectorSearch:
    """A vector book at a lambda, in squared steps per bit: `weights` as of `weights_of`, with which the escape is never found; the
    symbol `zero` of the zero word; and `reach`, a squared length in steps up to which vectors are nearest to that word, and cost
    less than an escape: most are. It is negative where the book has no such word.
    """

    weights: Float32
    zero: int
    reach: float

    @classmethod
    def of(cls, book: Codebook, rate: float) -> VectorSearch:
        words, biases = book.words.astype(np.float32) * np.float32(1 / LATENT_UNIT), np.float32(rate) * book.bits
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
    """Scalar books, each at a lambda, one after the other; of each every integer in +-SCALAR_MAX, the least one first.

    `symbols` uint8, and raw `low` bits int32 and their `widths` uint8; reconstructions int32 `words` in 1/16 step and float32
    `steps`; float32 `costs` in squared steps; intp `towards_zero`, how far the next integer there is.
    """

    symbols: UInt8
    low: Int32
    widths: UInt8
    words: Int32
    steps: Float32
    costs: Float32
    towards_zero: Intp

    @classmethod
    def of(cls, book: Codebook, rate: float) -> ScalarSearch:
        symbols, words, bits = book.scalar
        values = np.arange(-SCALAR_MAX, SCALAR_MAX + 1)
        widths = book.raw_bits[symbols]
        low = np.abs(values).astype(np.int32) & ((1 << widths.astype(np.int32)) - 1)
        steps, costs = words.astype(np.float32) * np.float32(1 / LATENT_UNIT), np.float32(rate) * bits
        return cls(symbols, low, widths, words, steps, costs, -np.sign(values))

    @classmethod
    def joined(cls, searches: Sequence[ScalarSearch]) -> ScalarSearch:
        return cls(*(np.concatenate([getattr(one, field.name) for one in searches]) for field in fields(cls)))


@dataclass(frozen=True)
class Search:
    """Books that are searched, each at a lambda of its own.

    `vectors` has those of more than one dimension, `zero` uint8 [B] and `reach` float32 [B] are theirs; `scalars` has the others,
    and `origin` intp [B] is where each one's integer 0 is there. An escape costs `escape` float32 [B], infinite without one, and
    its values besides; vectors that cost at most `doubt` float32 [B] need none. `rates` float32 [B] are the lambdas.
    """

    vectors: dict[int, VectorSearch]
    zero: UInt8
    reach: Float32
    scalars: ScalarSearch
    origin: Intp
    escape: Float32
    doubt: Float32
    rates: Float32

    @classmethod
    def of(cls, books: Sequence[Codebook], rates: Sequence[float]) -> Search:
        pairs = list(zip(books, rates, strict=True))
        vectors = {number: VectorSearch.of(*pair) for number, pair in enumerate(pairs) if pair[0].dim > 1}
        zero, reach = np.zeros(len(books), np.uint8), np.full(len(books), -1, np.float32)
        for number, found in vectors.items():
            zero[number], reach[number] = found.zero, found.reach
        scalars = [ScalarSearch.of(*pair) for pair in pairs if pair[0].dim == 1]
        origin = (np.cumsum([book.dim == 1 for book in books]) - 1) * (2 * SCALAR_MAX + 1) + SCALAR_MAX
        least_bits = float(books[-1].scalar[2].min())
        escape = [rate * float(book.bits[book.escape]) if book.escape >= 0 else np.inf for book, rate in pairs]
        doubt = [cost + book.dim * rate * least_bits for cost, (book, rate) in zip(escape, pairs, strict=True)]
        tables = [np.array(values, np.float32) for values in (escape, doubt, rates)]
        return cls(vectors, zero, reach, ScalarSearch.joined(scalars), origin, *tables)


NO_WORD: Final = 255


@dataclass(frozen=True)
class Shelf:
    """The books of one dimension, one after the other, so that symbols of several are looked up at once.

    `first` intp [B] is the place of each book's symbol 0 (of no use for books of other dimensions). For every place: `words` int32
    [places, d] in 1/16 step; `raw_bits` uint8 behind the symbol, NO_WORD if there is no such symbol; `bits` float32 with these.
    """

    first: Intp
    words: Int32
    raw_bits: UInt8
    bits: Float32


def shelve(books: Sequence[Codebook], dim: int) -> Shelf:
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


def resized(words: Int32, sizes: Int32 | int) -> Int32:
    """Words int32 [..., n] of other sizes, int32 [n] or one for all, in 1/256 of what they are."""
    return words if isinstance(sizes, int) and sizes == NATURAL else (words * sizes + NATURAL // 2) >> 8


def quantize_scalar(search: ScalarSearch, origins: Intp, x: Float32, share: float) -> Intp:
    """Places intp [n] in `search` of what is best for residuals float32 [n] in steps, at a share of its lambdas; `origins` intp [n]
    are those of the integer 0 in the book of each.

    Candidates: the nearest integer, the next one towards zero, and zero.
    """
    places = np.empty((3, len(x)), np.intp)
    places[2] = origins
    np.add(origins, np.rint(x).clip(*_SCALAR_BOUNDS).astype(np.intp), out=places[0])
    np.add(places[0], search.towards_zero.take(places[0]), out=places[1])
    costs = search.steps.take(places)
    costs -= x
    costs *= costs
    costs += np.float32(share) * search.costs.take(places)
    found: Intp = places[costs.argmin(axis=0), np.arange(len(x))]
    return found


def with_low_bits(words: Int32, low: Int32) -> Int32:
    """Reconstructions int32 [n] in 1/16 step of the words of scalar symbols, which are changed, and the raw bits behind these."""
    words += np.sign(words) * (low * LATENT_UNIT)
    return words


def weights_of(words: Float32, biases: Float32) -> Float32:
    """What `nearest` multiplies with, float32 [d + 1, K]; words are [d, K]. The bias is one more dimension, of which x has 1."""
    return np.concatenate([np.float32(-2) * words, ((words * words).sum(axis=0) + biases)[None]])


def nearest(x: Float32, weights: Float32) -> tuple[Intp, Float32]:
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

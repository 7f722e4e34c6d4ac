"""The encoder's search: residuals -> codewords.

The search is entropy-constrained (Chou, Lookabaugh, Gray 1989): argmin |x - c|^2 + lambda * bits(c), with lambda in squared steps
per bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Int32, Intp, UInt8
from vqcodec.entropy.codebooks import SCALAR_MAX, Codebook
from vqcodec.transform.layouts import LATENT_UNIT

_SCALAR_BOUNDS: Final = np.float32(-SCALAR_MAX), np.float32(SCALAR_MAX)
_BARRED: Final = np.float32(1e30)
"""A cost above all others, but finite: on some processors numpy warns of an invalid value in a product with infinity."""
_ROUNDING_MARGIN: Final = 0.999
"""Factor on a bound that float32 sums might otherwise cross by rounding."""
_CHUNK: Final = 256
"""Vectors per matrix product: 256 KB of scores stay in the cache."""


@dataclass(frozen=True, eq=False)
class VectorSearch:
    """A vector codebook prepared for search at one lambda.

    `weights` are `search_weights`, in which the escape is barred. `zero` is the symbol of the zero codeword. `reach` is a squared
    length in steps: vectors up to it are nearest to the zero codeword and cost less than an escape. Most vectors are that short.
    `reach` is negative if there is no zero codeword.
    """

    weights: Float32
    zero: int
    reach: float

    @classmethod
    def from_codebook(cls, codebook: Codebook, lambda_: float) -> VectorSearch:
        """The codebook prepared for search at a lambda in squared steps per bit."""
        codewords = codebook.codewords.astype(np.float32) * np.float32(1 / LATENT_UNIT)
        biases = np.float32(lambda_) * codebook.bits
        if codebook.escape >= 0:
            codewords[:, codebook.escape] = 0
            biases[codebook.escape] += _BARRED
        lengths = np.sqrt((codewords * codewords).sum(axis=0))
        zeros = np.flatnonzero((lengths == 0) & (biases < _BARRED))
        if not len(zeros):
            return cls(search_weights(codewords, biases), 0, -1.0)
        zero = int(zeros[0])  # the likeliest one
        others = lengths > 0
        # |x - c|^2 + b >= |x|^2 + b0 for all x of a length of at most (|c|^2 + b - b0) / 2 |c|
        radii = (lengths[others] + (biases[others] - biases[zero]) / lengths[others]) / 2
        radius = float(radii.min(initial=np.inf))
        reach = radius * abs(radius)
        if codebook.escape >= 0:
            reach = min(reach, lambda_ * float(codebook.bits[codebook.escape]) - float(biases[zero]))
        return cls(search_weights(codewords, biases), zero, _ROUNDING_MARGIN * reach)


@dataclass(frozen=True, eq=False)
class ScalarSearch:
    """Scalar codebooks, each at its lambda, in one table: for each codebook the integers from -SCALAR_MAX to SCALAR_MAX.

    The entries: `symbols` uint8; raw bits `low` int32 and their number `widths` uint8; reconstructions as `codewords` int32 in 1/16
    step and as `values` float32 in steps; `costs` float32, lambda * bits in squared steps; `towards_zero` intp, the offset of the
    next integer towards zero.
    """

    symbols: UInt8
    low: Int32
    widths: UInt8
    codewords: Int32
    values: Float32
    costs: Float32
    towards_zero: Intp

    @classmethod
    def from_codebook(cls, codebook: Codebook, lambda_: float) -> ScalarSearch:
        """The table of one scalar codebook at a lambda in squared steps per bit."""
        symbols, codewords, bits = codebook.scalar
        integers = np.arange(-SCALAR_MAX, SCALAR_MAX + 1)
        widths = codebook.raw_bits[symbols]
        low = np.abs(integers).astype(np.int32) & ((1 << widths.astype(np.int32)) - 1)
        values, costs = codewords.astype(np.float32) * np.float32(1 / LATENT_UNIT), np.float32(lambda_) * bits
        return cls(symbols, low, widths, codewords, values, costs, -np.sign(integers))

    @classmethod
    def joined(cls, searches: Sequence[ScalarSearch]) -> ScalarSearch:
        """One table with the entries of several, in order."""
        return cls(*(np.concatenate([getattr(one, field.name) for one in searches]) for field in fields(cls)))


@dataclass(frozen=True, eq=False)
class Search:
    """All codebooks of a model prepared for search, each at its own lambda.

    `vectors` holds the codebooks of more than one dimension by number; `zero` uint8 [B] and `reach` float32 [B] are theirs.
    `scalars` holds the others; `origin` intp [B] is the entry of each one's integer 0. An escape costs `escape` float32 [B]
    (infinite without one) plus its values; vectors that cost at most `doubt` float32 [B] never need one. `lambdas` float32 [B].
    """

    vectors: dict[int, VectorSearch]
    zero: UInt8
    reach: Float32
    scalars: ScalarSearch
    origin: Intp
    escape: Float32
    doubt: Float32
    lambdas: Float32

    @classmethod
    def from_codebooks(cls, codebooks: Sequence[Codebook], lambdas: Sequence[float]) -> Search:
        """The search through `codebooks`, of which the last is the escape codebook, with one lambda each."""
        pairs = list(zip(codebooks, lambdas, strict=True))
        vectors = {number: VectorSearch.from_codebook(*pair) for number, pair in enumerate(pairs) if pair[0].dim > 1}
        zero, reach = np.zeros(len(codebooks), np.uint8), np.full(len(codebooks), -1, np.float32)
        for number, found in vectors.items():
            zero[number], reach[number] = found.zero, found.reach
        scalars = [ScalarSearch.from_codebook(*pair) for pair in pairs if pair[0].dim == 1]
        origin = (np.cumsum([codebook.dim == 1 for codebook in codebooks]) - 1) * (2 * SCALAR_MAX + 1) + SCALAR_MAX
        least_bits = float(codebooks[-1].scalar.bits.min())
        escape = [lambda_ * float(one.bits[one.escape]) if one.escape >= 0 else np.inf for one, lambda_ in pairs]
        doubt = [cost + one.dim * lambda_ * least_bits for cost, (one, lambda_) in zip(escape, pairs, strict=True)]
        tables = [np.array(values, np.float32) for values in (escape, doubt, lambdas)]
        return cls(vectors, zero, reach, ScalarSearch.joined(scalars), origin, *tables)


def nearest_scalars(search: ScalarSearch, origins: Intp, x: Float32, share: float) -> Intp:
    """Entries intp [n] of `search` with the least cost for residuals float32 [n] in steps.

    `origins` intp [n] are the entries of the integer 0 in the codebook of each residual. `share` multiplies the lambdas. Candidates
    are the nearest integer, the next one towards zero, and zero.
    """
    entries = np.empty((3, len(x)), np.intp)
    entries[2] = origins
    np.add(origins, np.rint(x).clip(*_SCALAR_BOUNDS).astype(np.intp), out=entries[0])
    np.add(entries[0], search.towards_zero.take(entries[0]), out=entries[1])
    costs = search.values.take(entries)
    costs -= x
    costs *= costs
    costs += np.float32(share) * search.costs.take(entries)
    found: Intp = entries[costs.argmin(axis=0), np.arange(len(x))]
    return found


def search_weights(codewords: Float32, biases: Float32) -> Float32:
    """The matrix float32 [d + 1, K] with which `nearest` multiplies, for codewords [d, K] and biases [K].

    The last row holds |c|^2 + bias; vectors get a last component of 1.
    """
    return np.concatenate([np.float32(-2) * codewords, ((codewords * codewords).sum(axis=0) + biases)[None]])


def nearest(x: Float32, weights: Float32) -> tuple[Intp, Float32]:
    """For each vector of x [n, d]: the index [n] of the codeword c with the least |x - c|^2 + bias, and this cost less |x|^2,
    float32 [n].

    `weights` are `search_weights`. One matrix product per chunk finds all scores.
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

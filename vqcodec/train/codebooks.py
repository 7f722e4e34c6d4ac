"""Codebooks by entropy-constrained vector quantisation (Chou, Lookabaugh, Gray 1989), and their statistics.

Each book starts from samples drawn in proportion to their length, alternates assignment by |x - c|^2 + lambda bits with
centroids and code lengths, and reseeds dead codewords with the samples that are served worst. A base model's book
enters as pseudo-samples: its codewords with their probabilities, `strength` in all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from vqcodec.arrays import Float32, Float64, Int16, Int64
from vqcodec.entropy.codebook_search import nearest, search_weights
from vqcodec.entropy.codebooks import ALPHABET, ALPHABET_RAW_BITS, SCALAR_MAX, Codebook, alphabet_symbols
from vqcodec.entropy.linear import CLASS_OF_ONE, CLASSES, CLASSES_PER_OCTAVE
from vqcodec.transform.layouts import LATENT_UNIT

ROUNDS: Final = 16
_RESEED_ROUNDS: Final = 9
_MAX_WORDS: Final = 255
_SMOOTHING: Final = 0.05
ESCAPE_COST_BITS: Final = 24.0
"""Rough price of an escape while a book is trained: what is farther than this is left to it."""
QUIET_CLASSES: Final = 3
"""Classes below this one share its books: E|x| is under 1/32 of a step, but an outlier must still find its escape."""


def dim_of_class(number: int) -> int:
    """Dimension of a class for tiles large enough: as many values as make about 6 bits together."""
    scale = 2.0 ** ((number - CLASS_OF_ONE + 0.5) / CLASSES_PER_OCTAVE)
    bits = np.log2(2 * np.e * scale) if scale > 0.6 else 2.2 * scale
    return next((dim for dim in (8, 4, 2) if dim * bits <= 6.3), 1)


def book_table() -> tuple[Int16, list[tuple[int, int, int]]]:
    """The table [set, log2 tile size, class] -> book, and (set, dimension, class) of every book but the escape's."""
    keys: list[tuple[int, int, int]] = [(0, 1, c) for c in range(CLASSES)]
    keys += [(1, d, c) for c in range(QUIET_CLASSES, CLASSES) for d in (1, 2, 4, 8) if d <= dim_of_class(c)]
    number = {key: i for i, key in enumerate(keys)}
    table = np.full((2, 4, CLASSES), -1, np.int16)
    for c in range(CLASSES):
        table[0, 0, c] = number[0, 1, c]
        for log2 in range(4):
            loud = max(c, QUIET_CLASSES)
            table[1, log2, c] = number[1, min(1 << log2, dim_of_class(loud)), loud]
    return table, keys


@dataclass(frozen=True)
class Trained:
    """A book in training: words float32 [d, K] in steps, counts float64 [K]; the escape, if any, is the last."""

    words: Float32
    counts: Float64
    escape: bool

    @property
    def used(self) -> int:
        return int(np.count_nonzero(self.counts >= 1))

    @property
    def entropy_bits(self) -> float:
        """Entropy of an index, bits."""
        p = self.counts[self.counts > 0] / max(self.counts.sum(), 1e-9)
        return float(-(p * np.log2(p)).sum())


def train_vector_book(
    x: Float32, rate: float, rng: np.random.Generator, base: Trained | None = None, strength: float = 0.0
) -> Trained:
    """ECVQ of x float32 [n, d] in steps; at most 255 codewords and the escape."""
    n, dim = x.shape
    weight = np.ones(n)
    if base is not None and strength > 0:
        share = base.counts[:-1] / max(base.counts[:-1].sum(), 1e-9) * strength
        x, weight = np.concatenate([x, base.words[:, :-1].T]), np.concatenate([weight, share])
    zero = np.zeros((1, dim), np.float32)
    if base is not None:
        words = base.words[:, :-1].T.copy()
    elif n:
        pull = np.sqrt((x * x).sum(axis=1)) + 1e-4
        size = min(_MAX_WORDS - 1, n // 8)
        words = np.concatenate([zero, x[rng.choice(n, size, replace=False, p=pull / pull.sum())]])
    else:
        words = zero
    bits = np.full(len(words), 8.0, np.float32)
    bits[0] = 2.0
    counts: Float64 = np.zeros(len(words))
    escaped = 0.0
    limit = rate * (ESCAPE_COST_BITS + 6 * dim)
    energy = (x * x).sum(axis=1)
    for turn in range(ROUNDS if len(x) else 0):
        index, cost = nearest(x, search_weights(words.T, np.float32(rate) * bits))
        far = cost + energy > limit
        weights = np.where(far, 0.0, weight)
        escaped = float(weight[far].sum())
        counts = np.bincount(index, weights, minlength=len(words)).astype(np.float64)
        sums = np.stack([np.bincount(index, weights * x[:, k], minlength=len(words)) for k in range(dim)], axis=1)
        alive = counts > 0
        words[alive] = (sums[alive] / counts[alive, None]).astype(np.float32)
        words[0] = 0
        bits = lengths(counts)
        dead = np.flatnonzero(~alive[1:]) + 1
        if turn < _RESEED_ROUNDS and len(dead):
            error = np.where(far, 0.0, np.maximum(cost + energy, 0) * weight)
            chosen = (
                rng.choice(len(x), len(dead), p=error / error.sum()) if error.sum() > 0 else rng.integers(len(x), size=len(dead))
            )
            words[dead] = x[chosen]
            bits[dead] = np.minimum(bits[dead], 11.0)
    keep = counts > 0
    keep[0] = True
    words, counts = words[keep], counts[keep]
    return Trained(np.concatenate([words, zero]).T.astype(np.float32), np.append(counts, max(escaped, 0.5)), escape=True)


def lengths(counts: Float64) -> Float32:
    """Code lengths in bits of smoothed counts, at most 20."""
    smooth = counts + _SMOOTHING
    return np.minimum(-np.log2(smooth / smooth.sum()), 20.0).astype(np.float32)


def train_scalar_book(x: Float32, scale: float, rate: float, base: Trained | None, strength: float) -> Trained:
    """A scalar book: reconstructions of the small integers and counts of all letters, from x float32 [n] in steps.

    Without samples the letters have the probabilities of a Laplacian with E|x| = `scale`, which also smooths those with.
    """
    laplace = _laplace_letters(scale)
    prior_counts = laplace if base is None else base.counts / max(base.counts.sum(), 1e-9)
    pull = 4.0 if base is None else max(strength, 4.0)
    words = ALPHABET.astype(np.float64) if base is None else base.words[0].astype(np.float64)
    start = words.copy()
    counts = prior_counts * pull
    for _ in range(6 if len(x) else 0):
        bits = lengths(counts) + ALPHABET_RAW_BITS
        whole = np.clip(np.rint(x), -SCALAR_MAX, SCALAR_MAX).astype(np.int64)
        best, best_cost = alphabet_symbols(whole), np.full(len(x), np.inf)
        for candidate in (whole, whole - np.sign(whole), np.zeros_like(whole)):
            letter = alphabet_symbols(candidate)
            value = np.where(ALPHABET_RAW_BITS[letter] > 0, candidate, words[letter])
            cost = (x - value) ** 2 + rate * bits[letter]
            best, best_cost = np.where(cost < best_cost, letter, best), np.minimum(cost, best_cost)
        found = np.bincount(best, minlength=len(ALPHABET))
        sums = np.bincount(best, x, minlength=len(ALPHABET))
        own = max(pull, 20.0) * prior_counts + 2.0
        mean = (sums + own * start) / (found + own)
        small = (ALPHABET_RAW_BITS == 0) & (ALPHABET != 0)
        words[small] = np.clip(mean[small], ALPHABET[small] - 0.45, ALPHABET[small] + 0.45)
        counts = found + prior_counts * pull
    return Trained(words.astype(np.float32)[None], counts, escape=False)


def _laplace_letters(scale: float) -> Float64:
    """Probability of every letter under a Laplacian of mean magnitude `scale` (steps), never quite zero."""
    values = np.arange(-SCALAR_MAX, SCALAR_MAX + 1)
    mass = np.exp(-np.abs(values) / max(scale, 0.05)) + 1e-12 / (1 + np.abs(values))
    letters = np.bincount(alphabet_symbols(values), mass, minlength=len(ALPHABET))
    return letters / letters.sum()


def scale_of_class(number: int) -> float:
    """Mean magnitude at the middle of a class, in steps."""
    return float(2.0 ** ((number - CLASS_OF_ONE + 0.5) / CLASSES_PER_OCTAVE))


def ranked(book: Trained) -> tuple[Codebook, Int64]:
    """The book with its codewords by falling count (zero first among equals), and the order of its old indices."""
    order = np.argsort(-book.counts, kind="stable")
    words = np.clip(np.rint(book.words[:, order] * LATENT_UNIT), -32767, 32767).astype(np.int16)
    bits = (np.rint(lengths(book.counts[order]) * 256) / 256).astype(np.float32)
    escape = int(np.flatnonzero(order == book.words.shape[1] - 1)[0]) if book.escape else -1
    return Codebook(words, bits, escape, None if book.escape else order.astype(np.uint8)), order

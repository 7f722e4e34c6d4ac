"""Fits codebooks by entropy-constrained vector quantisation (ECVQ; Chou, Lookabaugh, Gray 1989).

A vector codebook starts from samples drawn in proportion to their norm. Each round assigns every sample to the codeword that
minimises |x - c|^2 + lambda * bits, then recomputes centroids and code lengths; dead codewords move to the samples with the largest
error. A base model's codebook enters as pseudo-samples: its codewords, weighted by their probabilities, with total weight
`strength`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float32, Float64, Int16, Int64
from vqcodec.entropy.codebook_search import nearest, search_weights
from vqcodec.entropy.codebooks import ALPHABET, ALPHABET_RAW_BITS, SCALAR_MAX, Codebook, alphabet_symbols
from vqcodec.entropy.linear import CLASS_OF_ONE, CLASSES, CLASSES_PER_OCTAVE
from vqcodec.train.settings import ExactSettings
from vqcodec.train.watch import Progress
from vqcodec.transform.layouts import LATENT_UNIT

_ROUNDS: Final = 16
_RESEED_ROUNDS: Final = 9
_MAX_CODEWORDS: Final = 255
_SMOOTHING: Final = 0.05
_ESCAPE_COST_BITS: Final = 24.0
"""Approximate price of an escape during training; samples that cost more are left to the escape."""
_QUIET_CLASSES: Final = 3
"""Classes below this one share its codebooks. Their E|x| is under 1/32 of a step, but an outlier still needs an escape."""
_ESCAPE_SCALE: Final = 4.0
"""Mean magnitude, in steps, of the values in the escape's scalar codebook, as assumed before any are counted."""
_DC, _AC = 0, 1


class CodebookKey(NamedTuple):
    """Identifies a codebook: `coefficients` is 0 for DCs and 1 for ACs, `dim` the values per codeword, `scale_class` its class."""

    coefficients: int
    dim: int
    scale_class: int


@dataclass(frozen=True)
class CodebookLayout:
    """`table` int16 [2, log2 tile size, class] maps a context to a codebook number; `keys` has every codebook but the escape's."""

    table: Int16
    keys: list[CodebookKey]


def codebook_layout() -> CodebookLayout:
    """The codebooks of a new model and the table that selects them."""
    keys = [CodebookKey(_DC, 1, c) for c in range(CLASSES)]
    keys += [CodebookKey(_AC, d, c) for c in range(_QUIET_CLASSES, CLASSES) for d in (1, 2, 4, 8) if d <= dim_of_class(c)]
    number = {key: i for i, key in enumerate(keys)}
    table = np.full((2, 4, CLASSES), -1, np.int16)
    for c in range(CLASSES):
        table[_DC, 0, c] = number[CodebookKey(_DC, 1, c)]
        for log2 in range(4):
            shared = max(c, _QUIET_CLASSES)
            table[_AC, log2, c] = number[CodebookKey(_AC, min(1 << log2, dim_of_class(shared)), shared)]
    return CodebookLayout(table, keys)


def dim_of_class(scale_class: int) -> int:
    """Largest dimension of a class's codebooks: as many values as need about 6 bits together."""
    scale = 2.0 ** ((scale_class - CLASS_OF_ONE + 0.5) / CLASSES_PER_OCTAVE)
    bits = np.log2(2 * np.e * scale) if scale > 0.6 else 2.2 * scale
    return next((dim for dim in (8, 4, 2) if dim * bits <= 6.3), 1)


def scale_of_class(scale_class: int) -> float:
    """Mean magnitude at the middle of a class, in steps."""
    return float(2.0 ** ((scale_class - CLASS_OF_ONE + 0.5) / CLASSES_PER_OCTAVE))


@dataclass(frozen=True)
class TrainedCodebook:
    """A codebook in training.

    Codewords float32 [d, K] in steps, counts float64 [K]. With `escape`, the last codeword is the escape.
    """

    codewords: Float32
    counts: Float64
    escape: bool

    @property
    def used(self) -> int:
        """Number of codewords with a count of at least one."""
        return int(np.count_nonzero(self.counts >= 1))

    @property
    def entropy_bits(self) -> float:
        """Entropy of an index, bits."""
        p = self.counts[self.counts > 0] / max(self.counts.sum(), 1e-9)
        return float(-(p * np.log2(p)).sum())


def fit_codebooks(
    residuals: list[Float32],
    keys: list[CodebookKey],
    base: list[TrainedCodebook] | None,
    settings: ExactSettings,
    progress: Progress,
) -> list[TrainedCodebook]:
    """All codebooks from samples float32 [n, d] of their residuals, in steps: those of `keys`, then the escape's."""
    rng = np.random.default_rng(settings.seed + 2)
    lambda_, strength = settings.lambda_, settings.strength
    fitted = []
    for number, key in enumerate(keys):
        progress("fitting codebooks", number, len(keys))
        x, start = residuals[number], None if base is None else base[number]
        if key.dim == 1:
            fitted.append(fit_scalar_codebook(x[:, 0], scale_of_class(key.scale_class), lambda_, start, strength))
        else:
            fitted.append(fit_vector_codebook(x, lambda_, rng, start, strength))
    progress("fitting codebooks", len(keys), len(keys))
    escaped = np.zeros(0, np.float32)
    fitted.append(fit_scalar_codebook(escaped, _ESCAPE_SCALE, lambda_, None if base is None else base[-1], strength))
    return fitted


def fit_vector_codebook(
    x: Float32, lambda_: float, rng: np.random.Generator, base: TrainedCodebook | None = None, strength: float = 0.0
) -> TrainedCodebook:
    """A vector codebook by ECVQ of samples x float32 [n, d] in steps: at most 255 codewords, zero first, then the escape."""
    n, dim = x.shape
    weight = np.ones(n)
    if base is not None and strength > 0:
        share = base.counts[:-1] / max(base.counts[:-1].sum(), 1e-9) * strength
        x, weight = np.concatenate([x, base.codewords[:, :-1].T]), np.concatenate([weight, share])
    codewords = _initial_codewords(x[:n], rng, base)  # float32 [K, d]
    bits = np.full(len(codewords), 8.0, np.float32)
    bits[0] = 2.0
    counts: Float64 = np.zeros(len(codewords))
    escaped = 0.0
    limit = lambda_ * (_ESCAPE_COST_BITS + 6 * dim)
    energy = (x * x).sum(axis=1)
    for round_ in range(_ROUNDS if len(x) else 0):
        index, cost = nearest(x, search_weights(codewords.T, np.float32(lambda_) * bits))
        far = cost + energy > limit
        weights = np.where(far, 0.0, weight)
        escaped = float(weight[far].sum())
        counts = np.bincount(index, weights, minlength=len(codewords)).astype(np.float64)
        sums = np.stack([np.bincount(index, weights * x[:, k], minlength=len(codewords)) for k in range(dim)], axis=1)
        alive = counts > 0
        codewords[alive] = (sums[alive] / counts[alive, None]).astype(np.float32)
        codewords[0] = 0
        bits = code_lengths(counts)
        dead = np.flatnonzero(~alive[1:]) + 1
        if round_ < _RESEED_ROUNDS and len(dead):
            error = np.where(far, 0.0, np.maximum(cost + energy, 0) * weight)
            chosen = (
                rng.choice(len(x), len(dead), p=error / error.sum()) if error.sum() > 0 else rng.integers(len(x), size=len(dead))
            )
            codewords[dead] = x[chosen]
            bits[dead] = np.minimum(bits[dead], 11.0)
    keep = counts > 0
    keep[0] = True
    codewords, counts = codewords[keep], counts[keep]
    zero = np.zeros((1, dim), np.float32)
    return TrainedCodebook(
        np.concatenate([codewords, zero]).T.astype(np.float32), np.append(counts, max(escaped, 0.5)), escape=True
    )


def _initial_codewords(x: Float32, rng: np.random.Generator, base: TrainedCodebook | None) -> Float32:
    """Codewords float32 [K, d] to start from: those of `base`, or zero and samples drawn in proportion to their norm."""
    if base is not None:
        return base.codewords[:, :-1].T.copy()
    zero = np.zeros((1, x.shape[1]), np.float32)
    if not len(x):
        return zero
    norms = np.sqrt((x * x).sum(axis=1)) + 1e-4
    size = min(_MAX_CODEWORDS - 1, len(x) // 8)
    return np.concatenate([zero, x[rng.choice(len(x), size, replace=False, p=norms / norms.sum())]])


def code_lengths(counts: Float64) -> Float32:
    """Code lengths of smoothed counts, float32, bits, at most 20."""
    smooth = counts + _SMOOTHING
    return np.minimum(-np.log2(smooth / smooth.sum()), 20.0).astype(np.float32)


def fit_scalar_codebook(x: Float32, scale: float, lambda_: float, base: TrainedCodebook | None, strength: float) -> TrainedCodebook:
    """A scalar codebook from samples x float32 [n] in steps: reconstruction values of small integers, and counts of all letters.

    Counts start from a Laplacian with E|x| = `scale`, or from those of `base`; without samples they stay so.
    """
    laplace = _laplace_letters(scale)
    initial_shares = laplace if base is None else base.counts / max(base.counts.sum(), 1e-9)
    pull = 4.0 if base is None else max(strength, 4.0)
    codewords = ALPHABET.astype(np.float64) if base is None else base.codewords[0].astype(np.float64)
    start = codewords.copy()
    counts = initial_shares * pull
    for _ in range(6 if len(x) else 0):
        bits = code_lengths(counts) + ALPHABET_RAW_BITS
        whole = np.clip(np.rint(x), -SCALAR_MAX, SCALAR_MAX).astype(np.int64)
        best, best_cost = alphabet_symbols(whole), np.full(len(x), np.inf)
        for candidate in (whole, whole - np.sign(whole), np.zeros_like(whole)):
            letter = alphabet_symbols(candidate)
            value = np.where(ALPHABET_RAW_BITS[letter] > 0, candidate, codewords[letter])
            cost = (x - value) ** 2 + lambda_ * bits[letter]
            best, best_cost = np.where(cost < best_cost, letter, best), np.minimum(cost, best_cost)
        found = np.bincount(best, minlength=len(ALPHABET))
        sums = np.bincount(best, x, minlength=len(ALPHABET))
        own = max(pull, 20.0) * initial_shares + 2.0
        mean = (sums + own * start) / (found + own)
        small = (ALPHABET_RAW_BITS == 0) & (ALPHABET != 0)
        codewords[small] = np.clip(mean[small], ALPHABET[small] - 0.45, ALPHABET[small] + 0.45)
        counts = found + initial_shares * pull
    return TrainedCodebook(codewords.astype(np.float32)[None], counts, escape=False)


def _laplace_letters(scale: float) -> Float64:
    """Probability of every letter under a Laplacian of mean magnitude `scale` (steps), always above zero."""
    values = np.arange(-SCALAR_MAX, SCALAR_MAX + 1)
    mass = np.exp(-np.abs(values) / max(scale, 0.05)) + 1e-12 / (1 + np.abs(values))
    letters = np.bincount(alphabet_symbols(values), mass, minlength=len(ALPHABET))
    return letters / letters.sum()


@dataclass(frozen=True)
class Ranked:
    """A finished codebook and `order` int64 [K]: the training index of the codeword at each rank."""

    codebook: Codebook
    order: Int64


def ranked(codebook: TrainedCodebook) -> Ranked:
    """Sort codewords by falling count; codewords with equal counts keep their order."""
    order = np.argsort(-codebook.counts, kind="stable")
    codewords = np.clip(np.rint(codebook.codewords[:, order] * LATENT_UNIT), -32767, 32767).astype(np.int16)
    bits = (np.rint(code_lengths(codebook.counts[order]) * 256) / 256).astype(np.float32)
    escape = int(np.flatnonzero(order == codebook.codewords.shape[1] - 1)[0]) if codebook.escape else -1
    return Ranked(Codebook(codewords, bits, escape, None if codebook.escape else order.astype(np.uint8)), order)

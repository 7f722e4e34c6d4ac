"""The encoder's choice of classes of contexts, whose pixels share a stream (context_planes.py)."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Bool, Float64, Intp, UInt8
from vqcodec.format import zstd_blocks
from vqcodec.format.neighbours import Bins, Neighbours, contexts_of

_BINS: Final = ((64, 64, 1, 1), (16, 16, 4, 3), (8, 8, 8, 8))
"""Bins that the encoder tries; fewer if there are fewer symbols."""
_FEW_BINS: Final = (16, 16, 1, 1)
_PAIR_BYTES: Final = 0.5
_LEAST_SHARE: Final = 0.9
"""For `least_bytes`: bins, bytes to describe each pair of context and symbol that occurs, and the share of all this that may do."""
_CLASSES: Final = (6, 12, 24, 48, 96)
"""Numbers of classes that the encoder tries, until more take more bytes."""
_ROUNDS: Final = 8
_CLASS_BYTES: Final = 25
"""Bytes of a class beside its symbols and their code, about."""
_CODE_BYTES: Final = 0.55
"""Bytes of a symbol in the description of a Huffman code, about."""
_LEAST_PROBABILITY: Final = 1e-4


class Classes(NamedTuple):
    """The encoder's choice of classes."""

    neighbours: Neighbours
    class_of: UInt8
    """The class of each context, uint8 [P]."""
    bytes: float
    """Bytes of the classes and streams, about."""


def best_bins(plane: UInt8, mask: Bool | None, alphabet: int, levels: tuple[int, ...]) -> Classes:
    """The bins and classes that take the fewest bytes, about."""
    tried = [Bins(_usable(bins, alphabet), alphabet) for bins in _BINS]
    return min((best_classes(plane, mask, alphabet, bins, levels) for bins in tried), key=lambda classes: classes.bytes)


def best_classes(plane: UInt8, mask: Bool | None, alphabet: int, neighbours: Neighbours, levels: tuple[int, ...]) -> Classes:
    """The classes of contexts that take the fewest bytes, about."""
    used, counts = _counts(plane, mask, alphabet, neighbours)
    best = None
    least_here = np.inf
    for most in _CLASSES:
        class_of_used, size = _classes(counts, min(most, len(used)))
        classes = np.zeros(neighbours.count, np.uint8)
        classes[used] = class_of_used
        known = np.zeros(len(classes), np.intp)
        known[used] = used
        classes = classes[np.maximum.accumulate(known)]  # unused contexts repeat the class before them
        size += len(zstd_blocks.compress_whole(classes.tobytes(), levels).data)
        if best is None or size < best.bytes:
            best = Classes(neighbours, classes, size)
        if size > least_here:
            break
        least_here = size
    assert best is not None
    return best


def least_bytes(plane: UInt8, mask: Bool | None, alphabet: int) -> float:
    """Bytes that `pack` will hardly go below."""
    _, counts = _counts(plane, mask, alphabet, Bins(_usable(_FEW_BINS, alphabet), alphabet))
    shares = counts / counts.sum(axis=1, keepdims=True)
    bits = -float((counts * np.log2(np.maximum(shares, _LEAST_PROBABILITY))).sum())
    return _LEAST_SHARE * (bits / 8 + _PAIR_BYTES * np.count_nonzero(counts))


def _usable(bins: tuple[int, ...], alphabet: int) -> tuple[int, ...]:
    """Bins that are not more than there are symbols."""
    return tuple(min(count, alphabet) for count in bins)


def _counts(plane: UInt8, mask: Bool | None, alphabet: int, neighbours: Neighbours) -> tuple[Intp, Float64]:
    """The contexts [n] that occur, and the number of each symbol in each of them, float64 [n, K]."""
    places = contexts_of(plane, mask, neighbours).astype(np.intp) * alphabet + plane
    own = places.reshape(-1) if mask is None else places[mask]
    counts = np.bincount(own, minlength=neighbours.count * alphabet).reshape(-1, alphabet)
    used = np.flatnonzero(counts.any(axis=1))
    return used, counts[used].astype(np.float64)


def _classes(counts: Float64, most: int) -> tuple[UInt8, float]:
    """At most `most` classes of contexts [n] with similar symbols, and the bytes of their streams, about.

    `counts` float64 [n, K] of each context's symbols. Contexts move to the class whose code is the shortest for them (Lloyd 1982,
    with Kullback-Leibler divergence).
    """
    totals = counts.sum(axis=1)
    order = np.argsort(counts @ np.arange(counts.shape[1]) / totals, kind="stable")
    share = np.cumsum(totals[order]) / totals.sum()
    own = np.empty(len(counts), np.intp)
    own[order] = np.minimum(most - 1, (share * most).astype(np.intp))
    for _ in range(_ROUNDS):
        sums = _sums(counts, own, most)
        shares = np.maximum(sums / np.maximum(sums.sum(axis=1, keepdims=True), 1), _LEAST_PROBABILITY)
        own = (counts @ np.log2(shares).T).argmax(axis=1)
    own = np.unique(own, return_inverse=True)[1].reshape(-1)
    sums = _sums(counts, own, int(own.max()) + 1)
    shares = sums / sums.sum(axis=1, keepdims=True)
    bits = -(sums * np.log2(np.maximum(shares, _LEAST_PROBABILITY))).sum()
    return own.astype(np.uint8), float(bits) / 8 + _CLASS_BYTES * len(sums) + _CODE_BYTES * np.count_nonzero(sums)


def _sums(counts: Float64, own: Intp, classes: int) -> Float64:
    """The sum of the counts [n, K] of each class, float64 [classes, K]."""
    found = np.zeros((classes, counts.shape[1]))
    order = own.argsort(kind="stable")
    there, first = np.unique(own[order], return_index=True)
    found[there] = np.add.reduceat(counts[order], first)
    return found

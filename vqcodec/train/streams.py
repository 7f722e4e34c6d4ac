"""Merge maps, stream forms, pair tables and zstd dictionaries, from the symbols of whole files.

Merging: streams with similar statistics share a Huffman table. Starting from one stream a book, the two whose union costs
least are merged again and again; some stages on the way become the model's merge maps, and the encoder takes the map
that makes a file smallest. Forms: a stream is written in pairs where that needs fewer bits by its own Huffman code.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from vqcodec.entropy import LITERAL, NO_SYMBOL, RUN_BITS, Direct, Form, Pairs, Split

MAP_SIZES: Final = (40, 28, 20, 14, 10, 7, 5, 3, 2, 1)
_FREE_PAIRS: Final = 256 - RUN_BITS - 1
_DICTIONARY_BYTES: Final = 768
_MIN_SAMPLES: Final = 24
_FRAME_BYTES: Final = 10
_MAX_SAMPLE: Final = 8192

File = list[tuple[int, NDArray[np.uint8]]]
"""The calls of one file: (book, symbols by rank), in order."""


@dataclass(frozen=True)
class StreamModel:
    """The trained entropy stage: tensors as in model.py."""

    maps: NDArray[np.uint8]
    form: NDArray[np.uint8]
    dictionary: NDArray[np.uint16]
    pairs: list[Pairs]
    dictionaries: list[bytes]


def merge_maps(counts: NDArray[np.float64], sizes: tuple[int, ...] = MAP_SIZES) -> NDArray[np.uint8]:
    """Greedy agglomeration of books by their rank histograms, counts [B, 256]; maps uint8 [len(sizes), B]."""
    books = len(counts)
    groups = [[b] for b in range(books)]
    sums = [counts[b].astype(np.float64) for b in range(books)]
    costs = [_entropy_bits(s) for s in sums]
    heap: list[tuple[float, int, int]] = []
    alive = set(range(books))

    def push(a: int, b: int) -> None:
        heapq.heappush(heap, (_entropy_bits(sums[a] + sums[b]) - costs[a] - costs[b], a, b))

    for a in range(books):
        for b in range(a + 1, books):
            push(a, b)
    maps = []
    for size in sizes:
        while len(alive) > size:
            _, a, b = heapq.heappop(heap)
            if a not in alive or b not in alive:
                continue
            alive -= {a, b}
            groups.append(groups[a] + groups[b])
            sums.append(sums[a] + sums[b])
            costs.append(_entropy_bits(sums[-1]))
            new = len(groups) - 1
            for other in sorted(alive):
                push(other, new)
            alive.add(new)
        stream_of = np.zeros(books, np.uint8)
        for stream, group in enumerate(sorted(alive, key=lambda g: min(groups[g]))):
            stream_of[groups[group]] = stream
        maps.append(stream_of)
    return np.stack(maps)


def _entropy_bits(counts: NDArray[np.float64]) -> float:
    positive = counts[counts > 0]
    return float(-(positive * np.log2(positive / positive.sum())).sum()) if len(positive) else 0.0


def huffman_bits(counts: NDArray[np.int64]) -> int:
    """Bits of a Huffman code of these counts over all symbols (a single symbol costs one bit each)."""
    heap = [int(c) for c in counts if c > 0]
    if len(heap) == 1:
        return heap[0]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


def train_pairs(streams: list[NDArray[np.uint8]]) -> Pairs:
    """A pair table for the streams of one kind: the likeliest (run, symbol) pairs, each worth the bytes it saves."""
    seen: Counter[tuple[int, int]] = Counter()
    for symbols in streams:
        ends = np.flatnonzero(symbols)
        runs = np.minimum(np.diff(ends, prepend=-1) - 1, 255)
        keys, found = np.unique(runs.astype(np.int64) * 256 + symbols[ends], return_counts=True)
        for key, count in zip(keys.tolist(), found.tolist(), strict=True):
            seen[divmod(key, 256)] += count
    # a symbol alone must exist before its longer pairs are worth a byte: rank singles by all their occurrences
    singles: Counter[tuple[int, int]] = Counter()
    for (_, symbol), count in seen.items():
        singles[0, symbol] += count
    score = {pair: count * (1.0 if pair[0] else 0.0) for pair, count in seen.items()}
    for pair, count in singles.items():
        score[pair] = max(score.get(pair, 0.0), float(count))
    best = sorted(score, key=lambda pair: (-score[pair], pair))[:_FREE_PAIRS]
    zeros = np.zeros(256, np.uint8)
    tails = np.full(256, NO_SYMBOL, np.int16)
    for byte, (run, symbol) in enumerate(best):
        zeros[byte], tails[byte] = run, symbol
    for byte in range(len(best), _FREE_PAIRS):
        tails[byte] = LITERAL  # never written: the table's own literal comes last
    tails[255 - RUN_BITS] = LITERAL
    zeros[256 - RUN_BITS :] = 1 << np.arange(RUN_BITS)
    return Pairs(zeros, tails)


def train_streams(files: list[File], books: int) -> StreamModel:
    """Everything between symbols and bytes, from the calls of many files."""
    counts = np.zeros((books, 256))
    for calls in files:
        for book, symbols in calls:
            counts[book] += np.bincount(symbols, minlength=256)
    sizes = tuple(size for size in MAP_SIZES if size <= max(1, int((counts.sum(axis=1) > 0).sum())))
    maps = merge_maps(counts, sizes)
    streams = int(maps.max()) + 1
    form = np.zeros((len(maps), streams), np.uint8)
    number = np.zeros((len(maps), streams, 2), np.uint16)
    tables: list[Pairs] = []
    dictionaries: list[bytes] = []
    known: dict[tuple[int, ...], tuple[int, list[int]]] = {}  # a stream of the same books is the same in every map
    for m, stream_of in enumerate(maps):
        for stream in range(int(stream_of.max()) + 1):
            members = tuple(np.flatnonzero(stream_of == stream).tolist())
            if members not in known:
                known[members] = _train_stream(files, set(members), tables, dictionaries)
            form[m, stream], given = known[members]
            number[m, stream, : len(given)] = given
    return StreamModel(maps, form, number, tables, dictionaries)


def _train_stream(files: list[File], members: set[int], tables: list[Pairs], dictionaries: list[bytes]) -> tuple[int, list[int]]:
    """Form of one stream and dictionary number of each of its parts; appends what it trains."""
    symbols = []
    for calls in files:
        pieces = [values for book, values in calls if book in members]
        if pieces and any(values.any() for values in pieces):
            symbols.append(np.concatenate(pieces))
    if not symbols:
        return 0, [0]
    table = train_pairs(symbols)
    forms: list[Form] = [Direct(), Split(), table]
    packed = [[form.pack(s) for s in symbols] for form in forms]
    costs = []
    for form, files_of_parts in zip(forms, packed, strict=True):
        bits = 0
        for part in range(form.parts):
            joined = b"".join(parts[part] for parts in files_of_parts)
            bits += huffman_bits(np.bincount(np.frombuffer(joined, np.uint8), minlength=256))
        costs.append(bits + 8 * _FRAME_BYTES * form.parts * len(symbols))
    best = costs.index(min(costs))
    number = best
    if best == 2:
        tables.append(table)
        number = 1 + len(tables)
    given = []
    for part in range(forms[best].parts):
        samples = [
            parts[part][i : i + _MAX_SAMPLE]
            for parts in packed[best]
            for i in range(0, len(parts[part]), _MAX_SAMPLE)
            if len(parts[part]) - i >= 16
        ]
        trained = _train_dictionary(samples)
        if trained is not None:
            dictionaries.append(trained)
        given.append(0 if trained is None else len(dictionaries))
    return number, given


def _train_dictionary(samples: list[bytes]) -> bytes | None:
    if len(samples) < _MIN_SAMPLES:
        return None
    try:
        return zstandard.train_dictionary(_DICTIONARY_BYTES, list(samples[:4000]), level=1, dict_id=1).as_bytes()
    except zstandard.ZstdError:
        return None

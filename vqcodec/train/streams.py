"""Merge maps, stream forms, pair tables and dictionaries, from the symbols of files of many sizes.

Streams with similar statistics share a Huffman code. Starting from one stream per codebook, the two streams whose union costs least
are merged repeatedly. Some stages become the model's merge maps, and the encoder uses the map that makes a file smallest. A
stream's form, pair table and codes are those that store the training files in the fewest bytes.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from vqcodec.arrays import Float64, Int64, UInt8, UInt16
from vqcodec.format.stream_forms import LITERAL, NO_SYMBOL, RUN_BITS, Direct, Form, Pairs, Split
from vqcodec.format.zstd_blocks import FOUR_STREAMS_FROM, Dictionary
from vqcodec.train import huffman
from vqcodec.train.watch import Watch, in_processes

MAP_SIZES: Final = (40, 28, 20, 14, 10, 7, 5, 4, 3, 2, 1)
_FIXED: Final[tuple[Form, ...]] = (Direct(), Split())
"""Forms that every model has, by number."""
_FREE_PAIRS: Final = (247, 120, 56, 24)
"""Sizes of pair tables that are tried; the first fills all 256 bytes together with the literal and the runs."""
_RARE: Final = (0.0, 1e-5, 1e-4, 1e-3)
"""Thresholds, as shares of all bytes, below which a byte gets no code: many unused codes of 11 bits would lengthen the others."""
_SYMBOLS: Final = 1000
"""A merge map of n streams is trained on files of fewer than this times n * n symbols."""
_SORTING: Final = "sorting symbols into streams"
"""Name of the stage."""
_RECORD_BYTES: Final = 2.5
_OWN_CODE_BYTES, _OWN_CODE_BYTES_A_VALUE = 7.0, 0.45
"""Size of a frame's own code: bytes of headers, and bytes per distinct byte value."""

File = list[tuple[int, UInt8]]
"""The symbols of one file: (codebook, symbols by rank) of every call, in order."""


@dataclass(frozen=True)
class StreamModel:
    """Merge maps, forms, pair tables and dictionaries; tensors as in weights/exact.py."""

    maps: UInt8
    form: UInt8
    dictionary: UInt16
    pairs: list[Pairs]
    dictionaries: list[Dictionary]

    @classmethod
    def untrained(cls, codebooks: int) -> StreamModel:
        """One merge map that puts all codebooks into one stream, stored without a dictionary."""
        return cls(np.zeros((1, codebooks), np.uint8), np.zeros((1, 1), np.uint8), np.zeros((1, 1, 2), np.uint16), [], [])


def merge_maps(counts: Float64, sizes: tuple[int, ...] = MAP_SIZES) -> UInt8:
    """Merge maps uint8 [len(sizes), B] by greedy agglomeration of codebooks with rank histograms `counts` [B, 256]."""
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


def _entropy_bits(counts: Float64) -> float:
    """Entropy of all symbols with these counts together, in bits."""
    positive = counts[counts > 0]
    return float(-(positive * np.log2(positive / positive.sum())).sum()) if len(positive) else 0.0


def rank_pairs(symbols: UInt8) -> list[tuple[int, int]]:
    """(run, symbol) pairs of a stream, the most useful first: frequent pairs are worth a byte."""
    ends = np.flatnonzero(symbols)
    runs = np.minimum(np.diff(ends, prepend=-1) - 1, 255)
    keys, counts = np.unique(runs.astype(np.int64) * 256 + symbols[ends], return_counts=True)
    score = {divmod(key, 256): count if key > 255 else 0 for key, count in zip(keys.tolist(), counts.tolist(), strict=True)}
    # a symbol without a run must come before its pairs, so it counts all its occurrences
    for symbol, count in enumerate(np.bincount(symbols[ends]).tolist()):
        if count:
            score[0, symbol] = count
    return sorted(score, key=lambda pair: (-score[pair], pair))


def pair_table(ranked: list[tuple[int, int]], size: int) -> Pairs:
    """The pair table of the first `size` ranked pairs."""
    zeros = np.zeros(256, np.uint8)
    tails = np.full(256, NO_SYMBOL, np.int16)
    best = ranked[:size]
    for byte, (run, symbol) in enumerate(best):
        zeros[byte], tails[byte] = run, symbol
    for byte in range(len(best), 255 - RUN_BITS):
        tails[byte] = LITERAL  # never written: the literal in use comes last
    tails[255 - RUN_BITS] = LITERAL
    zeros[256 - RUN_BITS :] = 1 << np.arange(RUN_BITS)
    return Pairs(zeros, tails)


def train_streams(files: list[File], sizes: Int64, watch: Watch) -> StreamModel:
    """Fit merge maps, forms and dictionaries to the symbols of many files; `sizes` int64 [B] are numbers of codewords.

    Raises OutOfTimeError.
    """
    watch(_SORTING, 0, 1)
    counts = np.zeros((len(sizes), 256))
    for calls in files:
        for book, symbols in calls:
            counts[book] += np.bincount(symbols, minlength=256)
    wanted = tuple(size for size in MAP_SIZES if size <= max(1, int((counts.sum(axis=1) > 0).sum())))
    maps = merge_maps(counts, wanted)
    streams = int(maps.max()) + 1
    form = np.zeros((len(maps), streams), np.uint8)
    number = np.zeros((len(maps), streams, 2), np.uint16)
    tables: list[Pairs] = []
    dictionaries: list[Dictionary] = []
    symbols_of = [sum(len(symbols) for _, symbols in calls) for calls in files]
    places: list[_Place] = []
    given, largest = [], []
    for m, stream_of in enumerate(maps):
        watch(_SORTING, m, len(maps))
        limit = _SYMBOLS * (int(stream_of.max()) + 1) ** 2
        users = files if m == 0 else [f for f, n in zip(files, symbols_of, strict=True) if n < limit]
        for stream, own in enumerate(_by_stream(users, stream_of)):
            places.append(_Place(m, stream))
            given.append(own)
            largest.append(int(sizes[stream_of == stream].max()))
    trained = in_processes(_train_stream, given, largest, stage="fitting codes of the streams", watch=watch)
    for place, found in zip(places, trained, strict=True):
        form[place] = _FIXED.index(found.form) if found.form in _FIXED else len(_FIXED) + len(tables)
        if isinstance(found.form, Pairs):
            tables.append(found.form)
        for part, dictionary in enumerate(found.dictionaries):
            if dictionary is not None:
                dictionaries.append(dictionary)
                number[(*place, part)] = len(dictionaries)
    return StreamModel(maps, form, number, tables, dictionaries)


def _by_stream(files: list[File], stream_of: UInt8) -> list[list[UInt8]]:
    """For each stream of a merge map, its symbols in every file that has any, without trailing zeros."""
    found: list[list[UInt8]] = [[] for _ in range(int(stream_of.max()) + 1)]
    for calls in files:
        pieces: list[list[UInt8]] = [[] for _ in found]
        for book, symbols in calls:
            pieces[stream_of[book]].append(symbols)
        for streams, own in zip(found, pieces, strict=True):
            whole = np.concatenate(own) if own else np.zeros(0, np.uint8)
            ends = np.flatnonzero(whole)
            if len(ends):
                streams.append(whole[: ends[-1] + 1])
    return found


class _Place(NamedTuple):
    """A stream of a merge map."""

    merge_map: int
    stream: int


class _TrainedStream(NamedTuple):
    """A stream's form, and the dictionary of each of its parts, if it pays."""

    form: Form
    dictionaries: list[Dictionary | None]


def _train_stream(streams: list[UInt8], size: int) -> _TrainedStream:
    """Fit a stream of symbols below `size`, given as its symbols in several files."""
    if not streams:
        return _TrainedStream(_FIXED[0], [None])
    whole = np.concatenate(streams)
    ranked = rank_pairs(whole)
    forms: list[Form] = [*_FIXED, *(pair_table(ranked, pairs) for pairs in _FREE_PAIRS)]
    form = min(forms, key=lambda form: _form_bytes(form, whole, len(streams)))
    packed = [form.pack(symbols) for symbols in streams]
    given = []
    for part in range(form.parts):
        counts = np.stack([np.bincount(np.frombuffer(parts[part], np.uint8), minlength=256) for parts in packed])
        given.append(_best_code(counts, size if isinstance(form, Direct) or part == 1 else 256))
    return _TrainedStream(form, given)


def _form_bytes(form: Form, symbols: UInt8, files: int) -> float:
    """Approximate bytes of a form for the joined symbols of `files` streams, with one code for all."""
    total = 0.0
    for part in form.pack(symbols):
        counts = np.bincount(np.frombuffer(part, np.uint8), minlength=256)
        total += float(counts @ huffman.code_lengths(counts.astype(np.float64)).astype(np.int64)) / 8 + _RECORD_BYTES * files
    return total


def _best_code(counts: Int64, size: int) -> Dictionary | None:
    """The dictionary that stores parts with byte counts [files, 256] in the fewest bytes; None if none pays.

    Every byte below `size` gets a code where possible, since it may occur in other files.
    """
    lengths = counts.sum(axis=1)
    own = _huffman_bits(counts) / 8
    own += _OWN_CODE_BYTES + _OWN_CODE_BYTES_A_VALUE * np.count_nonzero(counts, axis=1)
    without = np.minimum(lengths, own)
    least, best = float(without.sum()), None
    total = counts.sum(axis=0).astype(np.float64)
    total[:size] += 1e-6 * total.sum() / size
    for rare in _RARE:
        code = huffman.code_lengths(np.where(total < rare * total.sum(), 0, total))
        covered = (counts[:, code == 0] == 0).all(axis=1) & bool(code.any())
        with_code = (counts @ code.astype(np.int64)) / 8 + np.where(lengths > FOUR_STREAMS_FROM, 7.5, 0.5)
        cost = float(np.where(covered, np.minimum(with_code, without), without).sum())
        if cost < least:
            try:
                least, best = cost, huffman.dictionary(code)
            except ValueError:  # zstd has no form for it
                continue
    return best


def _huffman_bits(counts: Int64) -> Float64:
    """Approximate bits of Huffman codes for counts [files, 256]: the entropy, but at least one bit for a dominant byte."""
    lengths, top = counts.sum(axis=1), counts.max(axis=1)
    rest = counts.copy()
    rest[np.arange(len(rest)), counts.argmax(axis=1)] = 0
    dominated = lengths + 1.01 * _entropies(rest)
    return np.where(top > 0.4 * lengths, dominated, 1.01 * _entropies(counts))


def _entropies(counts: Int64) -> Float64:
    """Entropy of every row of counts [n, 256], in bits, float64 [n]."""
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return -(counts * np.log2(np.where(counts > 0, counts / total, 1))).sum(axis=1)

"""Symbols of a plane <-> bytes, in contexts: each pixel's four decoded neighbours tell from which stream its symbol comes.

Scans of text, dithered and noisy graphics have few colours and no repeats that zstd could refer to, but a pixel is like its
neighbours. All symbols are below K, the number of symbols of a palette's first level (index_planes.py).

    4 bytes    numbers of bins of the pixels to the left, above, above right and above left, 1..255 each; their product is P
    1 byte     number of classes, C = 1..255
    part       if C > 1: the class of each context, 0..C - 1; P bytes
    for each class, its stream:
    varint     2 m + split: m symbols; split is 0 if m is 0
    if m > 0, without split:
    part       the symbols, m bytes
    if m > 0, with split:
    1 byte     the common symbol z
    varint     bytes of the runs, 1..m
    varint     number of tails, 1..m
    part       the runs
    part       the tails

Parts are those of palettes.py, without packing. P is at most 65536. The bin of a symbol s among b bins is s * b // K. Pixels
outside of the plane, and those without a symbol, count as 0. With the bins w, n, r and l of the neighbours in the order above, a
context is ((w * b_n + n) * b_r + r) * b_l + l. Pixels are decoded in the order of x + 2 y, and of equal x + 2 y in that of y: each
takes the next symbol of the stream of its context's class. Runs and tails are the parts 0 and 1 of the split form (container.py,
section 3), with z in place of 0; after the last tail the stream has z to its end. The streams must have exactly the symbols that
the pixels take.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vqcodec.arrays import Bool, Float64, Int32, Intp, UInt8
from vqcodec.errors import CorruptError
from vqcodec.format import zstd_blocks
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.palettes import read_part, write_part
from vqcodec.format.stream_forms import Split

_MOST_CONTEXTS: Final = 1 << 16
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


class _Contexts(NamedTuple):
    """The encoder's choice of contexts."""

    bins: tuple[int, ...]
    classes: UInt8
    """The class of each context, uint8 [P]."""


def pack(plane: UInt8, mask: Bool | None, alphabet: int, levels: tuple[int, ...]) -> bytes:
    """Symbols uint8 [H, W] below `alphabet`, where `mask` bool [H, W] is true (None: everywhere); elsewhere they must be 0.

    `levels` are those of zstd. `unpack` is the inverse.
    """
    found = _best_contexts(plane, mask, alphabet, levels)
    classes = found.classes[_contexts_of(plane, found.bins, alphabet)]  # uint8 [H, W]
    symbols, own = _in_order(plane, mask), _in_order(classes, mask)
    order = own.argsort(kind="stable")
    count = 1 + int(found.classes.max())
    ends = np.cumsum(np.bincount(own, minlength=count))
    streams: list[UInt8] = np.split(symbols[order], ends[:-1])
    head = bytes((*found.bins, count)) + (_part(found.classes.tobytes(), levels) if count > 1 else b"")
    return head + b"".join(_write_stream(stream, levels) for stream in streams)


def least_bytes(plane: UInt8, mask: Bool | None, alphabet: int) -> float:
    """Bytes that `pack` will hardly go below."""
    _, counts = _counts(plane, mask, alphabet, _usable(_FEW_BINS, alphabet))
    shares = counts / counts.sum(axis=1, keepdims=True)
    bits = -float((counts * np.log2(np.maximum(shares, _LEAST_PROBABILITY))).sum())
    return _LEAST_SHARE * (bits / 8 + _PAIR_BYTES * np.count_nonzero(counts))


def unpack(reader: ByteReader, shape: tuple[int, int], mask: Bool | None, alphabet: int) -> UInt8:
    """The symbols uint8 [H, W] of a plane of `shape`, 0 where `mask` is false. Raises TruncatedError, CorruptError."""
    bins = tuple(reader.take(4))
    contexts, count = int(np.prod(bins)), reader.byte()
    if not contexts or contexts > _MOST_CONTEXTS or not count:
        raise CorruptError("corrupt file: an invalid number of contexts")
    class_of = read_part(reader, contexts) if count > 1 else np.zeros(contexts, np.uint8)
    if int(class_of.max()) >= count:
        raise CorruptError("corrupt file: an invalid class of a context")
    pixels = shape[0] * shape[1] if mask is None else int(np.count_nonzero(mask))
    streams: list[UInt8] = []
    for _ in range(count):
        streams.append(_read_stream(reader, pixels - sum(map(len, streams)), alphabet))
    if sum(map(len, streams)) != pixels:
        raise CorruptError("corrupt file: streams of contexts do not match their pixels")
    return _decode(shape, mask, _tables(bins, alphabet), class_of, streams)


# ------------------------------------------------------------------------------------------------ the order of pixels


def _steps(shape: tuple[int, int]) -> Iterator[slice]:
    """The pixels of equal x + 2 y, in the order in which they are decoded, as places in the flat padded plane (`_padded`)."""
    height, width = shape
    for step in range(width + 2 * (height - 1)):
        first, last = max(0, (step - width + 2) // 2), min(height - 1, step // 2)
        start = (first + 1) * (width + 2) + step - 2 * first + 1
        yield slice(start, start + (last - first) * width + 1, width)  # one row down and two pixels to the left


def _padded(plane: NDArray[Any]) -> NDArray[Any]:
    """A plane [H, W] with zeros above, to the left and to the right, [H + 1, W + 2]."""
    return np.pad(plane, ((1, 0), (1, 1)))


def _in_order(plane: UInt8, mask: Bool | None) -> UInt8:
    """The symbols of a plane [H, W] in the order in which they are decoded, uint8 [n]."""
    flat = _padded(plane).reshape(-1)
    steps = list(_steps(plane.shape))
    found = np.concatenate([flat[step] for step in steps])
    if mask is None:
        return found
    valid = _padded(mask).reshape(-1)
    return found[np.concatenate([valid[step] for step in steps])]


def _decode(shape: tuple[int, int], mask: Bool | None, tables: list[Int32], class_of: UInt8, streams: list[UInt8]) -> UInt8:
    """The plane uint8 [H, W] of all streams. Pixels of equal x + 2 y do not depend on each other, and are decoded at once."""
    row = shape[1] + 2
    symbols = np.concatenate(streams)
    ends = np.cumsum([len(stream) for stream in streams])
    place = ends - [len(stream) for stream in streams]  # of the next symbol of each class
    flat = np.zeros((shape[0] + 1) * row, np.uint8)
    valid = None if mask is None else _padded(mask).reshape(-1)
    left, above, right, corner = tables
    for step in _steps(shape):
        context = left[flat[_moved(step, 1)]]
        context += above[flat[_moved(step, row)]]
        context += right[flat[_moved(step, row - 1)]]
        context += corner[flat[_moved(step, row + 1)]]
        own = class_of[context]
        if valid is not None:
            here = np.flatnonzero(valid[step])
            own = own[here]
        order = own.argsort(kind="stable")
        counts = np.bincount(own, minlength=len(streams))
        offsets = place - np.cumsum(counts) + counts
        found = np.empty(len(own), np.uint8)
        found[order] = symbols.take(offsets[own[order]] + np.arange(len(own)), mode="clip")
        if valid is None:
            flat[step] = found
        else:
            flat[step][here] = found
        place += counts
    if not np.array_equal(place, ends):
        raise CorruptError("corrupt file: streams of contexts do not match their pixels")
    return flat.reshape(-1, row)[1:, 1:-1]


def _moved(places: slice, back: int) -> slice:
    """Places of a flat plane that lie `back` before others."""
    return slice(places.start - back, places.stop - back, places.step)


def _tables(bins: tuple[int, ...], alphabet: int) -> list[Int32]:
    """Summands of a context for each symbol of each of the four neighbours, int32 [256] each."""
    strides = np.cumprod((1, *bins[:0:-1]))[::-1]
    symbols = np.arange(256) % alphabet  # symbols are checked when they are read
    return [(symbols * count // alphabet * stride).astype(np.int32) for count, stride in zip(bins, strides.tolist(), strict=True)]


def _contexts_of(plane: UInt8, bins: tuple[int, ...], alphabet: int) -> Int32:
    """The context of each pixel of a plane [H, W], int32 [H, W]."""
    around = _padded(plane)
    neighbours = around[1:, :-2], around[:-1, 1:-1], around[:-1, 2:], around[:-1, :-2]
    left, above, right, corner = (table[each] for table, each in zip(_tables(bins, alphabet), neighbours, strict=True))
    found: Int32 = left + above + right + corner
    return found


# ------------------------------------------------------------------------------------------------ streams


def _part(data: bytes, levels: tuple[int, ...]) -> bytes:
    return write_part(zstd_blocks.compress_whole(data, levels), 0)


def _write_stream(symbols: UInt8, levels: tuple[int, ...]) -> bytes:
    """A stream uint8 [n], split if that is smaller; the inverse of `_read_stream`."""
    count = len(symbols)
    if not count:
        return write_varint(0)
    direct = write_varint(2 * count) + _part(symbols.tobytes(), levels)
    common = int(np.bincount(symbols).argmax())
    runs, tails = Split().pack(symbols ^ np.uint8(common))
    if not tails or len(runs) > count:
        return direct
    lengths = write_varint(2 * count + 1) + bytes((common,)) + write_varint(len(runs)) + write_varint(len(tails))
    split = lengths + _part(runs, levels) + _part(_exchanged(tails, common), levels)
    return min(direct, split, key=len)


def _exchanged(symbols: bytes, common: int) -> bytes:
    """Symbols of which `common` becomes 0, or back."""
    return (np.frombuffer(symbols, np.uint8) ^ np.uint8(common)).tobytes()


def _read_stream(reader: ByteReader, most: int, alphabet: int) -> UInt8:
    """A stream of at most `most` symbols below `alphabet`, uint8 [n]. Raises TruncatedError, CorruptError."""
    count, split = divmod(reader.varint(), 2)
    if count > most or (split and not count):
        raise CorruptError("corrupt file: streams of contexts do not match their pixels")
    symbols, common = np.zeros(0, np.uint8), 0
    if split:
        common, runs, tails = reader.byte(), reader.varint(), reader.varint()
        if not 0 < runs <= count or not 0 < tails <= count:
            raise CorruptError("corrupt file: streams of contexts do not match their pixels")
        parts = [read_part(reader, runs).tobytes(), _exchanged(read_part(reader, tails).tobytes(), common)]
        found = Split().unpack(parts, count)
        symbols = np.full(count, common, np.uint8)
        symbols[: len(found)] ^= found
    elif count:
        symbols = read_part(reader, count)
    if max(common, int(symbols.max(initial=0))) >= alphabet:
        raise CorruptError("corrupt file: an index is not below the number of colours")
    return symbols


# ------------------------------------------------------------------------------------------------ the encoder's choice


def _best_contexts(plane: UInt8, mask: Bool | None, alphabet: int, levels: tuple[int, ...]) -> _Contexts:
    """The contexts and classes that take the fewest bytes, about."""
    best, least = None, np.inf
    for each in _BINS:
        bins = _usable(each, alphabet)
        used, counts = _counts(plane, mask, alphabet, bins)
        least_here = np.inf
        for most in _CLASSES:
            class_of_used, size = _classes(counts, min(most, len(used)))
            classes = np.zeros(int(np.prod(bins)), np.uint8)
            classes[used] = class_of_used
            known = np.zeros(len(classes), np.intp)
            known[used] = used
            classes = classes[np.maximum.accumulate(known)]  # unused contexts repeat the class before them
            size += len(_part(classes.tobytes(), levels))
            if size < least:
                best, least = _Contexts(bins, classes), size
            if size > least_here:
                break
            least_here = size
    assert best is not None
    return best


def _usable(bins: tuple[int, ...], alphabet: int) -> tuple[int, ...]:
    """Bins that are not more than there are symbols."""
    return tuple(min(count, alphabet) for count in bins)


def _counts(plane: UInt8, mask: Bool | None, alphabet: int, bins: tuple[int, ...]) -> tuple[Intp, Float64]:
    """The contexts [n] that occur, and the number of each symbol in each of them, float64 [n, K]."""
    places = _contexts_of(plane, bins, alphabet).astype(np.intp) * alphabet + plane
    own = places.reshape(-1) if mask is None else places[mask]
    counts = np.bincount(own, minlength=int(np.prod(bins)) * alphabet).reshape(-1, alphabet)
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

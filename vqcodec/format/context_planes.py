"""Symbols of a plane <-> bytes, in contexts: the decoded pixels around each pixel tell from which stream its symbol comes.

Scans of text, dithered and noisy graphics have few colours and no repeats that zstd could refer to, but a pixel is like its
neighbours. All symbols are below K, the number of symbols of a palette's first level (index_planes.py).

    1 byte     number of bins of the pixel to the left, 1..255; 0: contexts of the file's graphic model
    3 bytes    unless it is 0: numbers of bins of the pixels above, above right and above left, 1..255 each
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

Parts are those of palettes.py, without packing.

With bins, their product is P, the number of contexts, at most 65536. The bin of a symbol s among b bins is s * b // K. Pixels
outside the plane, and those without a symbol, count as 0. With the bins w, n, r and l of the neighbours in the order above, a
context is ((w * b_n + n) * b_r + r) * b_l + l.

With a graphic model, its network tells contexts, and P is the number of its outputs (entropy/pixel_contexts.py). It sees the grey
level of each symbol's colour (transform/palette.py, `grey_levels`), and 127 for the symbol of other colours, for pixels outside of
the plane, and for those without a symbol.

Pixels are decoded in the order of x + 2 y, and of equal x + 2 y in that of y: each takes the next symbol of the stream of its
context's class. Runs and tails are the parts 0 and 1 of the split form (container.py, section 3), with z in place of 0; after the
last tail the stream has z to its end. The streams must have exactly the symbols that the pixels take.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from vqcodec.arrays import Bool, UInt8
from vqcodec.errors import CorruptError
from vqcodec.format import zstd_blocks
from vqcodec.format.bits import ByteReader, write_varint
from vqcodec.format.context_classes import Classes, best_bins, best_classes
from vqcodec.format.neighbours import Bins, GreyLevels, Neighbours, OfModel, contexts_of, margin_of, padded
from vqcodec.format.palettes import read_part, write_part
from vqcodec.format.stream_forms import Split

_MOST_CONTEXTS: Final = 1 << 16


def pack(plane: UInt8, mask: Bool | None, alphabet: int, levels: tuple[int, ...]) -> bytes:
    """Symbols uint8 [H, W] below `alphabet`, where `mask` bool [H, W] is true (None: everywhere); elsewhere they must be 0.

    `levels` are those of zstd. `unpack` is the inverse.
    """
    best = best_bins(plane, mask, alphabet, levels)
    assert isinstance(best.neighbours, Bins)
    return bytes(best.neighbours.bins) + _pack_classes(plane, mask, best, levels)


def pack_by_model(plane: UInt8, mask: Bool | None, model: GreyLevels, levels: tuple[int, ...]) -> bytes:
    """Symbols as for `pack`, in contexts of a model. `unpack` is the inverse."""
    best = best_classes(plane, mask, len(model.levels), OfModel(model), levels)
    return b"\0" + _pack_classes(plane, mask, best, levels)


def _pack_classes(plane: UInt8, mask: Bool | None, found: Classes, levels: tuple[int, ...]) -> bytes:
    """The classes, and their streams."""
    own = _in_order(found.class_of[contexts_of(plane, mask, found.neighbours)], mask)
    order = own.argsort(kind="stable")
    count = 1 + int(found.class_of.max())
    ends = np.cumsum(np.bincount(own, minlength=count))
    streams: list[UInt8] = np.split(_in_order(plane, mask)[order], ends[:-1])
    head = bytes((count,)) + (_part(found.class_of.tobytes(), levels) if count > 1 else b"")
    return head + b"".join(_write_stream(stream, levels) for stream in streams)


def unpack(reader: ByteReader, shape: tuple[int, int], mask: Bool | None, alphabet: int, model: GreyLevels | None = None) -> UInt8:
    """The symbols uint8 [H, W] of a plane of `shape`, 0 where `mask` is false.

    `model` has the contexts of the file's model, if it has any. Raises TruncatedError, CorruptError.
    """
    neighbours = _read_neighbours(reader, alphabet, model)
    contexts, count = neighbours.count, reader.byte()
    if not count:
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
    return _decode(shape, mask, neighbours, class_of, streams)


def _read_neighbours(reader: ByteReader, alphabet: int, model: GreyLevels | None) -> Neighbours:
    """The kind of contexts. Raises TruncatedError, CorruptError."""
    first = reader.byte()
    if not first:
        if model is None:
            raise CorruptError("corrupt file: contexts of a model that has none")
        return OfModel(model)
    bins = Bins((first, *reader.take(3)), alphabet)
    if not 0 < bins.count <= _MOST_CONTEXTS:
        raise CorruptError("corrupt file: an invalid number of contexts")
    return bins


# ------------------------------------------------------------------------------------------------ the order of pixels


def _steps(shape: tuple[int, int], margin: int) -> Iterator[slice]:
    """The pixels of equal x + 2 y, in the order in which they are decoded, as places in the flat padded plane (`padded`)."""
    height, width = shape
    row = width + 2 * margin
    for step in range(width + 2 * (height - 1)):
        first, last = max(0, (step - width + 2) // 2), min(height - 1, step // 2)
        start = (first + margin) * row + step - 2 * first + margin
        yield slice(start, start + (last - first) * (row - 2) + 1, row - 2)  # one row down and two pixels to the left


def _in_order(plane: UInt8, mask: Bool | None) -> UInt8:
    """The symbols of a plane [H, W] in the order in which they are decoded, uint8 [n]."""
    flat = padded(plane, 1).reshape(-1)
    steps = list(_steps(plane.shape, 1))
    found = np.concatenate([flat[step] for step in steps])
    if mask is None:
        return found
    valid = padded(mask, 1).reshape(-1)
    return found[np.concatenate([valid[step] for step in steps])]


def _decode(shape: tuple[int, int], mask: Bool | None, neighbours: Neighbours, class_of: UInt8, streams: list[UInt8]) -> UInt8:
    """The plane uint8 [H, W] of all streams. Pixels of equal x + 2 y do not depend on each other, and are decoded at once."""
    margin = margin_of(neighbours)
    row = shape[1] + 2 * margin
    distances = [-(y * row + x) for y, x in neighbours.places]
    symbols = np.concatenate(streams)
    ends = np.cumsum([len(stream) for stream in streams])
    place = ends - [len(stream) for stream in streams]  # of the next symbol of each class
    flat = np.zeros((shape[0] + margin) * row, np.uint8)
    seen = flat if isinstance(neighbours, Bins) else np.full(len(flat), neighbours.missing, np.uint8)  # bins see the symbols
    valid = None if mask is None else padded(mask, margin).reshape(-1)
    for step in _steps(shape, margin):
        own = class_of[neighbours.of([seen[_moved(step, distance)] for distance in distances])]
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
        if seen is not flat:
            seen[step] = neighbours.seen[flat[step]]
            if valid is not None:
                seen[step][~valid[step]] = neighbours.missing
        place += counts
    if not np.array_equal(place, ends):
        raise CorruptError("corrupt file: streams of contexts do not match their pixels")
    return flat.reshape(-1, row)[margin:, margin : margin + shape[1]]


def _moved(places: slice, back: int) -> slice:
    """Places of a flat plane that lie `back` before others."""
    return slice(places.start - back, places.stop - back, places.step)


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

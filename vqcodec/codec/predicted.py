"""Samples <-> bytes without loss, for photographs: residuals of the predictions of pixel_pyramid.py, in streams by scale class.

    1 byte    bits 0-1: levels with weights of their own - 1, 0..2 (3 is reserved);  bit 2: all neighbours have weights, else the
              nearest alone;  bit 3: there are two contexts, else one;  bits 4-7: reserved
    3 bytes   little-endian; bit k: class k begins a new stream, else it joins that of class k - 1; bit 0 is set
    1 byte    for each stream, its form: 0 direct; 1 split; 2, 3, 4 vectors of 2, 3, 5 symbols below 15, 6, 3; others are reserved
    for the letters of the numbers below, one byte each, and then for each stream and each part of its form:
      varint  size in bytes before compression
      part    if the size is not 0 (palettes.py; bits 2-7 of its first byte are 0)
    bytes     the raw bits of the numbers, then those of the residuals, most significant bit of each byte first; the last byte is
              filled up with zeros, and no byte is left over

Channels are coded one after the other: green, red, blue, alpha; or grey, alpha. Let n be the number of samples that are not in
graphic cells, of all channels together.

Letters are those of container.py, section 4, for octaves e up to 16: 0..238, others are an error. Here a letter with its raw bits r
stands for the integer +-(b + r), and letters 0..30 for 0, +1, -1, ... -15. Letters of numbers and of residuals are coded alike.

Numbers: for each channel its sample (0, 0), which is stored even if its cell is graphic, and then replaces the sample there. Then,
for each level of the channel with weights, from the finest on, for each pass 0, 1, 2: the threshold, if there are two contexts; the
mean weights of context 0, then those of context 1; the scale weights; the bias. There are exactly as many letters.

Residuals are coded channel by channel and pass by pass. A pass has its classes in ascending order, and a class its samples row by
row; each one's letter is the next symbol of the stream of its class. The raw bits of a pass come in the same order. sample = mean +
residual, which must be 0 .. 2**depth - 1.

Forms: direct and split are those of container.py, section 3. Vectors of d symbols below k: part 0 has one byte for each vector,
s0 + k s1 + k**2 s2 + ..., or 255 if part 1 has its d symbols; other bytes of k**d or more are an error. Zeros may fill up the last
vector. After its last symbol a stream continues with zeros; when all samples are decoded, all symbols that are left must be 0. With
m = n + 4 * streams, all streams together have at most m symbols, and all their parts together at most 2 m bytes before compression.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import cache
from itertools import product
from typing import Final, NamedTuple, Protocol

import numpy as np

from vqcodec.arrays import Bool, Int32, Int64, Pixels, UInt8
from vqcodec.codec.prediction_fit import fit
from vqcodec.entropy import pixel_pyramid
from vqcodec.entropy.codebooks import alphabet, alphabet_symbols
from vqcodec.entropy.pixel_pyramid import CLASSES, LEVELS, Pass, Planes, Shape, Surroundings, Weights, WeightSets
from vqcodec.errors import CorruptError
from vqcodec.format import zstd_blocks
from vqcodec.format.bits import BitReader, ByteReader, PackedBits, write_varint
from vqcodec.format.palettes import read_part, write_part
from vqcodec.format.stream_forms import Direct, Form, Split, Vectors
from vqcodec.runtime import progress

_ALPHABET: Final = alphabet(17)
_FORMS: Final[tuple[Form, ...]] = (Direct(), Split(), Vectors(2, 15), Vectors(3, 6), Vectors(5, 3))
_LETTER_COST: Final = 4.0
"""Estimated bits that a letter adds to the description of a Huffman tree."""
_STREAM_COST: Final = 80.0
"""Estimated bits of the rest of a stream's description."""
_PACKED_AT_ONCE: Final = 30 << 13
"""Symbols that are packed at once to choose a form: whole vectors of all forms."""
_LARGEST: Final = 65535
"""Largest magnitude of a residual."""
_MOST_FILLED: Final = 4
"""Most zeros that fill up the last vector of a stream."""


class Coder(Protocol):
    """A source of residuals."""

    def code(self, channel: int, step: Pass, expected: pixel_pyramid.Expected) -> Int32:
        """Residuals int32 [n] of the samples of a pass."""
        ...


def walk(planes: Planes, coded: Bool | None, shape: Shape, weights: WeightSets, peak: int, coder: Coder) -> None:
    """Code the samples of channels [C, H, W] in place, all or those where `coded` bool [H, W] is true; (0, 0) is known."""
    magnitudes = pixel_pyramid.no_magnitudes(planes)
    passes = list(pixel_pyramid.passes(*planes.shape[1:]))
    with progress.stage("", planes.size):
        for channel, step in product(range(len(planes)), passes):
            where = None if coded is None else coded[step.lattice]
            if where is None or where.any():
                surroundings = Surroundings(planes, magnitudes, channel, step, shape)
                own = pixel_pyramid.weights_of(weights, channel, step, shape)
                expected = pixel_pyramid.expect(surroundings, own, peak, where)
                residuals = coder.code(channel, step, expected)
                values = expected.means + residuals
                if values.min() < 0 or values.max() > peak:
                    raise CorruptError("corrupt file: a sample is out of range")
                pixel_pyramid.put(planes[channel][step.lattice], where, values)
                pixel_pyramid.put(magnitudes[channel][step.lattice], where, np.abs(residuals))
            progress.advance(step.rows * step.columns)


def planes_of(pixels: Pixels) -> Planes:
    """Channels [C, H, W] of samples [H, W, C]: green comes first, as it predicts red and blue best; alpha last."""
    order = channel_order(pixels.shape[2])
    ordered = pixels.transpose(2, 0, 1)[order]
    return ordered.astype(np.int16) if pixels.dtype == np.uint8 else ordered.astype(np.int32)


def pixels_of(planes: Planes) -> Pixels:
    """Samples [H, W, C] of channels [C, H, W]; the inverse of `planes_of`."""
    pixels = np.empty((*planes.shape[1:], len(planes)), np.uint8 if planes.dtype == np.int16 else np.uint16)
    for plane, channel in zip(planes, channel_order(len(planes)), strict=True):
        pixels[:, :, channel] = plane
    return pixels


def channel_order(channels: int) -> list[int]:
    """The channels of 1 to 4 in coding order."""
    return [1, 0, 2, 3][:channels] if channels > 2 else [0, 1][:channels]


# ------------------------------------------------------------------------------------------------ encoding


def encode(planes: Planes, coded: Bool | None, peak: int, shape: Shape, levels: tuple[int, ...]) -> bytes:
    """The bytes of channels [C, H, W], or of the samples where `coded` bool [H, W] is true; `levels` of zstd are tried."""
    writer = _Writer(planes, coded)
    with progress.stage("", 2):
        weights = fit(planes, coded, shape, peak)
        progress.advance()
        numbers = np.array(_numbers_of(planes[:, 0, 0], weights, shape), np.int64)
        letters = alphabet_symbols(numbers).astype(np.uint8)
        writer.put_raw_bits(numbers, letters)
        walk(planes, coded, shape, weights, peak, writer)  # writes the samples that are there already
    starts = _merge(writer.histograms())
    parts, forms = [_write_sized(letters.tobytes(), levels)], []
    for first, last in zip(starts, [*starts[1:], CLASSES], strict=True):
        symbols = writer.stream(first, last)
        forms.append(_smallest_form(symbols))
        parts += [_write_sized(part, levels) for part in _FORMS[forms[-1]].pack(symbols)]
    head = shape.levels - 1 | shape.all_neighbours << 2 | (shape.contexts - 1) << 3
    mask = sum(1 << start for start in starts).to_bytes(3, "little")
    return b"".join([bytes((head,)), mask, bytes(forms), *parts, writer.raw.to_bytes()])


def _write_sized(data: bytes, levels: tuple[int, ...]) -> bytes:
    """A size and a part; the inverse of `_read_sized`."""
    return write_varint(len(data)) + (write_part(zstd_blocks.compress(data, None, levels), 0) if data else b"")


def _read_sized(reader: ByteReader, most: int) -> bytes:
    """The data of a part, of at most `most` bytes. Raises CorruptError, TruncatedError."""
    size = reader.varint()
    if size > most:
        raise CorruptError("corrupt file: a stream is too long")
    return read_part(reader, size).tobytes() if size else b""


def _smallest_form(symbols: UInt8) -> int:
    """The number of the form whose parts take the fewest bits in Huffman codes of their own, about."""
    return int(np.argmin([_bits_in_form(symbols, form) for form in _FORMS]))


def _bits_in_form(symbols: UInt8, form: Form) -> float:
    """Bits of symbols uint8 [n] in a form, of which some at a time are packed."""
    counts = np.zeros((form.parts, 256), np.int64)
    for first in range(0, len(symbols), _PACKED_AT_ONCE):
        for own, part in zip(counts, form.pack(symbols[first : first + _PACKED_AT_ONCE]), strict=True):
            own += np.bincount(np.frombuffer(part, np.uint8), minlength=256)
    return sum(map(_huffman_bits, counts))


def _huffman_bits(counts: Int64) -> float:
    """Bits of bytes with these counts, int64 [256], in their optimal Huffman code, with an estimate of its description."""
    queue = counts[counts > 0].tolist()
    bits = _LETTER_COST * len(queue) + (queue[0] if len(queue) == 1 else 0)
    heapq.heapify(queue)
    while len(queue) > 1:
        joined = heapq.heappop(queue) + queue[0]
        heapq.heapreplace(queue, joined)
        bits += joined
    return bits


@cache
def _letters_of_residuals() -> UInt8:
    """The letters of -_LARGEST to _LARGEST."""
    return alphabet_symbols(np.arange(-_LARGEST, _LARGEST + 1)).astype(np.uint8)


class _Writer:
    """Keeps the letters of each class, and the raw bits in coding order."""

    def __init__(self, planes: Planes, coded: Bool | None) -> None:
        self.planes, self.coded = planes, coded
        self.letters: list[list[UInt8]] = [[] for _ in range(CLASSES)]
        self.raw = PackedBits()

    def code(self, channel: int, step: Pass, expected: pixel_pyramid.Expected) -> Int32:
        wanted = self.planes[channel][step.lattice]
        values = wanted.reshape(-1) if self.coded is None else wanted[self.coded[step.lattice]]
        residuals = values - expected.means
        order = np.argsort(expected.classes, kind="stable")
        own = residuals[order]
        letters = _letters_of_residuals()[own + _LARGEST]
        ends = np.cumsum(np.bincount(expected.classes, minlength=CLASSES))
        for kept, some in zip(self.letters, np.split(letters, ends[:-1]), strict=True):
            kept.append(some)
        self.put_raw_bits(own, letters)
        return residuals

    def put_raw_bits(self, values: Int32 | Int64, letters: UInt8) -> None:
        """Append the raw bits of numbers with their letters uint8 [n]."""
        widths = _ALPHABET.raw_bits[letters]
        has = np.flatnonzero(widths)
        low = np.abs(values[has]) - np.abs(_ALPHABET.values[letters[has]])
        self.raw.put(low.astype(np.int32), widths[has])

    def stream(self, first: int, last: int) -> UInt8:
        """Letters of the classes `first` to `last` - 1 in the order in which a decoder reads them."""
        steps = len(self.letters[0])
        pieces = [self.letters[number][step] for step in range(steps) for number in range(first, last)]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.uint8)

    def histograms(self) -> Int64:
        """Counts of letters by class, int64 [CLASSES, 256]."""
        none = np.zeros(0, np.uint8)
        return np.stack([sum(np.bincount(some, minlength=256) for some in [none, *kept]) for kept in self.letters])


def _merge(histograms: Int64) -> list[int]:
    """First classes of the streams that take the fewest bits by an estimate, from counts int64 [CLASSES, 256]."""
    least, start = [0.0], [0]
    for last in range(1, CLASSES + 1):
        costs = [least[first] + _stream_bits(histograms[first:last].sum(axis=0)) for first in range(last)]
        start.append(int(np.argmin(costs)))
        least.append(costs[start[-1]])
    found, last = list[int](), CLASSES
    while last:
        last = start[last]
        found.insert(0, last)
    return found


def _stream_bits(counts: Int64) -> float:
    """Estimated bits of a stream with these counts of letters."""
    some = counts[counts > 0].astype(np.float64)
    return float(-(some * np.log2(some / some.sum())).sum()) + _LETTER_COST * len(some) + _STREAM_COST if len(some) else 0.0


# ------------------------------------------------------------------------------------------------ decoding


def decode(data: bytes, planes: Planes, coded: Bool | None, peak: int) -> None:
    """Fill in the channels [C, H, W], or the samples where `coded` bool [H, W] is true; the inverse of `encode`.

    Raises CorruptError, TruncatedError.
    """
    reader = ByteReader(data)
    head, starts = reader.byte(), reader.integer(3)
    forms = reader.take(starts.bit_count())
    shape = Shape(levels=(head & 3) + 1, all_neighbours=bool(head & 4), contexts=(head >> 3 & 1) + 1)
    if head >> 4 or shape.levels > LEVELS or not starts & 1 or max(forms) >= len(_FORMS):
        raise CorruptError("corrupt file: a reserved value in its pixel section")
    samples = len(planes) * (planes[0].size if coded is None else int(np.count_nonzero(coded)))
    letters = np.frombuffer(_read_sized(reader, _count_of_numbers(len(planes), shape)), np.uint8)
    symbols = _read_streams(reader, [_FORMS[form] for form in forms], samples)
    bits = BitReader(data[reader.cursor :])
    roots, weights = _weights_of(_take_numbers(letters, bits), len(planes), shape, peak)
    planes[:, 0, 0] = roots
    walk_reader = _Reader(symbols, starts, bits)
    walk(planes, coded, shape, weights, peak, walk_reader)
    walk_reader.finish()


def _read_streams(reader: ByteReader, forms: Sequence[Form], samples: int) -> list[UInt8]:
    """The symbols of each stream for a number of coded samples. Raises CorruptError, TruncatedError.

    All streams together may be no longer than the samples need, or a small file could fill the memory.
    """
    symbols_left = samples + _MOST_FILLED * len(forms)
    bytes_left = 2 * symbols_left
    found = []
    for form in forms:
        parts = []
        for _ in range(form.parts):
            parts.append(_read_sized(reader, bytes_left))
            bytes_left -= len(parts[-1])
        found.append(form.unpack(parts, symbols_left))
        symbols_left -= len(found[-1])
    return found


def _take_numbers(letters: UInt8, bits: BitReader) -> Int64:
    """Numbers int64 [n] of letters uint8 [n] and the raw bits that follow. Raises CorruptError."""
    if len(letters) and letters.max() >= len(_ALPHABET.values):
        raise CorruptError("corrupt file: a letter is not in its alphabet")
    values = _ALPHABET.values[letters].astype(np.int64)
    widths = _ALPHABET.raw_bits[letters]
    has = np.flatnonzero(widths)
    if len(has):
        values[has] += np.sign(values[has]) * bits.take_array(widths[has])
    return values


class _Reader:
    """Takes residuals from streams."""

    def __init__(self, symbols: Sequence[UInt8], starts: int, bits: BitReader) -> None:
        self.symbols, self.bits = symbols, bits
        self.stream_of = np.cumsum([starts >> number & 1 for number in range(CLASSES)]) - 1
        self.cursors = [0] * len(symbols)

    def code(self, channel: int, step: Pass, expected: pixel_pyramid.Expected) -> Int32:
        counts = np.bincount(expected.classes, minlength=CLASSES)
        letters = np.zeros(len(expected.classes), np.uint8)  # a stream continues with zeros after its last symbol
        done = 0
        for number, count in zip(self.stream_of.tolist(), counts.tolist(), strict=True):
            some = self.symbols[number][self.cursors[number] : self.cursors[number] + count]
            letters[done : done + len(some)] = some
            self.cursors[number] += count
            done += count
        residuals = np.empty(len(letters), np.int32)
        residuals[np.argsort(expected.classes, kind="stable")] = _take_numbers(letters, self.bits)
        return residuals

    def finish(self) -> None:
        """Raise CorruptError if symbols or raw bits are left over."""
        if any(symbols[cursor:].any() for cursor, symbols in zip(self.cursors, self.symbols, strict=True)):
            raise CorruptError("corrupt file: symbols left over")
        self.bits.finish()


# ------------------------------------------------------------------------------------------------ weights <-> numbers


def _numbers_of(roots: Planes, weights: WeightSets, shape: Shape) -> list[int]:
    """The first samples [C] and the weights as numbers."""
    numbers = []
    for channel, root in enumerate(roots.tolist()):
        numbers.append(root)
        for level in range(shape.levels):
            for number in range(3):
                own = weights[channel, level, number]
                numbers += [own.threshold] * (shape.contexts - 1)
                numbers += [*own.means.reshape(-1).tolist(), *own.scales.tolist(), own.bias]
    return numbers


class _Contents(NamedTuple):
    """First samples int64 [C] and weights."""

    roots: Int64
    weights: WeightSets


def _weights_of(numbers: Int64, channels: int, shape: Shape, peak: int) -> _Contents:
    """The inverse of `_numbers_of`. Raises CorruptError."""
    if len(numbers) != _count_of_numbers(channels, shape):
        raise CorruptError("corrupt file: the weights of its predictions do not have the right number")
    weights: WeightSets = {}
    roots, place = np.zeros(channels, np.int64), 0
    for channel in range(channels):
        roots[channel] = numbers[place]
        place += 1
        for level in range(shape.levels):
            for number in range(3):
                rows, scales = shape.rows(channel, number), pixel_pyramid.scale_rows(channel)
                own = numbers[place : place + (shape.contexts - 1) + shape.contexts * rows + scales + 1]
                place += len(own)
                threshold = int(own[0]) if shape.contexts == 2 else 0
                means = own[shape.contexts - 1 :][: shape.contexts * rows].reshape(shape.contexts, rows)
                found = Weights(threshold, means, own[-scales - 1 : -1], int(own[-1]))
                if not (found.means_are_exact(peak) and found.scales_are_exact):
                    raise CorruptError("corrupt file: its weights of predictions are too large")
                weights[channel, level, number] = found
    if roots.min() < 0 or roots.max() > peak:
        raise CorruptError("corrupt file: a sample is out of range")
    return _Contents(roots, weights)


def _count_of_numbers(channels: int, shape: Shape) -> int:
    """The number of numbers that the weights and the first samples take."""
    count = channels
    for channel in range(channels):
        for number in range(3):
            means = shape.contexts - 1 + shape.contexts * shape.rows(channel, number)
            count += shape.levels * (means + pixel_pyramid.scale_rows(channel) + 1)
    return count

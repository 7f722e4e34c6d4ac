"""The symbols of a small picture as one range code, without sections: how packs store pictures (format/pack.py).

    3 bytes   sharpness           4 bits for each kind of codebook, the lowest bits of the first byte first: those of DCs, then the
                                  others of dimension 1, 2, 4 and 8, then the last codebook, which holds the values of escapes
    bytes     range code          range_coder.py

The code holds the symbols and the raw bits of container.py, 5, in the order in which a decoder can take them: in each call of
`code`, neighbouring classes whose codebooks have one dimension d are a span, and classes without a codebook end it. A span has,
class by class, its symbols, then d symbols of the last codebook for each escape among them, then the raw bits of these; and after
the last class of a scalar span all raw bits of its symbols.

A codebook with K codewords and code lengths b (`book.bits`, in 1/256 bit) has the frequencies, in integers,
    s = (b * (8 + sharpness)) >> 4;  w = max(1, round(2**(30 - (s mod 256) / 256)) >> (s >> 8))
    frequency = 1 + w * (2**15 - K) // (sum of all w);  what is missing to 2**15 goes to the first of the largest
so a sharpness of 8 is the model's own statistics, a smaller one makes rare symbols more probable. DCs are the codebooks of set 0 of
`book.table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from vqcodec.arrays import Float64, Int32, Int64, UInt8
from vqcodec.codec import streams
from vqcodec.codec.symbols import Calls, GroupStreams, GroupSymbols, Layer, SymbolReader
from vqcodec.codec.walk import walk
from vqcodec.entropy.features import Grid
from vqcodec.errors import CorruptError
from vqcodec.format.bits import pack_bits
from vqcodec.format.header import Header
from vqcodec.format.range_coder import TOTAL, RangeDecoder, RangeEncoder
from vqcodec.transform.layouts import LAYOUTS
from vqcodec.weights.exact import DC_SET, ExactModel

_KINDS: Final = 6
"""Kinds of codebooks that have a sharpness each."""
_SHARPNESSES: Final = 16
_HEAD_BYTES: Final = 3
_FLATTEST: Final = 8
"""Multiplier of code lengths for sharpness 0, in 1/16."""
_POWERS: Final = np.rint(2.0 ** (30 - np.arange(256) / 256)).astype(np.int64)
"""2**(30 - i / 256); no value is near a half."""


class Statistics:
    """The frequencies of a model's symbols; they are computed when they are first asked for."""

    def __init__(self, model: ExactModel) -> None:
        sizes, dims = model.tensors["book.size"].tolist(), model.tensors["book.dim"].tolist()
        self._lengths = np.split(model.tensors["book.bits"].astype(np.int64), np.cumsum(sizes)[:-1])
        of_dcs = set(model.table[DC_SET].ravel().tolist())
        self.kinds = [0 if number in of_dcs else 1 + (dim.bit_length() - 1) for number, dim in enumerate(dims)]
        self.kinds[-1] = _KINDS - 1
        """Kind of each codebook, 0.._KINDS - 1."""
        self._starts: dict[tuple[int, int], list[int]] = {}

    def starts(self, codebook: int, sharpness: int) -> list[int]:
        """Cumulative frequencies of a codebook: 0, ..., TOTAL."""
        found = self._starts.get((codebook, sharpness))
        if found is None:
            found = [0, *np.cumsum(self.frequencies(codebook, sharpness)).tolist()]
            self._starts[codebook, sharpness] = found
        return found

    def frequencies(self, codebook: int, sharpness: int) -> Int64:
        """Frequencies int64 [K] of a codebook; they add up to TOTAL."""
        lengths = self._lengths[codebook] * (_FLATTEST + sharpness) >> 4
        weights = np.maximum(1, _POWERS[lengths & 255] >> np.minimum(lengths >> 8, 62))
        found: Int64 = 1 + weights * (TOTAL - len(weights)) // int(weights.sum())
        found[found.argmax()] += TOTAL - int(found.sum())
        return found

    def bits(self, codebook: int) -> Float64:
        """Code lengths of a codebook's symbols for each sharpness, float64 [_SHARPNESSES, K]."""
        return np.stack([-np.log2(self.frequencies(codebook, each) / TOTAL) for each in range(_SHARPNESSES)])


statistics = lru_cache(maxsize=4)(Statistics)
"""The Statistics of a model."""


@dataclass(frozen=True)
class Taken:
    """Symbols uint8 [n] of a codebook, or raw bits, as a decoder has taken them."""

    codebook: int
    """-1 for raw bits."""
    values: UInt8 | Int32
    widths: UInt8 | None = None
    """Numbers of raw bits."""


class _Recorded:
    """A layer that keeps what is taken from it."""

    def __init__(self, layer: Layer) -> None:
        self._layer = layer
        self.taken: list[Taken] = []

    def take(self, codebook: int, count: int) -> UInt8:
        found = self._layer.take(codebook, count)
        self.taken.append(Taken(codebook, found))
        return found

    def take_raw(self, widths: UInt8) -> Int32:
        found = self._layer.take_raw(widths)
        self.taken.append(Taken(-1, found, widths))
        return found

    def finish(self) -> None:
        self._layer.finish()


class _RangeCoded:
    """A layer whose symbols are a range code."""

    def __init__(self, data: bytes, own: Statistics) -> None:
        self._statistics = own
        if len(data) < _HEAD_BYTES:
            raise CorruptError("corrupt file: a picture's symbols have no head")
        sharpness = int.from_bytes(data[:_HEAD_BYTES], "little")
        self._sharpness = [sharpness >> 4 * kind & 15 for kind in range(_KINDS)]
        self._code = RangeDecoder(data[_HEAD_BYTES:])

    def take(self, codebook: int, count: int) -> UInt8:
        starts = self._statistics.starts(codebook, self._sharpness[self._statistics.kinds[codebook]])
        return np.frombuffer(self._code.take(count, starts), np.uint8)

    def take_raw(self, widths: UInt8) -> Int32:
        return np.array([self._code.take_value(width) for width in widths.tolist()], np.int32)

    def finish(self) -> None:
        self._code.finish()


@dataclass(frozen=True)
class RangeCode:
    """The stored bytes of a coded picture, in place of its index section."""

    data: bytes

    def opened(self, model: ExactModel) -> _RangeCoded:
        """The layer that they hold. Raises CorruptError."""
        return _RangeCoded(self.data, statistics(model))


def encode(header: Header, section: bytes, model: ExactModel) -> bytes:
    """The stored bytes of a picture with one layer and tile group, from its index section. Raises CorruptError."""
    taken, own = taken_from(header, section, model), statistics(model)
    sharpness = _best_sharpness(taken, own)
    code = RangeEncoder()
    for part in taken:
        if part.widths is None:
            code.put(part.values.tolist(), own.starts(part.codebook, sharpness[own.kinds[part.codebook]]))
        else:
            for value, width in zip(part.values.tolist(), part.widths.tolist(), strict=True):
                code.put_value(value, width)
    head = sum(each << 4 * kind for kind, each in enumerate(sharpness))
    return head.to_bytes(_HEAD_BYTES, "little") + code.to_bytes()


def symbols_of(header: Header, code: RangeCode, model: ExactModel) -> GroupSymbols:
    """The symbols of a coded picture for `streams.pack`; the inverse of `encode`. Raises CorruptError."""
    layer = _Recorded(code.opened(model))
    _walk(header, layer, model)
    calls: Calls = [(part.codebook, part.values.astype(np.uint8)) for part in layer.taken if part.widths is None]
    raw = [(part.values, part.widths) for part in layer.taken if part.widths is not None]
    values, widths = (np.concatenate(parts) for parts in zip((np.zeros(0, np.int32), np.zeros(0, np.uint8)), *raw, strict=True))
    return GroupSymbols([calls], [pack_bits(values.astype(np.int32), widths.astype(np.uint8))], clipped=False)


def taken_from(header: Header, section: bytes, model: ExactModel) -> list[Taken]:
    """Symbols and raw bits of an index section, in the order in which a decoder takes them. Raises CorruptError."""
    limit = 2 * LAYOUTS[header.layout].channels * header.cells[0] * header.cells[1]
    layer = _Recorded(streams.unpack_layer(section, model, header.merge_map, limit))
    _walk(header, layer, model)
    return layer.taken


def _walk(header: Header, layer: _Recorded, model: ExactModel) -> None:
    """Take everything from a layer."""
    grid = Grid(*header.cells, LAYOUTS[header.layout], None)
    walk(grid, model, header, SymbolReader(model, [GroupStreams(lambda _: layer)]))


def _best_sharpness(taken: Sequence[Taken], own: Statistics) -> list[int]:
    """The sharpness of each kind of codebook that takes the fewest bits."""
    counts: dict[int, Int64] = {}
    for part in taken:
        if part.widths is None:
            found = np.bincount(part.values, minlength=256)
            counts[part.codebook] = counts.get(part.codebook, np.zeros(256, np.int64)) + found
    costs = np.zeros((_KINDS, _SHARPNESSES))
    for codebook, found in counts.items():
        bits = own.bits(codebook)
        costs[own.kinds[codebook]] += bits @ found[: bits.shape[1]]
    return costs.argmin(axis=1).tolist()

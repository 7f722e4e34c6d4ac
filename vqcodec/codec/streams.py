"""Symbols of tile groups <-> index sections: codebooks that the merge map joins share a stream, compressed by zstd."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np

from vqcodec.arrays import UInt8
from vqcodec.codec.choices import Effort
from vqcodec.codec.symbols import Calls, GroupStreams, GroupSymbols, Layer, LayerStreams
from vqcodec.format import zstd_blocks
from vqcodec.format.header import Header
from vqcodec.format.stream_records import read_streams, write_streams
from vqcodec.runtime import progress
from vqcodec.runtime.workers import side_by_side
from vqcodec.transform.layouts import LAYOUTS
from vqcodec.weights.exact import ExactModel, Stream

_SMALL_FILE: Final = 8192
"""Bytes up to which all merge maps are tried."""
_GROUPS_TRIED: Final = 3
"""Tile groups, evenly spread, on which merge maps are tried; all of them would take a third of a large picture's encoding time."""


class Opens(Protocol):
    """A layer that is stored in another form than an index section (symbol_coder.py)."""

    def opened(self, model: ExactModel) -> Layer:
        """The layer, to be read. Raises CorruptError."""
        ...


Stored = Sequence[bytes | Opens | None]
"""The index sections of one tile group, one a layer. None: lost; its residuals count as zero."""


# ------------------------------------------------------------------------------------------------ one layer of one tile group


def pack_layer(calls: Calls, raw: bytes, model: ExactModel, merge_map: int, levels: tuple[int, ...]) -> bytes:
    """The index section of one layer's symbols and raw bits, the smallest over `levels` of zstd; the inverse of `unpack_layer`."""
    stream_of = model.maps[merge_map].tolist()
    gathered: list[list[UInt8]] = [[] for _ in model.streams[merge_map]]
    for number, symbols in calls:
        gathered[stream_of[number]].append(symbols)
    parts = []
    for pieces, stream in zip(gathered, model.streams[merge_map], strict=True):
        symbols = np.concatenate(pieces) if pieces else np.zeros(0, np.uint8)
        for part, given in zip(stream.form.pack(symbols), stream.dictionaries, strict=True):
            parts.append(zstd_blocks.compress(part, given, levels))
    return write_streams(parts, mean_lengths(model.streams[merge_map]), raw)


def unpack_layer(section: bytes, model: ExactModel, merge_map: int, limit: int) -> LayerStreams:
    """The symbols of every stream and the raw bits of an index section. Raises CorruptError, also for more than `limit` symbols."""
    streams = model.streams[merge_map]
    given = [dictionary for stream in streams for dictionary in stream.dictionaries]
    stored, raw = read_streams(section, mean_lengths(streams), 2 * limit + 16)
    parts = iter([zstd_blocks.decompress(part, dictionary) for part, dictionary in zip(stored, given, strict=True)])
    symbols = []
    for stream in streams:
        symbols.append(stream.form.unpack([next(parts) for _ in stream.dictionaries], limit))
        limit -= len(symbols[-1])
    return LayerStreams(symbols, raw, model.maps[merge_map].tolist())


def mean_lengths(streams: Sequence[Stream]) -> list[list[int]]:
    """Mean code lengths of the dictionaries of every stream's parts, as index sections need them."""
    return [stream.means for stream in streams]


# ------------------------------------------------------------------------------------------------ all tile groups


def pack(groups: Sequence[GroupSymbols], model: ExactModel, effort: Effort, threads: int) -> tuple[int, list[bytes]]:
    """The number of the best merge map, and the index sections of all tile groups with it, layer by layer.

    Merge maps are tried, from many streams to few, until `effort.maps_ahead` + 1 in turn have not made the sections smaller.
    """
    merge_map, least, stored = 0, sys.maxsize, list[bytes]()
    tried = groups[:: -(-len(groups) // _GROUPS_TRIED)]
    for number in range(len(model.maps)):
        if number > merge_map + effort.maps_ahead and least > _SMALL_FILE:
            break
        found = _sections(tried, model, number, zstd_blocks.FAST_LEVELS, threads)
        if sum(map(len, found)) < least:
            merge_map, least, stored = number, sum(map(len, found)), found
    if effort.levels != zstd_blocks.FAST_LEVELS or len(tried) < len(groups):
        stored = _sections(groups, model, merge_map, effort.levels, threads)
    return merge_map, stored


def _sections(
    groups: Sequence[GroupSymbols], model: ExactModel, merge_map: int, levels: tuple[int, ...], threads: int
) -> list[bytes]:
    """The index sections of tile groups under one merge map, layer by layer."""

    def one(place: tuple[int, GroupSymbols]) -> bytes:
        layer, group = place
        return pack_layer(group.calls[layer], group.raw[layer], model, merge_map, levels)

    with progress.stage("compressing"):
        return side_by_side(one, [(layer, group) for layer in range(len(groups[0].calls)) for group in groups], threads)


def unpack(header: Header, sections: Stored, cells: tuple[int, int], model: ExactModel) -> GroupStreams:
    """The streams of one tile group of `cells` (rows, columns), each layer unpacked when its turn comes."""
    limit = 2 * LAYOUTS[header.layout].channels * cells[0] * cells[1]  # symbols: at worst an escape and then its values

    def layer(number: int) -> Layer | None:
        section = sections[number]
        if section is None:
            return None
        return unpack_layer(section, model, header.merge_map, limit) if isinstance(section, bytes) else section.opened(model)

    return GroupStreams(layer)
